import itertools
import logging
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.modbus_poller import breaker, frames, models
from services.modbus_poller.client import LineClient
from services.modbus_poller.options import DeviceOptions, LineOptions
from services.modbus_poller.worker import LineWorker
from simulator.faults import Fault
from simulator.readings import Meter
from simulator.sdm120 import sdm120
from simulator.serial_line import SerialLine
from tests.modbus_poller.simulated_line import Registers, SimulatedLine
from tests.service_stub import ServiceStub

TWO = """
[device]
model = "Two"
document = "test"
[channels]
voltage = { address = 0x0000, type = "float32", unit = "V" }
power = { address = 0x0100, type = "float32", unit = "W" }
import = { address = 0x0200, type = "float32", unit = "kWh", kind = "counter" }
"""
TRUE = {"voltage": 230.5, "power": 1234.5, "import": 98765.5}
METER = Meter(volts=230.4, hertz=50.02, watts=1234.5, var=-100.25, import_kwh=1042.7, export_kwh=3.3, import_kvarh=12.6)


@pytest.mark.slow
def test_a_dead_device_of_five_does_not_delay_the_others_and_comes_back(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    eventually: Callable[[Callable[[], object]], object],
) -> None:
    monkeypatch.setattr(breaker, "FIRST_SECONDS", 0.5)
    caplog.set_level(logging.INFO)
    stub, stop = ServiceStub(tmp_path), threading.Event()
    units = {number: sdm120(f"m{number}", lambda: METER, unit=number) for number in range(1, 6)}
    units[3].fault = Fault("silence")
    devices = tuple(DeviceOptions(f"m{number}", "eastron_sdm120", number, 0.2) for number in units)
    with SerialLine(units) as serial:
        worker = LineWorker(LineOptions(serial.path, devices, timeout=0.15), stub.service, stub.producer, stop)
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            eventually(lambda: stub.states.get("m3") == ["offline"])
            before, requests = {name: len(stub.of(name)) for name in stub.infos}, serial.requests[3]
            eventually(lambda: len(stub.of("m1")) >= before["m1"] + 7)
            eventually(lambda: all(len(stub.of(name)) >= before[name] + 6 for name in ("m2", "m4", "m5")))
            assert serial.requests[3] - requests <= 4  # a poll would be three requests
            units[3].fault = Fault()
            eventually(lambda: stub.states["m3"] == ["offline", "online"])
            eventually(lambda: stub.of("m3"))
        finally:
            stop.set()
            worker.wake()
            thread.join(30)
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("m3: ")]
    assert [text.split(";")[0] for text in lines] == ["m3: no response within 0.15 s", "m3: answers again"]


class LateMeter:
    """A meter on a pseudo-terminal: it answers requests in turn, and one of some after the time-out."""

    def __init__(self, delay: float, late: float, every: int) -> None:
        self._ours, self._theirs = os.openpty()
        self.path = os.ttyname(self._theirs)
        self._delays = itertools.cycle([*[delay] * (every - 1), late])
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> "LateMeter":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._theirs)
        self._thread.join()
        os.close(self._ours)

    def _serve(self) -> None:
        received = b""
        while True:
            try:
                received += os.read(self._ours, 300)
            except OSError:  # the other end is closed
                return
            while len(received) >= 8:
                request, received = received[:8], received[8:]
                time.sleep(next(self._delays))
                _, function, address, count = struct.unpack(">BBHH", request[:6])
                value = TRUE[{0: "voltage", 0x100: "power", 0x200: "import"}[address]]
                body = struct.pack(">BBf", function, 4, value) if count == 2 else bytes((function | 0x80, 2))
                os.write(self._ours, frames.rtu(1, body))


@pytest.mark.slow
def test_a_late_response_on_a_real_terminal_never_gives_a_channel_the_value_of_another(
    tmp_path: Path, eventually: Callable[[Callable[[], object]], object]
) -> None:
    model = tmp_path / "two.toml"
    model.write_text(TWO)
    stub, stop = ServiceStub(tmp_path), threading.Event()
    with LateMeter(0.01, 0.25, 17) as meter:
        line = LineOptions(meter.path, (DeviceOptions("two", str(model), 1, 0.2),), timeout=0.2)
        worker = LineWorker(line, stub.service, stub.producer, stop)
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            eventually(lambda: stub.counters["failed_polls"] and len(stub.of("two")) > 15)
        finally:
            stop.set()
            worker.wake()
            thread.join(30)
    assert [values for values in stub.of("two") if not values.items() <= TRUE.items()] == []
    assert TRUE in stub.of("two")


