import errno
import os
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from heliograph import config, forget, frame_writer
from heliograph.bus import Bus
from heliograph.clock import Clock
from heliograph.messages import Channel, Info, Reading, Value, decode
from heliograph.outbox import Outbox, OutboxReader
from heliograph.producer import Producer

NOON = 1_763_633_000.0
METER = Info("meter", {"power": Channel("W")}, 10.0, "meter")


class FakeClock(Clock):
    """A clock that is right or wrong as the test sets it."""

    def __init__(self, folder: Path) -> None:
        super().__init__("trust", folder)
        self.right = True

    @property
    def synchronised(self) -> bool:
        return self.right


class Rig:
    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder / "outbox"
        self.clock = FakeClock(folder)
        self.aside: list[tuple[str, str, str]] = []
        self.bus = Bus(config.Broker(port=port), "pi", "meter")
        self.producer = Producer(self.bus, "pi", "meter", self.folder, self.clock, self.set_aside)

    def set_aside(self, why: str, what: str, where: str = "") -> None:
        (why + what + where).encode()  # the status has to be JSON
        self.aside.append((why, what, where))

    @contextmanager
    def running(self) -> Iterator[Producer]:
        with self.bus, self.producer:
            yield self.producer

    def kept(self) -> list[tuple[str, float, dict[str, Value]]]:
        """The readings in the outbox of a producer that has ended: device, time, values."""
        outbox = Outbox(self.folder, self.clock.boot)
        reader = OutboxReader(outbox)
        readings = []
        while record := reader.peek():
            payload = msgspec.json.decode(record.payload)
            blocks = payload["blocks"] if isinstance(payload, dict) else payload
            for block in blocks:
                for time, *values in block["r"]:
                    readings.append((block["d"], time, dict(zip(block["k"], values, strict=True))))
            reader.advance()
        reader.start()
        outbox.close()
        return readings


@pytest.fixture
def away(tmp_path: Path) -> Rig:
    """A producer whose broker is not there."""
    return Rig(tmp_path, 1)


