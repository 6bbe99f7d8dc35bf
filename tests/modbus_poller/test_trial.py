from pathlib import Path

import pytest

from simulator.serial_line import SerialLine
from simulator.site import Site, SitePlan
from simulator.tracer import encode, tracer
from tests.conftest import free_port
from tests.modbus_poller.running import device, line
from tests.trials import tried

pytestmark = pytest.mark.slow


def test_each_device_is_read_once_and_one_that_is_silent_or_away_is_explained(tmp_path: Path) -> None:
    reading = Site(SitePlan(), 1_782_000_000.0).controller()
    with SerialLine({1: tracer("tracer", lambda: reading)}) as serial:
        result = tried(
            "modbus_poller",
            tmp_path,
            line(serial.path, "timeout = 0.1")
            + device("tracer", "epever_tracer", interval=3600)
            + device("silent", "epever_tracer", 9, interval=3600)
            + line(str(tmp_path / "ttyUSB7"))
            + device("away", "eastron_sdm120")
            + line(f"tcp://127.0.0.1:{free_port()}")
            + device("refused", "eastron_sdm120"),
        )
        words = encode(reading)
    assert result.status == 0
    assert "modbus_poller: 1 of 4 inputs were read\n" in result.text
    values = result.values("tracer")
    assert values["pv_voltage"] == f"{words[0x3100] / 100} V"
    assert values["charging_mode"] == '"MPPT"'
    assert values["load_on"] == str(reading.load_on).lower()
    assert f"silent at {serial.path}, unit 9: NOT READ: no response" in result.text
    assert "what to do: check that the device is on, its unit_id" in result.text
    assert f"away at {tmp_path}/ttyUSB7, unit 1: NOT READ: the line is down: No such file or directory" in result.text
    assert "what to do: check `port`: `ls -l /dev/serial/by-id`" in result.text
    assert "unit 1: NOT READ: the line is down: Connection refused" in result.text
    assert "check `port`, and that the host is on" in result.text


def test_a_port_that_the_node_has_open_names_the_way_out(tmp_path: Path) -> None:
    with SerialLine({}) as serial:
        lines = line(serial.path, "timeout = 0.1") + device("tracer", "epever_tracer")
        nothing = tried("modbus_poller", tmp_path, lines, seconds=0.1)
    assert nothing.status == 3
    assert "NOT READ: no response in this time" in nothing.text


def test_a_wrong_configuration_is_one_line(tmp_path: Path) -> None:
    result = tried("modbus_poller", tmp_path, "[[modbus_poller.lines]]\nprot = 1\n")
    assert result.status == 1
    assert result.text.startswith(
        f"modbus_poller: {tmp_path}/trial.toml: [modbus_poller] lines[0]: no such option: prot"
    )
    assert result.text.count("\n") == 1
