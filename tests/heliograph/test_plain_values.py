"""`[node] plain_values`: the newest value of each channel on a topic of its own, retained, and no ghosts."""

import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph import config, forget, topics
from heliograph.bus import Bus, Message, Tracked
from heliograph.clock import Clock
from heliograph.config import Broker, Node
from heliograph.errors import ConfigError
from heliograph.messages import LARGEST, Channel, Info, Value
from heliograph.plain_values import BATCH, REPEAT_SECONDS, PlainValues, plain
from heliograph.producer import Producer
from tests.conftest import GuardedBroker, LocalBroker

Eventually = Callable[..., Any]
ALL = ("*/*",)
METER = Info(
    "meter", {"power": Channel("W"), "relay": Channel(kind="state"), "mode": Channel(kind="text")}, 10.0, "meter"
)
QUIET_SECONDS = 0.3
NOON = 1_763_633_000.0


class InFlight:
    """A message that has not arrived yet."""

    def __init__(self, topic: str, payload: bytes, qos: int) -> None:
        self.topic, self.payload, self.qos = topic, payload, qos
        self.has_arrived = False


class MemoryBroker:
    """What a broker retains, and the connection of one client: messages are under way until they are delivered."""

    def __init__(self) -> None:
        self.retained: dict[str, bytes] = {}
        self.under_way: list[InFlight] = []
        self.sent: list[InFlight] = []
        self.connected = True
        self.connects = 1

    def publish_tracked(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> Tracked | None:
        assert retain
        if not self.connected:
            return None
        message = InFlight(topic, payload, qos)
        self.under_way.append(message)
        self.sent.append(message)
        return lambda: message.has_arrived

    def deliver(self) -> None:
        for message in self.under_way:
            message.has_arrived = True
            self.retained[message.topic] = message.payload
        self.retained = {topic: payload for topic, payload in self.retained.items() if payload}
        self.under_way.clear()

    def lose_the_connection(self) -> None:
        self.connected = False
        self.under_way.clear()

    def connect(self) -> None:
        if not self.connected:
            self.connected = True
            self.connects += 1

    def sent_channels(self) -> list[str]:
        return [topics.parse(message.topic).command for message in self.sent]

    def values(self) -> dict[str, bytes]:
        return {
            "/".join((parsed.owner, parsed.command)): self.retained[topic]
            for topic in self.retained
            if (parsed := topics.parse(topic))
        }


class Site:
    """A producer's plain values on a memory broker, with a clock that the test sets."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.broker = MemoryBroker()
        self.now = 1000.0
        self.start(ALL)

    def start(self, patterns: tuple[str, ...]) -> None:
        """As a restart does: what was in memory is gone, and the connection is another one."""
        self.broker.lose_the_connection()
        self.broker.connect()
        self.plain = PlainValues(cast(Bus, self.broker), "pi", patterns, self.file, lambda: self.now)

    def show(self, device: str, **values: Value) -> None:
        self.plain.show(device, values)

    def settle(self) -> None:
        self.broker.connect()
        while self.plain.send():
            self.broker.deliver()
        self.broker.deliver()
        self.plain.send()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "plain_values.json")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-395.5, "-395.5"),
        (12.0, "12.0"),
        (5e-05, "0.00005"),
        (1e22, "10000000000000000000000"),
        (7, "7"),
        (1 << 70, "1180591620717411303424"),
        (True, "1"),
        (False, "0"),
        ("Bulk ☀", "Bulk ☀"),
        ("", ""),
    ],
)
def test_a_value_is_a_plain_number_or_the_text_itself(value: Value, text: str) -> None:
    assert plain(value).decode() == text


@given(st.floats(-LARGEST, LARGEST) | st.integers())
def test_a_number_is_read_back_as_it_was_and_has_no_exponent(value: float) -> None:
    text = plain(value).decode()
    assert set(text) <= set("-.0123456789")
    assert type(value)(text) == value
    assert math.copysign(1, float(text)) == math.copysign(1, value) or isinstance(value, int)


def test_a_change_is_sent_at_once_and_an_unchanged_value_only_after_a_while(site: Site) -> None:
    for second in range(11):
        site.show("meter", power=5.0, total=second)
        site.settle()
        site.now += 1
    sent = site.broker.sent_channels()
    assert sent.count("total") == 11
    assert sent.count("power") == 3  # at 0, 5 and 10 seconds
    assert {message.qos for message in site.broker.sent} == {0}


def test_on_a_network_that_takes_nothing_a_new_value_replaces_the_one_that_waits(site: Site) -> None:
    for number in range(50):
        site.show("meter", **{f"channel{index}": number for index in range(3 * BATCH)})
        assert site.plain.send()
        site.now += 10
    assert len(site.broker.under_way) == BATCH  # real frames wait for no more than these
    site.settle()
    assert set(site.broker.values().values()) == {b"49"}
    assert len(site.broker.sent) <= 4 * BATCH


def test_only_what_a_pattern_matches_is_published(site: Site) -> None:
    site.start(("meter/p*", "*/temperature"))
    site.show("meter", power=1, voltage=2)
    site.show("attic", temperature=3, humidity=4)
    site.settle()
    assert site.broker.values() == {"meter/power": b"1", "attic/temperature": b"3"}
    assert site.plain.facts() == {"plain_values_unmatched": []}
    site.start(("meter/*", "metre/*"))
    site.show("meter", power=1)
    assert site.plain.facts() == {"plain_values_unmatched": ["metre/*"]}


def test_a_channel_that_its_device_does_not_have_is_never_published_and_does_not_hold_up_the_others(site: Site) -> None:
    site.plain.declare("meter", ["power"])
    site.show("meter", other=2, power=1)
    site.settle()
    assert site.broker.sent_channels() == ["power"]
    site.plain.declare("meter", ["power", "other"])
    site.settle()
    assert site.broker.sent_channels() == ["power", "other"]
    assert site.broker.values() == {"meter/power": b"1", "meter/other": b"2"}


def test_the_first_start_is_no_damage(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.start(ALL)
    assert caplog.text == ""


def test_a_channel_that_a_device_no_longer_has_is_emptied_also_after_a_restart(site: Site) -> None:
    site.plain.declare("meter", ["power", "old"])
    site.show("meter", power=1, old=2)
    site.settle()
    site.plain.declare("meter", ["power"])
    site.settle()
    assert site.broker.values() == {"meter/power": b"1"}
    site.start(ALL)
    site.settle()
    assert site.broker.values() == {"meter/power": b"1"}  # whether there still is a meter is unknown
    site.plain.declare("meter", ["current"])
    site.settle()
    assert site.broker.values() == {}


def test_what_was_emptied_is_emptied_again_on_a_broker_that_went_back(site: Site) -> None:
    site.show("meter", power=1)
    site.settle()
    before = dict(site.broker.retained)
    site.start(())
    site.settle()
    assert site.broker.values() == {}
    site.broker.lose_the_connection()
    site.broker.retained = before  # Mosquitto writes its memory every five minutes
    site.settle()
    assert site.broker.values() == {}


def test_the_option_is_nothing_once_it_is_off_and_the_broker_has_acknowledged_that_all_is_gone(site: Site) -> None:
    site.show("meter", power=1)
    site.settle()
    site.start(())
    site.plain.send()
    site.start(())  # nothing was acknowledged
    assert site.plain.counters() == {"plain_values": 1}
    site.settle()
    assert json.loads(site.file.read_text()) == []
    site.start(())
    sent = len(site.broker.sent)
    site.show("meter", power=1)
    assert not site.plain.declare("meter", ["power"])
    assert not site.plain.send()
    assert (site.plain.counters(), site.plain.facts(), len(site.broker.sent)) == ({}, {}, sent)


def test_a_file_that_cannot_be_opened_costs_nothing_but_ghosts(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.file.mkdir()
    site.start(ALL)
    site.show("meter", power=1)
    site.settle()
    assert site.broker.values() == {"meter/power": b"1"}
    assert [("cannot be read" in line, "cannot be written" in line) for line in caplog.messages] == [
        (True, False),
        (False, True),
    ]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b'["a"]', b'["a/b/c"]', b'["A/#"]', b"3", b"\xff", b"[" * 100_000]
)
def test_a_damaged_file_costs_nothing_but_ghosts(site: Site, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    site.file.write_bytes(content)
    site.start(ALL)
    assert "cannot be read" in caplog.text
    site.show("meter", power=1)
    site.settle()
    assert site.broker.values() == {"meter/power": b"1"}
    assert json.loads(site.file.read_text()) == ["meter/power"]


DEVICES, CHANNELS = st.sampled_from(["a", "b"]), st.sampled_from(["x", "y", "z"])
VALUES: st.SearchStrategy[Value] = st.one_of(st.integers(0, 3), st.booleans(), st.sampled_from(["", "on", 0.5]))


class Step(NamedTuple):
    what: str
    device: str
    values: dict[str, Value]
    patterns: tuple[str, ...]


STEPS = st.builds(
    Step,
    st.sampled_from(
        ["read", "read", "read", "declare", "send", "deliver", "later", "lose", "forget", "restart", "broker restarts"]
    ),
    DEVICES,
    st.dictionaries(CHANNELS, VALUES, max_size=3),
    st.sampled_from([ALL, (), ("a/*",), ("*/x", "b/y")]),
)


@given(st.lists(STEPS, max_size=40))
def test_whatever_happens_the_broker_retains_the_newest_values_of_what_exists(steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder) / "plain_values.json")
        ever: dict[str, set[bytes]] = {}
        newest: dict[str, bytes] = {}
        declared: dict[str, set[str]] = {}
        patterns: tuple[str, ...] = ALL
        for step in steps:
            match step.what:
                case "read":
                    site.show(step.device, **step.values)
                    for channel, value in step.values.items():
                        newest[f"{step.device}/{channel}"] = plain(value)
                        ever.setdefault(f"{step.device}/{channel}", set()).add(plain(value))
                case "declare":
                    declared[step.device] = set(step.values)
                    site.plain.declare(step.device, step.values)
                case "send":
                    site.broker.connect()
                    site.plain.send()
                case "deliver":
                    site.broker.deliver()
                case "later":
                    site.now += REPEAT_SECONDS
                case "lose":
                    site.broker.lose_the_connection()
                case (
                    "forget"
                ):  # a device is taken out of the configuration, and forgotten once its service has restarted
                    site.settle()
                    site.start(patterns)
                    site.settle()
                    newest, declared = {}, {}
                    for topic in [one for one in site.broker.retained if topics.parse(one).owner == step.device]:
                        del site.broker.retained[topic]
                    ever = {name: values for name, values in ever.items() if not name.startswith(f"{step.device}/")}
                case "restart":
                    patterns = step.patterns
                    newest, declared = {}, {}
                    site.start(patterns)
                case "broker restarts":
                    site.broker.lose_the_connection()
                    site.broker.retained = {}
        site.settle()
        shown = site.broker.values()
        for device in "ab":
            for channel in "xyz":
                name = f"{device}/{channel}"
                chosen = (
                    patterns == ALL
                    or (patterns == ("a/*",) and device == "a")
                    or name in (("a/x", "b/x", "b/y") if len(patterns) == 2 else ())
                )
                if not chosen or (device in declared and channel not in declared[device]):
                    assert name not in shown
                elif name in newest:
                    assert shown.get(name, b"") == newest[name]
                else:
                    assert name not in shown or shown[name] in ever[name]


def retained(port: int, user: str = "reader", password: str = "") -> dict[str, str]:
    """What a broker retains of values, as a client sees it that has just subscribed."""
    arrived: SimpleQueue[Message] = SimpleQueue()
    values: dict[str, str] = {}
    with Bus(Broker(port=port, password=password), "reader", user) as bus:
        bus.subscribe(topics.every_value(), arrived.put)
        assert bus.wait_connected(20)
        with suppress(Empty):
            while message := arrived.get(timeout=QUIET_SECONDS):
                if message.retained:
                    values[message.topic.removeprefix("heliograph/pi/devices/")] = message.payload.decode()
    return values


@contextmanager
def producing(folder: Path, port: int, patterns: tuple[str, ...], password: str = "") -> Iterator[tuple[Bus, Producer]]:
    bus = Bus(Broker(port=port, password=password), "pi", "modbus_poller")
    clock = Clock("trust", folder / "clock")
    producer = Producer(bus, "pi", "modbus_poller", folder / "outbox", clock, lambda *_: None, plain_values=patterns)
    with bus, producer:
        assert bus.wait_connected(20)
        yield bus, producer


def publish(producer: Producer, at: float, values: Mapping[str, Value]) -> None:
    producer.declare("meter", METER)
    producer.publish("meter", values, at)
    assert producer.flush()


SHOWN = {"meter/value/power": "-395.5", "meter/value/relay": "1", "meter/value/mode": "Bulk ☀"}


def test_values_stay_with_a_device_that_is_offline_and_end_with_the_option(
    tmp_path: Path, guarded_broker: GuardedBroker, eventually: Eventually
) -> None:
    port, own = guarded_broker.port, guarded_broker.password("modbus_poller")
    with producing(tmp_path, port, ALL, own) as (_, producer):
        publish(producer, NOON, {"power": -395.5, "relay": True, "mode": "Bulk ☀", "power_factor": float("nan")})
        assert producer.counters()["plain_values"] == 3
    for user in ("viewer", "homeassistant", "api"):
        assert retained(port, user, guarded_broker.password(user)) == SHOWN
    assert retained(port, "storage", guarded_broker.password("storage")) == {}
    with producing(tmp_path, port, ("meter/power",), own) as (_, producer):
        eventually(lambda: producer.counters()["plain_values"] == 1)
    viewer = guarded_broker.password("viewer")
    assert retained(port, "viewer", viewer) == {"meter/value/power": "-395.5"}
    with producing(tmp_path, port, (), own) as (_, producer):
        eventually(lambda: producer.counters()["plain_values"] == 0)
    assert retained(port, "viewer", viewer) == {}
    with producing(tmp_path, port, (), own) as (_, producer):
        assert "plain_values" not in producer.counters()


def test_forget_removes_the_values_of_a_device_and_of_a_node(tmp_path: Path, guarded_broker: GuardedBroker) -> None:
    port, own = guarded_broker.port, guarded_broker.password("modbus_poller")
    passwords = {user: Broker(port=port, password=guarded_broker.password(user)) for user in ("api", "modbus_poller")}
    with producing(tmp_path, port, ALL, own) as (_, producer):
        publish(producer, NOON, {"power": -395.5})
        producer.declare("other", METER)
        producer.publish("other", {"relay": False}, NOON)
    done = forget.forget_retained(passwords, "pi", "meter")
    assert "heliograph/pi/devices/meter/value/power" in done.removed
    viewer = guarded_broker.password("viewer")
    assert retained(port, "viewer", viewer) == {"other/value/relay": "0"}
    assert forget.forget_retained({"api": passwords["api"]}, "pi").left == []
    assert retained(port, "viewer", viewer) == {}


def test_a_broker_that_lost_everything_has_all_values_again(
    tmp_path: Path, broker: LocalBroker, eventually: Eventually
) -> None:
    with producing(tmp_path, broker.port, ALL) as (bus, producer):
        publish(producer, NOON, {"power": -395.5, "relay": True, "mode": "Bulk ☀"})
        broker.kill()
        eventually(lambda: not bus.connected)
        publish(producer, NOON + 1, {"relay": False})
        broker.start()
        eventually(lambda: retained(broker.port) == SHOWN | {"meter/value/relay": "0"})
        producer.declare("meter", Info("meter", {"power": Channel("W")}, 10.0, "meter"))
        eventually(lambda: retained(broker.port) == {"meter/value/power": "-395.5"})


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        (["meter"], "plain_values: 'meter' is not device/channel: each part is made of"),
        (["roof/meter/power"], "plain_values: 'roof/meter/power' is not device/channel"),
        (["Meter/power"], "plain_values: 'Meter/power' is not device/channel"),
        (True, "plain_values: expected"),
        ("*/*", "plain_values: expected"),
    ],
)
def test_a_wrong_pattern_is_a_mistake_of_the_configuration(written: object, complaint: str) -> None:
    with pytest.raises(ConfigError) as error:
        config.section(Node, {"node": {"plain_values": written}}, "node", Path("config.toml"))
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)