def test_a_durable_flush_returns_once_the_disk_has_confirmed(away: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    confirms, answers = threading.Event(), queue.SimpleQueue[bool]()
    real = os.fdatasync

    def slow(file: int) -> None:
        assert confirms.wait(30)
        real(file)

    with monkeypatch.context() as patched, away.running() as producer:
        patched.setattr(os, "fdatasync", slow)
        producer.publish("roof", {"power": 1.0}, NOON)
        assert producer.flush()  # in the outbox: this one does not wait for the disk
        waiting = threading.Thread(target=lambda: answers.put(producer.flush(durable=True)))
        waiting.start()
        with pytest.raises(queue.Empty):
            answers.get(timeout=0.2)
        confirms.set()
        assert answers.get(timeout=30)
        waiting.join()


def test_a_durable_flush_fails_while_the_disk_refuses(
    away: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(_file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with away.running() as producer:
        with monkeypatch.context() as patched:
            patched.setattr(os, "fdatasync", refused)
            producer.publish("roof", {"power": 1.0}, NOON)
            assert not producer.flush(durable=True)
            assert producer.flush()
        assert producer.flush(durable=True)
    assert caplog.messages.count("outbox: the disk does not confirm readings: [Errno 5] Input/output error") == 1


class Listener:
    """A client that receives every message, retained ones, too."""

    def __init__(self, port: int) -> None:
        self.received: queue.SimpleQueue[tuple[str, bytes, bool]] = queue.SimpleQueue()
        self.seen: list[tuple[str, bytes, bool]] = []
        self.client = Client(CallbackAPIVersion.VERSION2)
        self.client.on_message = lambda _c, _d, m: self.received.put((m.topic, bytes(m.payload), m.retain))
        subscribed = threading.Event()
        self.client.on_subscribe = lambda *_: subscribed.set()
        self.client.connect("127.0.0.1", port)
        self.client.subscribe("heliograph/#", 1)
        self.client.loop_start()
        assert subscribed.wait(20)

    def wait_for(self, end: str, check: Callable[[bytes], object] = lambda _: True) -> bytes:
        while True:
            topic, payload, _ = item = self.received.get(timeout=20)
            self.seen.append(item)
            if topic.endswith(end) and check(payload):
                return payload

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        self.client.reinitialise()  # closes what paho wakes its thread with, too


@contextmanager
def listening(port: int) -> Iterator[Listener]:
    listener = Listener(port)
    try:
        yield listener
    finally:
        listener.close()


def test_flush_returns_when_everything_is_in_the_outbox(away: Rig) -> None:
    with away.running() as producer:
        for number in range(25):
            producer.publish("meter", {"power": number}, NOON + number)
        assert producer.flush()
        counters = producer.counters()
        assert counters["readings"] == 25
        assert counters["readings_in_memory"] == 0
        assert 3 <= counters["frames_backlog"] <= 25  # ten fill a frame; a slow machine lingers sooner
    assert [values["power"] for _, _, values in away.kept()] == list(range(25))


def test_readings_without_a_time_of_their_own_never_share_a_millisecond(away: Rig) -> None:
    def publish(device: str) -> None:
        for number in range(200):
            producer.publish(device, {"power": number})

    with away.running() as producer:
        threads = [threading.Thread(target=publish, args=(device,)) for device in ("one", "two", "two")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        producer.publish("one", {"power": 200}, arrived=NOON)  # earlier than the clock: as if it was set back
        assert producer.counters()["readings_crowded"] == 0
    kept = away.kept()
    for device, count in (("one", 200), ("two", 400)):
        times = [time for name, time, _ in kept if name == device][:count]
        assert times == sorted(set(times))
        assert len(times) == count
    assert [values["power"] for name, _, values in kept if name == "one"] == list(range(201))
    assert kept[-1][1] == NOON


def test_readings_before_and_after_the_clock_is_set_never_share_a_millisecond(away: Rig) -> None:
    with away.running() as producer:
        away.clock.right = False
        for number in range(50):
            producer.publish("meter", {"power": number})
        away.clock.right = True
        for number in range(50, 100):
            producer.publish("meter", {"power": number})
        booted = away.clock.now() - away.clock.since_boot()
    kept = away.kept()
    times = [round(time + booted if time < NOON else time, 3) for _, time, _ in kept]
    assert [values["power"] for _, _, values in kept] == list(range(100))
    assert times == sorted(set(times))


def test_an_exit_writes_everything(away: Rig) -> None:
    with away.running() as producer:
        for number in range(7):
            producer.publish("meter", {"power": number}, NOON + number)
    assert [values["power"] for _, _, values in away.kept()] == list(range(7))


def test_a_flush_after_the_end_does_not_hang(away: Rig) -> None:
    with away.running() as producer:
        producer.publish("meter", {"power": 1})
    assert producer.flush()
    producer.publish("meter", {"power": 2})
    assert not producer.flush()


def test_many_threads_can_publish_and_flush_at_once(away: Rig) -> None:
    answers: list[bool] = []

    def work(number: int) -> None:
        for step in range(20):
            producer.publish(f"meter{number}", {"power": step}, NOON + step)
            answers.append(producer.flush())

    with away.running() as producer:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert answers == [True] * 120
    assert sorted((device, values["power"]) for device, _, values in away.kept()) == sorted(
        (f"meter{number}", step) for number in range(6) for step in range(20)
    )


def test_a_disk_that_refuses_keeps_readings_in_memory_and_flush_returns_false(
    away: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_self: Outbox, _payload: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with away.running() as producer:
        with monkeypatch.context() as patched:
            patched.setattr(Outbox, "append", full)
            for number in range(25):
                producer.publish("meter", {"power": number}, NOON + number)
            assert not producer.flush()
            assert producer.counters()["readings_in_memory"] == 25
        producer.publish("meter", {"power": 25}, NOON + 25)
        assert producer.flush()
    assert [values["power"] for _, _, values in away.kept()] == list(range(26))


def test_a_disk_that_refuses_for_long_costs_the_oldest_readings_and_counts_them(
    away: Rig, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., Any]
) -> None:
    def full(_self: Outbox, _payload: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(frame_writer, "MEMORY_READINGS", 30)
    monkeypatch.setattr(frame_writer, "DISK_RETRY_SECONDS", 0.2)
    with away.running() as producer:
        with monkeypatch.context() as patched:
            patched.setattr(Outbox, "append", full)
            for number in range(100):
                producer.publish("meter", {"power": number}, NOON + number)
            eventually(lambda: producer.counters()["readings_in_memory"] == 30)
        assert producer.flush()
        assert producer.counters()["readings_lost_in_memory"] == 70
    assert [values["power"] for _, _, values in away.kept()] == list(range(70, 100))


def test_bad_values_are_set_aside_one_by_one_and_their_neighbours_are_kept(away: Rig) -> None:
    bad: dict[str, Any] = {
        "nan": float("nan"),
        "infinite": float("inf"),
        "endless": 10**5000,
        "too_large": 10**309,
        "long": "x" * 300,
        "half": "\ud800",
        "nothing": None,
        "a_list": [1],
        "Capital": 1,
        "sl/ash": 1,
        "wild#": 1,
        "": 1,
        "half\ud800": 1,
        "x" * 65: 1,
    }
    good: dict[str, Any] = {"power": 1.5, "load": True, "mode": "Bulk ☀", "count": 1 << 70, "small": -0.0}
    with away.running() as producer:
        producer.publish("meter", {**good, **bad}, NOON)
        producer.publish("meter", {"power": 1, "other": float("nan")}, NOON + 1)
        producer.publish("meter", {"power": float("nan")}, NOON + 2)
        producer.publish("meter", {}, NOON + 3)
        assert producer.flush()
    assert [(time, values) for _, time, values in away.kept()] == [(NOON, good), (NOON + 1, {"power": 1})]
    assert len(away.aside) == len(bad) + 2


@pytest.mark.parametrize("device", ["", "A", "a/b", "+", "#", "a b", "x" * 64, "half\ud800", "ä"])
def test_a_hostile_device_is_set_aside_and_the_others_are_kept(away: Rig, device: str) -> None:
    with away.running() as producer:
        producer.publish(device, {"power": 1}, NOON)
        producer.publish("meter", {"power": 2}, NOON)
        assert producer.flush()
        with pytest.raises(ValueError, match="is not a name"):
            producer.declare(device, METER)
    assert [(name, values) for name, _, values in away.kept()] == [("meter", {"power": 2})]
    assert len(away.aside) == 1


@pytest.mark.parametrize("at", [float("nan"), float("inf"), -1.0, 1e300, 10**400])
def test_an_invalid_time_is_set_aside(away: Rig, at: float) -> None:
    with away.running() as producer:
        producer.publish("meter", {"power": 1}, at)
        producer.publish("meter", {"power": 2}, NOON)
        assert producer.flush()
    assert [values for _, _, values in away.kept()] == [{"power": 2}]
    assert len(away.aside) == 1


def test_readings_too_large_for_one_frame_are_split_and_one_too_large_for_any_is_set_aside(away: Rig) -> None:
    large: dict[str, Value] = {f"channel_{number}": "\x01" * 255 for number in range(100)}
    too_large: dict[str, Value] = {f"channel_{number}": "\x01" * 255 for number in range(400)}
    with away.running() as producer:
        for number in range(10):
            producer.publish("meter", too_large if number == 5 else large, NOON + number)
        producer.publish("meter", {"power": 1}, NOON + 10)
        assert producer.flush()
    assert [time - NOON for _, time, _ in away.kept()] == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert len(away.aside) == 1


def test_readings_with_and_without_a_time_of_their_own_do_not_mix(away: Rig) -> None:
    away.clock.right = False
    with away.running() as producer:
        for number in range(20):
            producer.publish("meter", {"power": number}, NOON if number % 2 else None)
        assert producer.flush()
    outbox = Outbox(away.folder, away.clock.boot)
    reader = OutboxReader(outbox)
    unstamped_by_number: dict[int, bool] = {}
    while record := reader.peek():
        unstamped = record.payload.startswith(b"{")
        decoded = msgspec.json.decode(record.payload)
        for block in decoded["blocks"] if unstamped else decoded:
            unstamped_by_number.update({row[1]: unstamped for row in block["r"]})
        reader.advance()
    reader.start()
    outbox.close()
    assert unstamped_by_number == {number: number % 2 == 0 for number in range(20)}


def test_a_reading_is_live_at_once_and_unsynced_while_the_clock_is_wrong(
    tmp_path: Path, broker: Any, eventually: Callable[..., Any]
) -> None:
    rig = Rig(tmp_path, broker.port)
    rig.clock.right = False
    with listening(broker.port) as listener, rig.running() as producer:
        assert rig.bus.wait_connected(20)
        producer.publish("meter", {"power": 1})
        assert decode(Reading, listener.wait_for("/meter/state")).clock == "unsynced"
        producer.publish("other", {"power": 1}, NOON)
        assert decode(Reading, listener.wait_for("/other/state")) == Reading(NOON, {"power": 1})
        eventually(lambda: producer.facts()["waits_for_clock"])  # the frame is sent after the state
        assert not any(topic.endswith(("journal", "replay")) for topic, _, _ in listener.seen)
        rig.clock.right = True
        producer.publish("meter", {"power": 2})
        frames = listener.wait_for("/journal")
        assert b'"power"' in frames


def test_info_and_availability_are_published_again_to_a_broker_that_lost_them(
    tmp_path: Path, broker: Any, eventually: Callable[..., Any]
) -> None:
    rig = Rig(tmp_path, broker.port)
    with rig.running() as producer:
        assert rig.bus.wait_connected(20)
        producer.declare("meter", METER)
        producer.availability("meter", "asleep")
        producer.availability("undeclared", "offline")
        with listening(broker.port) as listener:
            assert decode(Info, listener.wait_for("/meter/info")) == METER
            assert listener.wait_for("/meter/availability") == b"asleep"
        broker.kill()
        eventually(lambda: not rig.bus.connected)
        broker.start()
        eventually(lambda: rig.bus.connected)
        with listening(broker.port) as listener:
            assert decode(Info, listener.wait_for("/meter/info")) == METER
            assert listener.wait_for("/meter/availability") == b"asleep"
            assert listener.wait_for("/undeclared/availability") == b"offline"
    with listening(broker.port) as listener:
        assert listener.wait_for("/meter/availability") == b"offline"


def test_a_device_that_was_forgotten_stays_away_until_it_reports_again(
    tmp_path: Path, broker: Any, eventually: Callable[..., Any]
) -> None:
    def seen() -> set[str]:
        """The devices of which the broker retains something."""
        with listening(broker.port) as listener:
            listener.client.publish("heliograph/end", b"")
            listener.wait_for("/end")
            return {topic.split("/")[3] for topic, _, retained in listener.seen if retained and "/devices/" in topic}

    rig = Rig(tmp_path, broker.port)
    with rig.running() as producer:
        assert rig.bus.wait_connected(20)
        for device in ("attic", "last"):
            producer.declare(device, METER)
            producer.availability(device, "online")
        eventually(lambda: seen() == {"attic", "last"})
        forget.forget(config.Broker(port=broker.port), "api", "pi", "attic")
        eventually(lambda: seen() == {"last"})
        producer.availability("attic", "offline")
        producer.announce()
        producer.declare("last", Info("another", {}))
        eventually(lambda: seen() == {"last"})
        broker.kill()
        eventually(lambda: not rig.bus.connected)
        broker.start()
        eventually(lambda: rig.bus.connected)
        eventually(lambda: seen() == {"last"})
        producer.publish("attic", {"power": 1})
        eventually(lambda: seen() == {"attic", "last"})
        forget.forget(config.Broker(port=broker.port), "api", "pi", "attic")
        eventually(lambda: seen() == {"last"})
    assert seen() == {"last"}


def test_an_invalid_watermark_is_set_aside(tmp_path: Path, broker: Any, eventually: Callable[..., Any]) -> None:
    rig = Rig(tmp_path, broker.port)
    with rig.running() as producer, listening(broker.port) as listener:
        assert rig.bus.wait_connected(20)
        producer.publish("meter", {"power": 1}, NOON)
        assert producer.flush()
        listener.wait_for("/journal")
        for payload in (b"", b"noise", b"[]", b'{"e":"x"}', b'{"e":"x","w":-1,"n":0,"s":"s","c":1}', b"\xff"):
            listener.client.publish("heliograph/pi/services/meter/committed", payload, 1)
        eventually(lambda: len(rig.aside) == 6)
        assert producer.counters()["frames_backlog"] == 1


def test_a_storage_in_another_process_takes_everything(
    tmp_path: Path, broker: Any, processes: Any, eventually: Callable[..., Any]
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(
        f'[node]\nname = "pi"\ndata = "{tmp_path}"\nclock = "trust"\n[broker]\nport = {broker.port}\n'
        "[storage]\ncommit_seconds = 0.1\n"
    )
    processes.start("services.storage", str(path))
    rig = Rig(tmp_path / "producer", broker.port)
    with rig.running() as producer:
        for number in range(1000):
            producer.publish("meter", {"power": number}, NOON + number)
        assert producer.flush()
        eventually(lambda: producer.counters()["frames_backlog"] == 0)
        facts = producer.facts()
        assert facts["committed"] == facts["last"]