def settles(wire: SimulatedLine) -> bool:
    """All that is outstanding on a line is over."""
    wire.sleep(1000.0)
    return True


@contextmanager
def working(stub: ServiceStub, wire: SimulatedLine, device: DeviceOptions) -> Iterator[None]:
    """A worker polls a device on a line whose time is simulated: a time-out takes none."""
    line, stop = LineOptions("/dev/simulated", (device,)), threading.Event()
    worker = LineWorker(line, stub.service, stub.producer, stop, client=LineClient(line, wire, wire))
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        worker.wake()
        thread.join(30)


def test_an_adapter_that_echoes_is_in_the_log_once_and_in_the_status(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, eventually: Callable[[Callable[[], object]], object]
) -> None:
    caplog.set_level(logging.INFO)
    stub = ServiceStub(tmp_path)
    registers = Registers(models.load("epever_tracer"), "refused")
    wire = SimulatedLine({1: registers}, lambda: 0.01, baud=115200, echoes=True)
    with working(stub, wire, DeviceOptions("tracer", "epever_tracer", 1, 0.1)):
        eventually(lambda: len(stub.of("tracer")) >= 3)
    assert stub.of("tracer")[0] == registers.expected
    assert stub.facts["line:/dev/simulated"] == {"echoes": True}
    assert [record.getMessage() for record in caplog.records if "echo" in record.getMessage()] == [
        "/dev/simulated: the adapter echoes: each request comes back before its response, and is dropped"
    ]
    assert not stub.invalid


def test_what_a_late_response_could_be_taken_for_is_left_out_and_counted_and_the_device_stays_online(
    tmp_path: Path, eventually: Callable[[Callable[[], object]], object]
) -> None:
    model = tmp_path / "two.toml"
    model.write_text(TWO)
    stub = ServiceStub(tmp_path)
    delays: list[float | None] = []
    wire = SimulatedLine({1: Registers(models.load(str(model)), "refused")}, lambda: delays.pop() if delays else 0.01)
    with working(stub, wire, DeviceOptions("two", str(model), 1, 0.1)):
        eventually(lambda: len(stub.of("two")) >= 2)
        delays.append(None)
        eventually(lambda: stub.counters["held_back"] >= 6)
        assert stub.states["two"] == ["online"]
        seen = len(stub.of("two"))
        wire.sleep(10.0)
        eventually(lambda: len(stub.of("two")) >= seen + 2)
    assert stub.counters["failed_polls"] == 1
    assert stub.states["two"] == ["online"]


def test_a_device_that_comes_back_is_asked_at_once_for_what_it_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    eventually: Callable[[Callable[[], object]], object],
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(breaker, "FIRST_SECONDS", 0.2)
    model = tmp_path / "two.toml"
    model.write_text(TWO)
    stub, registers = ServiceStub(tmp_path), Registers(models.load(str(model)), "refused")
    used = registers.used
    registers.used = {(function, address) for function, address in used if address < 0x200}
    wire = SimulatedLine({1: registers}, lambda: 0.01)
    with working(stub, wire, DeviceOptions("two", str(model), 1, 0.1)):
        eventually(lambda: len(stub.of("two")) >= 2)
        assert "import" not in stub.of("two")[-1]
        assert stub.facts["device:two"]["unsupported"] == ["import"]
        wire.units = {}
        eventually(lambda: settles(wire) and stub.states["two"] == ["online", "offline"])
        registers.used = used
        wire.units = {1: registers}
        eventually(lambda: settles(wire) and "import" in stub.of("two")[-1])
        eventually(lambda: stub.facts["device:two"]["unsupported"] == [])
    lines = [record.getMessage() for record in caplog.records if "support" in record.getMessage()]
    assert lines == ["two: does not support import", "two: supports import now"]
