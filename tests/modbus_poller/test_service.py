import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path

from simulator.device import SimulatedDevice
from simulator.faults import Fault
from simulator.readings import Meter
from simulator.registers import Registers
from simulator.sdm120 import floats, sdm120
from simulator.serial_line import SerialLine
from simulator.site import Site, SitePlan
from simulator.tcp_server import TcpServer
from simulator.tracer import encode, tracer
from tests.conftest import ROOT, LocalBroker, Starter
from tests.modbus_poller.running import device, line, wait_for
from tests.mqtt_recorder import Recorder

METER = Meter(
    volts=230.4,
    hertz=50.02,
    watts=1234.5,
    var=-100.25,
    import_kwh=1042.7,
    export_kwh=3.3,
    import_kvarh=12.6,
)


def test_a_simulated_tracer_is_read_exactly(pollers: Starter, recorder: Recorder) -> None:
    reading = Site(SitePlan(), 1_782_000_000.0).controller()
    unit = tracer("tracer", lambda: reading)
    with SerialLine({1: unit}) as serial:
        process = pollers.start(line(serial.path) + device("tracer", "epever_tracer"))
        wait_for(lambda: len(recorder.of("tracer")) >= 2)
        process.terminate()
        assert process.wait(timeout=30) == 0
    words = encode(reading)
    values = recorder.of("tracer")[0]
    assert values["pv_voltage"] == words[0x3100] / 100
    assert values["pv_power"] == (words[0x3102] + (words[0x3103] << 16)) / 100
    assert values["battery_voltage"] == words[0x3104] / 100
    assert values["battery_soc"] == words[0x311A]
    assert values["charging_state"] == reading.stage
    assert values["night"] is reading.night
    assert values["load_on"] is reading.load_on
    assert values["charging_mode"] == "MPPT"
    assert values["energy_generated_total"] == round(reading.generated.total, 2)
    channels = recorder.infos["tracer"]["channels"]
    assert set(channels) == set(values)
    assert channels["pv_voltage"] == {"unit": "V"}
    assert channels["energy_generated_today"] == {"unit": "kWh", "kind": "counter", "rollover": 42949672.96}
    assert recorder.last("tracer") == "offline"  # no service reads it now
    assert ("tracer", "online") in recorder.availability


def test_lines_of_every_kind_are_polled_at_once(pollers: Starter, recorder: Recorder) -> None:
    units = {7: sdm120("meter", lambda: METER, unit=7)}
    with (
        SerialLine(units) as serial,
        TcpServer(units) as tcp,
        TcpServer(units, framing="rtu") as gateway,
    ):
        pollers.start(
            line(serial.path, 'parity = "even"\nbaud = 9600')
            + device("by_wire", "eastron_sdm120", 7)
            + line(f"tcp://127.0.0.1:{tcp.port}")
            + device("by_tcp", "eastron_sdm120", 7)
            + line(f"rtu+tcp://127.0.0.1:{gateway.port}")
            + device("by_gateway", "eastron_sdm120", 7)
        )
        for name in ("by_wire", "by_tcp", "by_gateway"):
            wait_for(partial(recorder.of, name))
            values = recorder.newest(name)
            assert values["voltage"] == 230.4
            assert values["power"] == 1234.5
            assert values["energy_import"] == 1042.7


def test_registers_that_a_device_does_not_have_are_read_once(pollers: Starter, recorder: Recorder) -> None:
    registers = Registers(largest=60)
    words = floats({0x00: 230.0, 0x06: 4.5, 0x46: 50.0, 0x48: 12.5})
    registers.inputs.update(words)
    unit = SimulatedDevice("clone", registers)
    with TcpServer({1: unit}) as server:
        pollers.start(line(f"tcp://127.0.0.1:{server.port}") + device("clone", "eastron_sdm120"))
        wait_for(lambda: len(recorder.of("clone")) >= 6)
        channels = {"voltage", "current", "frequency", "energy_import"}
        assert {frozenset(values) for values in recorder.of("clone")} == {frozenset(channels)}
        wait_for(lambda: set(recorder.infos["clone"]["channels"]) == channels)
    asked = Counter((r.address, r.count) for r in unit.seen)
    once = {question for question, times in asked.items() if times == 1}
    again = {question for question, times in asked.items() if times > 1}
    assert (0x00, 32) in once
    assert (0x156, 4) in once
    assert again == {(0x00, 2), (0x06, 2), (0x46, 4)}
    assert pollers.output().count("does not support") == 1


def test_a_float_that_is_nan_is_in_the_status(pollers: Starter, recorder: Recorder, broker: LocalBroker) -> None:
    registers = Registers()
    registers.inputs.update(dict.fromkeys(range(0x15A), 0))
    registers.inputs.update({0x0C: 0x7FC0, 0x0D: 0})
    with TcpServer({1: SimulatedDevice("nan", registers)}) as server:
        pollers.start(line(f"tcp://127.0.0.1:{server.port}") + device("meter", "eastron_sdm120"))
        wait_for(lambda: recorder.of("meter"))
        assert "power" not in recorder.newest("meter")
        assert len(recorder.newest("meter")) == 12
        broker.kill()  # the status is published again to a new broker
        broker.start()
        wait_for(lambda: recorder.status.get("set_aside"))
    bad = recorder.status["set_aside"][-1]
    assert (bad["where"], bad["why"]) == ("meter", "not a finite number")
    assert bad["what"].startswith("power")


def test_a_line_that_comes_back_is_polled_again(pollers: Starter, recorder: Recorder, tmp_path: Path) -> None:
    units = {1: sdm120("meter", lambda: METER)}
    link = tmp_path / "ttyUSB0"
    process = pollers.start(line(str(link)) + device("meter", "eastron_sdm120"))
    wait_for(lambda: recorder.last("meter") == "offline")
    for _ in range(2):
        with SerialLine(units, link=link):
            wait_for(lambda: recorder.last("meter") == "online")
            recorder.states.clear()
            wait_for(lambda: recorder.of("meter"))
        wait_for(lambda: recorder.last("meter") == "offline")
    assert process.poll() is None
    assert pollers.output().count("open again") == 2


def test_it_ends_cleanly_even_while_a_device_does_not_respond(pollers: Starter, recorder: Recorder) -> None:
    unit = sdm120("meter", lambda: METER)
    unit.fault = Fault("silence")
    with SerialLine({1: unit}) as serial:
        process = pollers.start(line(serial.path, "timeout = 60") + device("meter", "eastron_sdm120"))
        wait_for(lambda: serial.requests[1])
        wait_for(lambda: recorder.status.get("state") == "online")
        process.terminate()
        assert process.wait(timeout=30) == 0
    wait_for(lambda: recorder.status.get("state") == "offline")
    assert "Traceback" not in pollers.output()


def test_a_wrong_configuration_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[node]\ndata = "{tmp_path}"\n' + line("/dev/ttyUSB0") + device("a", "no_such_model"))
    done = subprocess.run(
        [sys.executable, "-m", "services.modbus_poller", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f" modbus_poller: {file}: [modbus_poller]" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "outbox").exists()
