import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.sensor_reader.options import CounterOptions
from services.sensor_reader.pulses import counter as counter_module
from services.sensor_reader.pulses.counter import PulseCounter
from services.sensor_reader.pulses.edges import Edge
from services.sensor_reader.pulses.gpio import RequestedLine
from tests.service_stub import ServiceStub

GAS = CounterOptions(name="gas", line=17, interval=0.1, debounce=0.005, initial_count=100)
Eventually = Callable[[Callable[[], object]], object]


class Request:
    """A requested line: like the kernel's, it numbers its own edges from 1 and holds them until they are read."""

    def __init__(self, wire: "Wire") -> None:
        self._wire = wire
        self._unread: queue.SimpleQueue[list[Edge]] = queue.SimpleQueue()
        self._number = 0

    def add(self, times: list[int]) -> None:
        edges = []
        for ms in times:
            self._number += 1
            edges.append(Edge(ms * 1_000_000, self._number))
        self._unread.put(edges)

    def edges(self, seconds: float) -> list[Edge]:
        if not self._wire.there:
            raise OSError("the line is gone")
        try:
            return self._unread.get(timeout=max(seconds, 0.001))
        except queue.Empty:
            return []
        finally:
            self._wire.after_read()

    def close(self) -> None:
        self._wire.closed(self)


class Wire:
    """A line that a test pulses, pulls out and plugs in; edges on a line that is not requested are lost."""

    def __init__(self) -> None:
        self.there = True
        self.after_read: Callable[[], None] = lambda: None
        self._ms = 0
        self._request: Request | None = None
        self._requested = threading.Event()

    def pulse(self, times: int = 1, apart: int = 50) -> None:
        """Pulse the line, not before it is requested."""
        assert self._requested.wait(30)
        assert self._request
        moments = [self._ms + apart * (n + 1) for n in range(times)]
        self._ms = moments[-1]
        self._request.add(moments)

    def open(self, _options: CounterOptions, _root: Path) -> RequestedLine:
        if not self.there:
            raise OSError("no such line")
        self._request = Request(self)
        self._requested.set()
        return self._request

    def closed(self, request: Request) -> None:
        assert request is self._request
        self._requested.clear()
        self._request = None


class Meter:
    """Counts the pulses of a wire; can be started and stopped, as the service is."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.wire = Wire()
        self.stub = ServiceStub(data)
        self.counters: list[PulseCounter] = []

    def start(self) -> None:
        self.stub = ServiceStub(self.data)
        self.counters.append(PulseCounter(GAS, "/", self.stub.service, self.stub.producer, self.wire.open))

    def stop(self) -> None:
        for counter in self.counters:
            counter.stop()
            counter.join(30)

    def published(self) -> int:
        readings = self.stub.of("gas")
        return int(readings[-1]["pulses"]) if readings else -1


@pytest.fixture
def meter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meter]:
    monkeypatch.setattr(counter_module, "RETRY_SECONDS", 0.01)
    meter = Meter(tmp_path)
    meter.start()
    yield meter
    meter.stop()


def test_pulses_are_counted_and_published(meter: Meter, eventually: Eventually) -> None:
    eventually(lambda: meter.published() == 100)
    meter.wire.pulse(3)
    eventually(lambda: meter.published() == 103)
    assert meter.stub.infos["gas"].channels["pulses"].kind == "counter"
    assert meter.stub.states["gas"] == ["online"]


def test_bounces_are_counted_in_the_status(meter: Meter, eventually: Eventually) -> None:
    meter.wire.pulse()
    meter.wire.pulse(4, apart=1)
    eventually(lambda: meter.stub.counters["bounced"] == 4)
    eventually(lambda: meter.published() == 101)


def test_the_count_continues_after_a_restart(meter: Meter, eventually: Eventually) -> None:
    meter.wire.pulse(7)
    eventually(lambda: meter.published() == 107)
    meter.stop()
    meter.start()
    meter.wire.pulse()
    eventually(lambda: meter.published() == 108)


def test_a_pulse_between_the_last_read_and_the_end_is_counted(meter: Meter, eventually: Eventually) -> None:
    eventually(lambda: meter.published() == 100)

    def stop() -> None:
        meter.wire.after_read = lambda: None
        meter.counters[-1].stop()
        meter.wire.pulse()

    meter.wire.after_read = stop
    meter.counters[-1].join(30)
    meter.start()
    eventually(lambda: meter.published() == 101)


def test_a_line_that_goes_away_is_offline_until_it_is_back(meter: Meter, eventually: Eventually) -> None:
    meter.wire.pulse(2)
    eventually(lambda: meter.published() == 102)
    meter.wire.there = False
    eventually(lambda: meter.stub.states["gas"][-1] == "offline")
    assert meter.stub.facts["counter:gas"]["why"] in ("the line is gone", "no such line")
    [(port, why)] = meter.stub.ports_away.items()
    assert port.startswith("GPIO line ")
    assert why in ("the line is gone", "no such line")
    meter.wire.there = True
    eventually(lambda: meter.stub.states["gas"] == ["online", "offline", "online"])
    eventually(lambda: meter.stub.ports_away == {})
    meter.wire.pulse()
    eventually(lambda: meter.published() == 103)


def test_a_count_that_cannot_be_saved_is_not_published(tmp_path: Path, eventually: Eventually) -> None:
    (tmp_path / "data").write_text("a file, not a folder")
    meter = Meter(tmp_path / "data")
    meter.start()
    try:
        eventually(lambda: meter.stub.states.get("gas") == ["offline"])
        assert "cannot open the file" in meter.stub.facts["counter:gas"]["why"]
        assert meter.published() == -1
    finally:
        meter.stop()


def test_a_damaged_file_is_set_aside(meter: Meter, eventually: Eventually) -> None:
    eventually(lambda: meter.published() == 100)
    meter.stop()
    (meter.data / "sensor_reader/gas.count").write_bytes(b"rubbish")
    meter.start()
    eventually(lambda: meter.published() == 100)
    assert [why for why, _, _ in meter.stub.invalid] == ["the file with the count is damaged"]
