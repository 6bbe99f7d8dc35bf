import math
import os
import queue
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from heliograph.bus import Message
from heliograph.messages import Block, Channel, Frame, Info, Watermark, decode, encode
from heliograph.renames import Renames
from heliograph.service import Service
from heliograph.store import open_writer
from heliograph.store.interface import Progress, Refusal, Writer
from services.storage import journal
from services.storage.journal import JournalWriter
from services.storage.options import Storage
from tests.stored import arrivals

JOURNAL = "heliograph/pi/services/meter/journal"
REPLAY = "heliograph/pi/services/meter/replay"
INFO = "heliograph/pi/devices/meter/info"
COMMITTED = "heliograph/pi/services/meter/committed"
SHED = "heliograph/shed/services/radio/journal"
NO_MATCHING_SUBSCRIBERS = 0x10  # MQTT 5.0, 3.4.2.1
NOON = 1_763_633_000.0
STORED = "SELECT frame.ts, frame.v FROM frame ORDER BY seq"


class FakeService:
    """What a journal needs of a service, kept for the test to look at."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.counters: Counter[str] = Counter()
        self.facts: dict[str, Any] = {}
        self.aside: list[tuple[str, str]] = []
        self.watermarks: list[tuple[str, Watermark]] = []
        self.events: list[str] = []
        self.reports = 0
        self.bus = SimpleNamespace(publish=self.publish)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        assert retain
        self.watermarks.append((topic, decode(Watermark, payload)))
        self.events.append("publish")
        return True

    def count(self, what: str, by: int = 1) -> None:
        self.counters[what] += by

    def fact(self, name: str, value: object) -> None:
        self.facts[name] = value

    def report(self) -> None:
        self.reports += 1

    def set_aside(self, why: str, what: bytes | str, where: str = "") -> None:
        (why + where + (what if isinstance(what, str) else "")).encode()  # the status has to be JSON
        self.aside.append((why, where))


class Balky:
    """A store on a disk that is full when the test says so."""

    def __init__(self, store: Writer, events: list[str]) -> None:
        self.store = store
        self.full = False
        self.unreadable = False  # a sector of a year
        self.identity = store.identity
        self.events = events

    @property
    def pending(self) -> int:
        return self.store.pending

    def progress(self) -> Mapping[tuple[str, str], Progress]:
        return self.store.progress()

    def declare(self, node: str, device: str, info: Info) -> list[Refusal]:
        self.refuse()
        return self.store.declare(node, device, info)

    def renames(self) -> Renames:
        return self.store.renames()

    def by_stored_names(self) -> None:
        self.store.by_stored_names()

    def write(self, node: str, blocks: list[Block]) -> list[Refusal]:
        self.refuse()
        return self.store.write(node, blocks)

    def commit(self, progress: Mapping[tuple[str, str], Progress]) -> None:
        self.refuse()
        self.store.commit(progress)
        self.events.append("commit")

    def replaced(self, series: int, time: float) -> None:
        self.refuse()
        self.store.replaced(series, time)

    def delete(self, series: Sequence[int], start: float, end: float) -> int:
        self.refuse()
        return self.store.delete(series, start, end)

    def maintain(self) -> bool:
        self.refuse()
        if self.unreadable:
            raise OSError(5, "Input/output error")
        return self.store.maintain()

    def settle(self) -> None:
        self.refuse()
        self.store.settle()

    def problems(self) -> list[str]:
        return self.store.problems()

    def dropped(self) -> list[str]:
        return self.store.dropped()

    def close(self) -> None:
        self.store.close()

    def refuse(self) -> None:
        if self.full:
            raise OSError(28, "No space left on device")


class Rig:
    def __init__(self, data: Path) -> None:
        self.data = data
        self.acks: list[int] = []
        self.service = FakeService(data)
        self.store = Balky(open_writer(data), self.service.events)
        self.journal = JournalWriter(cast(Service, self.service), self.store, Storage().commit_seconds)
        self.messages = 0

    def message(self, topic: str, payload: bytes) -> Message:
        number = self.messages
        self.messages += 1

        def ack() -> None:
            self.service.events.append("ack")
            self.acks.append(number)

        return Message(topic, payload, False, ack)

    def take(self, payload: bytes | Frame | list[Frame], topic: str = JOURNAL) -> None:
        self.journal.write(self.message(topic, payload if isinstance(payload, bytes) else msgspec.json.encode(payload)))

    def rows(self) -> list[tuple[int, list[float]]]:
        database = sqlite3.connect(f"{(self.data / 'store' / 'hot.db').as_uri()}?mode=ro", uri=True)
        try:
            return [(ts, list(memoryview(v).cast("d"))) for ts, v in database.execute(STORED)]
        finally:
            database.close()

    def values(self) -> list[float]:
        return [row[0] for _, row in self.rows()]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.store.close()


def frame(sequence: int, *values: Any, base: int = 1, epoch: str = "e1", at: float = NOON) -> Frame:
    return Frame([Block("meter", ("power",), [[at + sequence, value] for value in values])], epoch, sequence, base)


def test_nothing_is_acknowledged_or_published_before_it_is_durable(rig: Rig) -> None:
    for sequence in (1, 2, 3):
        rig.take(frame(sequence, sequence * 10))
    assert rig.acks == []
    assert rig.service.events == []
    rig.journal.commit()
    assert rig.service.events == ["commit", "ack", "ack", "ack", "publish"]
    assert rig.acks == [0, 1, 2]
    assert rig.values() == [10, 20, 30]
    topic, watermark = rig.service.watermarks[0]
    assert topic == COMMITTED
    assert (watermark.epoch, watermark.committed, watermark.wanted, watermark.gap) == ("e1", 3, 4, False)


def test_several_frames_in_a_message_are_as_good_as_several_messages(rig: Rig) -> None:
    rig.take([frame(1, 10), frame(2, 20)])
    rig.take([frame(2, 20), frame(3, 30)], REPLAY)
    rig.journal.commit()
    assert rig.values() == [10, 20, 30]
    assert rig.acks == [0, 1]


def test_duplicates_and_bad_messages_are_acknowledged_in_the_order_they_came(rig: Rig) -> None:
    rig.take(frame(1, 10))
    rig.take(b"noise")
    rig.take(frame(1, 10), REPLAY)
    rig.take(frame(5, 50))
    rig.take(frame(2, 20))
    rig.journal.commit()
    assert rig.acks == [0, 1, 2, 3, 4]
    assert rig.values() == [10, 20]
    assert rig.service.counters["frames_duplicate"] == rig.service.counters["frames_after_gap"] == 1


def test_a_gap_is_reported_at_once(rig: Rig) -> None:
    rig.take(frame(1, 10))
    rig.take(frame(3, 30))
    _, watermark = rig.service.watermarks[0]
    assert (watermark.committed, watermark.wanted, watermark.gap) == (0, 2, True)


def test_a_gap_right_after_a_duplicate_is_reported_all_the_same(rig: Rig) -> None:
    rig.take(frame(1, 10))
    rig.take(frame(1, 10))
    rig.take(frame(3, 30))
    assert [watermark.gap for _, watermark in rig.service.watermarks] == [False, True]


def test_housekeeping_that_fails_stops_no_commit(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    moment = time.monotonic()
    monkeypatch.setattr("services.storage.journal.time.monotonic", lambda: moment)
    rig.store.unreadable = True
    for sequence in (1, 2, 3):
        rig.take(frame(sequence, sequence * 10))
        rig.journal.commit()
        rig.journal.maintain()
        moment += 60
    assert rig.values() == [10, 20, 30]
    assert rig.service.counters["housekeeping_failures"] == 3
    assert "housekeeping fails" in rig.service.facts["store_problems"][0]
    assert rig.service.reports == 1
    assert [record.message for record in caplog.records] == [rig.service.facts["store_problems"][0]]
    rig.journal.maintain()
    rig.journal.maintain()  # the pause is not over
    assert rig.service.counters["housekeeping_failures"] == 4
    rig.store.unreadable = False
    moment += 60
    rig.journal.maintain()
    assert rig.service.facts["store_problems"] == []


def test_a_full_disk_acknowledges_nothing_and_loses_nothing(rig: Rig) -> None:
    rig.take(frame(1, 10))
    rig.store.full = True
    for _ in range(3):
        with pytest.raises(OSError, match="No space"):
            rig.journal.commit()
    assert rig.acks == []
    assert rig.service.watermarks == []
    rig.store.full = False
    rig.take(frame(2, 20))
    rig.journal.commit()
    assert rig.values() == [10, 20]
    assert rig.acks == [0, 1]


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        (JOURNAL, msgspec.json.encode(frame(1, 10))),
        (JOURNAL, msgspec.json.encode(Frame(frame(1, 10).blocks))),
        (INFO, encode(Info("m", {"power": Channel("W")}))),
    ],
)
def test_a_message_that_a_full_disk_refused_is_taken_when_there_is_space_again(
    rig: Rig, topic: str, payload: bytes
) -> None:
    rig.store.full = True
    with pytest.raises(OSError, match="No space"):
        rig.take(payload, topic)
    with pytest.raises(OSError, match="No space"):
        rig.journal.resume()
    rig.store.full = False
    rig.journal.resume()
    rig.journal.resume()
    rig.take(frame(1, 20, epoch="e2"))
    rig.journal.commit()
    assert rig.acks == [0, 1]
    assert rig.values() == ([20] if topic == INFO else [10, 20])


@pytest.mark.parametrize("moment", ["write", "commit"])
def test_a_signal_in_the_middle_of_something_stores_nothing_twice(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def interrupted(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            original(*arguments)
            raise SystemExit(0)

        return call

    rig.take(frame(1, 10))
    monkeypatch.setattr(rig.store, moment, interrupted(getattr(rig.store, moment)))

    def work() -> None:
        rig.take(frame(2, 20))
        rig.journal.commit()

    with pytest.raises(SystemExit):
        work()
    monkeypatch.undo()
    rig.journal.finish()
    rig.store.close()
    rig.store.store = open_writer(rig.data)
    again = JournalWriter(cast(Service, rig.service), rig.store, 10.0)
    again.write(rig.message(REPLAY, msgspec.json.encode([frame(1, 10), frame(2, 20)])))
    again.commit()
    assert rig.values() == [10, 20]


def test_an_end_in_peace_commits_what_was_taken(rig: Rig) -> None:
    rig.take(frame(1, 10))
    rig.journal.finish()
    assert rig.values() == [10]
    assert rig.acks == [0]


def test_a_declared_loss_is_counted_and_still_known_after_a_restart(rig: Rig) -> None:
    rig.take(frame(1, 10))
    rig.take(frame(8, 80, base=8))
    rig.journal.commit()
    assert rig.service.counters["frames_declared_lost"] == 6
    assert rig.service.facts["frames_lost"] == {"pi/meter": 6}
    (loss,) = cast(list[str], rig.service.facts["losses"])
    assert loss.startswith("pi/meter lost 6 frames before frame 8: readings after 20")
    assert loss.endswith(" UTC")
    service = FakeService(rig.data)
    JournalWriter(cast(Service, service), rig.store, 10.0)
    assert service.facts["frames_lost"] == {"pi/meter": 6}


@pytest.mark.parametrize("number", [1 << 62, (1 << 53) + 1, 1 << 70])
def test_a_frame_with_an_absurd_number_changes_nothing_for_its_producer(rig: Rig, number: int) -> None:
    rig.take(frame(1, 10))
    rig.take(msgspec.json.encode([{"e": "e1", "q": number, "b": number, "x": 0, "i": []}]))
    rig.take(frame(2, 20))
    rig.journal.commit()
    assert rig.values() == [10, 20]
    assert rig.acks == [0, 1, 2]
    assert [watermark.wanted for _, watermark in rig.service.watermarks] == [3]
    assert len(rig.service.aside) == 1


def test_readings_that_replace_others_are_counted(rig: Rig) -> None:
    rows: list[list[Any]] = [
        [NOON, 1],
        [NOON, 2],
        [NOON, 2],
        [NOON + 1, 3],
        [NOON, 4],
        [NOON + 2, 5],
        ["noon", 1],
        [],
        [None, 1],
    ]
    rig.take(Frame([Block("meter", ("power",), rows)], "e1", 1, 1))
    assert rig.service.counters["readings_replaced"] == 2
    rig.take(Frame([Block("meter", ("power", "voltage"), [[NOON, 1, 2]])], "e1", 2, 1))
    rig.take(Frame([Block("other", ("power",), [[NOON, 1]])], "e1", 3, 1))
    assert rig.service.counters["readings_replaced"] == 2
    rig.take(Frame([Block("meter", ("power",), [[NOON + 2, 6]])], "e1", 4, 1))
    rig.take(Frame([Block("meter", ("power",), [[NOON + 2, 6]])], "e1", 4, 1), REPLAY)
    assert rig.service.counters["readings_replaced"] == 3


def test_every_producer_gets_its_watermark_when_the_broker_is_back(rig: Rig) -> None:
    rig.take(frame(1, 10))
    rig.take(frame(1, 10, epoch="x"), "heliograph/shed/services/radio/journal")
    rig.journal.commit()
    rig.take(frame(2, 20))
    rig.service.watermarks.clear()
    rig.journal.publish_watermarks(["pi", "shed"])
    assert {
        topic: (watermark.committed, watermark.wanted, watermark.gap) for topic, watermark in rig.service.watermarks
    } == {
        COMMITTED: (1, 3, True),
        "heliograph/shed/services/radio/committed": (1, 2, True),
    }


def test_a_publisher_without_an_outbox_is_stored_and_acknowledged_but_not_answered(rig: Rig) -> None:
    foreign = Frame(frame(1, 10).blocks)
    rig.take(foreign)
    rig.take(foreign)
    rig.journal.commit()
    assert rig.values() == [10, 10]
    assert rig.acks == [0, 1]
    assert rig.service.watermarks == []


@pytest.mark.parametrize("at", [-1e18, 0, 1_000.0, 946_684_000.0, NOON * 1000, 1e300, True, None, "noon", [], {}])
def test_an_absurd_time_is_set_aside_and_its_neighbours_are_kept(rig: Rig, at: Any) -> None:
    rows = [[NOON, 1], [at, 2], [NOON + 1, 3]]
    rig.take(msgspec.json.encode({"e": "e1", "q": 1, "b": 1, "i": [{"d": "meter", "k": ["power"], "r": rows}]}))
    rig.take(frame(2, 4))
    rig.journal.commit()
    assert rig.values() == [1, 3, 4]
    assert len(rig.service.aside) == 1


def test_a_day_ahead_is_the_future(rig: Rig) -> None:
    rig.take(frame(1, 1, at=time.time() + 90_000))
    rig.take(frame(2, 2, at=time.time() + 3_000))
    rig.journal.commit()
    assert rig.values() == [2]


def test_a_channel_stays_what_it_is_text_or_number(rig: Rig) -> None:
    rig.take(encode(Info("m", {"power": Channel("W"), "mode": Channel(kind="text")})), INFO)
    rows = [
        [NOON, 1, "on"],
        [NOON + 1, "much", "off"],
        [NOON + 2, 10**300, 7],
        [NOON + 3, 10**400, None],
        [NOON + 4, True, []],
    ]
    rig.take(
        msgspec.json.encode(
            {"e": "e", "q": 1, "b": 1, "i": [{"d": "meter", "k": ["power", "mode"], "r": rows[:3] + rows[4:]}]}
        )
    )
    rig.take(encode(Info("m", {"power": Channel(kind="text")})), INFO)
    rig.journal.commit()
    powers = rig.values()
    assert powers[0] == 1
    assert powers[1] != powers[1]
    assert powers[2:] == [1e300, 1]
    assert len(rig.service.aside) == 3


@pytest.mark.parametrize(
    "topic",
    [
        "heliograph/pi/devices/BAD NAME/info",
        "heliograph/pi/services/Größe/journal",
        "heliograph/pi/services/" + "x" * 100 + "/journal",
        "heliograph/pi/services//replay",
    ],
)
def test_a_hostile_name_in_a_topic_is_set_aside_and_acknowledged(rig: Rig, topic: str) -> None:
    rig.take(frame(1, 10), topic)
    rig.take(frame(1, 10))
    rig.journal.commit()
    assert rig.acks == [0, 1]
    assert rig.values() == [10]
    assert [where for _, where in rig.service.aside] == [topic]


BAD = [
    b"",
    b"\0",
    b"\xff\xfe",
    b"null",
    b"7",
    b'"text"',
    b"[1]",
    b"[[]]",
    b"[" * 50_000,
    b'{"i":' + b"[" * 50_000,
    b'{"i":[{"d":"meter","k":["power"],"r":[[1763633000,' + b"[" * 900 + b"]" * 900 + b"]]}]}",
    b'{"i":[{"d":"meter","k":["power"],"r":[[1763633000,1e999]]}]}',
    b'{"i":[{"d":"meter","k":["power"],"r":[[1763633000,' + b"9" * 5000 + b"]]}]}",
    b'{"e":7,"q":1}',
    b'{"e":"e1","q":-1}',
    b'{"e":"e1","q":1.5}',
    b'{"e":"e1","q":99999999999999999999999999}',
    b'{"e":"' + b"e" * 65 + b'","q":1,"b":1}',
    b'{"i":[{"d":"a/b","k":["power"],"r":[[1763633000,1]]}]}',
    b'{"i":[{"d":"meter","k":["po wer"],"r":[[1763633000,1]]}]}',
    b'{"i":[{"d":"meter","k":["power","power"],"r":[[1763633000,1,2]]}]}',
    b'{"i":[{"d":"meter","k":[],"r":[[1763633000]]}]}',
    b'{"i":[{"d":"meter","k":["power"],"r":[[1763633000]]}]}',
    b'{"i":[{"d":"meter","k":["power"],"r":[[1763633000,1,2]]}]}',
    b'{"i":[{"d":"meter","k":["power"],"r":[[]]}]}',
    b'{"model":7}',
]


@pytest.mark.parametrize("topic", [JOURNAL, REPLAY, INFO])
def test_bad_payloads_are_acknowledged_set_aside_and_leave_the_good_ones_alone(rig: Rig, topic: str) -> None:
    bad = [payload for payload in BAD if payload or topic != INFO]  # an empty info is of a device that is forgotten
    for payload in bad:
        rig.take(payload, topic)
    assert len(rig.service.aside) >= len(bad)
    rig.take(frame(1, 10))
    rig.journal.commit()
    assert rig.acks == list(range(len(bad) + 1))
    assert [value for value in rig.values() if value == value] == [10]


def test_a_device_that_is_forgotten_is_no_bad_input(rig: Rig) -> None:
    """Case N16."""
    rig.take(encode(Info("m", {"power": Channel("W")})), INFO)
    rig.take(b"", INFO)
    rig.journal.commit()
    assert rig.service.aside == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["e", "q", "b", "x", "i", "d", "k", "r", "model", "channels"]), inner, max_size=5
        )
    ),
    max_leaves=20,
)
LIKELY = st.fixed_dictionaries(
    {"i": st.lists(st.fixed_dictionaries({"d": st.just("meter") | JSON, "k": st.just(["a", "b"]) | JSON, "r": JSON | st.lists(st.lists(st.just(NOON) | JSON, max_size=4), max_size=3)}), max_size=2)},
    optional={"e": st.text(max_size=3) | JSON, "q": st.integers(-2, 9) | JSON, "b": st.integers(-2, 9) | JSON, "x": st.integers(0, 3)},
)  # fmt: skip


@settings(max_examples=12)  # each opens a store, and takes as many messages as three of the size of Hypothesis
@given(
    messages=st.lists(
        st.tuples(
            st.sampled_from([JOURNAL, REPLAY, INFO, "heliograph/pi/devices/ /info"]),
            st.binary(max_size=30) | JSON.map(msgspec.json.encode) | LIKELY.map(msgspec.json.encode),
        ),
        min_size=10,
        max_size=40,
    )
)
def test_no_message_stops_the_journal(messages: list[tuple[str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(Path(folder))
        for topic, payload in messages:
            rig.take(payload, topic)
        rig.take(frame(1, 42, epoch="of our own"))
        rig.journal.commit()
        assert rig.acks == list(range(len(messages) + 1))
        rig.take(encode(Info("m", {"power": Channel("W")})), INFO)
        rig.journal.commit()
        rig.store.close()
        assert 42 in [value for _, row in rig.rows() for value in row]


# with a real broker and a real process


class Desk:
    """Someone at the broker who publishes anything and reads watermarks."""

    def __init__(self, port: int) -> None:
        self.watermarks: queue.SimpleQueue[Watermark] = queue.SimpleQueue()
        self.answers: queue.SimpleQueue[ReasonCode] = queue.SimpleQueue()
        self.client = Client(CallbackAPIVersion.VERSION2, "desk", protocol=MQTTProtocolVersion.MQTTv5)
        self.client.on_message = self.read
        self.client.on_connect = self.connected
        self.client.on_publish = self.published
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def connected(self, client: Client, *_: object) -> None:
        client.subscribe(COMMITTED, 1)

    def read(self, _client: Client, _data: object, message: Any) -> None:
        self.watermarks.put(decode(Watermark, message.payload))

    def published(self, _client: Client, _data: object, _mid: int, reason: ReasonCode, _properties: object) -> None:
        self.answers.put(reason)

    def publish(self, topic: str, payload: bytes) -> bool:
        """Return whether anyone has subscribed to the topic."""
        self.client.publish(topic, payload, 1)
        return self.answers.get(timeout=10).value != NO_MATCHING_SUBSCRIBERS

    def is_read(self, topic: str = JOURNAL) -> bool:
        return self.publish(topic, b"[]")

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        self.client.reinitialise()  # closes what paho wakes its thread with, too


@pytest.fixture
def desk(broker: Any) -> Iterator[Desk]:
    made = Desk(broker.port)
    yield made
    made.close()


def configure(folder: Path, port: int, data: Path, nodes: str = "[]") -> str:
    path = folder / "config.toml"
    path.write_text(
        f'[node]\nname = "pi"\ndata = "{data}"\nclock = "trust"\n[broker]\nport = {port}\n'
        f"[storage]\ncommit_seconds = 0.1\nnodes = {nodes}\n"
    )
    return str(path)


@pytest.fixture
def config(tmp_path: Path, broker: Any) -> str:
    return configure(tmp_path, broker.port, tmp_path / "data")


@pytest.fixture
def storage(config: str, desk: Desk, processes: Any, eventually: Callable[..., Any]) -> Any:
    """The process of a storage that takes what is published."""
    process = processes.start("services.storage", config)
    eventually(desk.is_read)
    return process


def stored(data: Path) -> list[float]:
    return [float(next(iter(arrival.values.values()), math.nan)) for arrival in arrivals(data)]


def test_a_storage_of_several_nodes_survives_what_is_thrown_at_it(
    tmp_path: Path, broker: Any, desk: Desk, processes: Any, eventually: Callable[..., Any]
) -> None:
    data = tmp_path / "data"
    assert not desk.is_read()
    process = processes.start("services.storage", configure(tmp_path, broker.port, data, '["pi", "shed", "pi"]'))
    eventually(lambda: desk.is_read(SHED))
    for payload in BAD:
        desk.publish(JOURNAL, payload[:10_000])
    desk.publish("heliograph/pi/devices/BAD NAME/info", b"{}")
    desk.publish("heliograph/pi/services/BAD NAME/journal", b"{}")
    desk.publish(JOURNAL, msgspec.json.encode(frame(1, 10)))
    desk.publish(SHED, msgspec.json.encode(frame(1, 20)))
    desk.publish("heliograph/elsewhere/services/radio/journal", msgspec.json.encode(frame(1, 30)))
    desk.publish(JOURNAL, msgspec.json.encode([frame(2, 40), frame(9, 90, base=9)]))
    assert eventually(lambda: (watermark := desk.watermarks.get(timeout=10)).committed == 9 and watermark)
    assert sorted(value for value in stored(data) if value == value) == [10, 20, 40, 90]
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert "Traceback" not in processes.output()


def test_the_watermarks_are_published_at_a_start_and_to_a_broker_that_lost_them(
    broker: Any, config: str, storage: Any, desk: Desk, processes: Any, eventually: Callable[..., Any]
) -> None:
    desk.publish(JOURNAL, msgspec.json.encode(frame(1, 10)))
    first = eventually(lambda: (watermark := desk.watermarks.get(timeout=10)).committed == 1 and watermark)
    storage.kill()
    storage.wait()
    processes.start("services.storage", config)
    second = eventually(lambda: (watermark := desk.watermarks.get(timeout=10)).gap and watermark)
    assert (second.committed, second.wanted) == (1, 2)
    assert second.storage != first.storage
    broker.kill()
    broker.start()
    third = eventually(lambda: (watermark := desk.watermarks.get(timeout=20)).gap and watermark)
    assert (third.committed, third.storage) == (1, second.storage)


def test_what_the_broker_kept_while_storage_was_away_is_stored_when_it_is_back(
    tmp_path: Path, config: str, storage: Any, desk: Desk, processes: Any, eventually: Callable[..., Any]
) -> None:
    storage.kill()
    storage.wait()
    for value in range(20):  # without an outbox, so no producer sends it again
        assert desk.publish(JOURNAL, msgspec.json.encode(Frame(frame(value, value).blocks)))
    processes.start("tests.storage.slow_storage", config)
    eventually(lambda: stored(tmp_path / "data") == list(range(20)))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.geteuid() == 0 and not subprocess.call(
        ["mount", "-t", "tmpfs", "-o", "size=800k", "tmpfs", str(folder)], stderr=subprocess.DEVNULL
    )
    if not mounted:
        pytest.skip("a small disk takes root")
    yield folder
    subprocess.check_call(["umount", "-l", str(folder)])


def test_a_disk_that_runs_full_loses_nothing_and_storage_continues_when_there_is_space(
    tmp_path: Path, broker: Any, desk: Desk, processes: Any, eventually: Callable[..., Any], small_disk: Path
) -> None:
    process = processes.start("services.storage", configure(tmp_path, broker.port, small_disk))
    eventually(desk.is_read)
    desk.publish(JOURNAL, msgspec.json.encode(frame(1, 1)))
    eventually(lambda: stored(small_disk) == [1])
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    channels = tuple(f"new_channel_{number}" for number in range(50))
    for sequence in range(2, 40):
        block = Block(f"meter{sequence}", channels, [[NOON + sequence, *[sequence] * 50]])
        desk.publish(JOURNAL, msgspec.json.encode(Frame([block], "e1", sequence, 1)))
    eventually(lambda: "nothing is acknowledged" in processes.output())
    refused_at = stored(small_disk)
    assert process.poll() is None
    ballast.unlink()
    last = eventually(lambda: (watermark := desk.watermarks.get(timeout=20)).committed == 39 and watermark)
    assert last.wanted == 40
    assert len(refused_at) < 39
    assert stored(small_disk) == list(range(1, 40))


def test_commits_wait_for_their_time_but_not_for_more_than_a_window(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "COMMIT_FRAMES", 3)
    assert rig.journal.seconds_to_commit() == journal.IDLE_SECONDS
    rig.take(frame(1, 10))
    assert 0 < rig.journal.seconds_to_commit() <= 10
    rig.take([frame(2, 20), frame(3, 30)])
    assert rig.journal.seconds_to_commit() == 0
    rig.journal.commit()
    assert rig.journal.seconds_to_commit() == journal.IDLE_SECONDS
