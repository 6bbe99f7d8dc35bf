import logging
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from services.modbus_poller import breaker
from services.modbus_poller.options import DeviceOptions, LineOptions
from services.modbus_poller.worker import LineWorker
from simulator.faults import Fault
from simulator.readings import Meter
from simulator.sdm120 import sdm120
from simulator.serial_line import SerialLine
from tests.service_stub import ServiceStub

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
