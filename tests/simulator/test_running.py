import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import serial
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.client import ModbusSerialClient, ModbusTcpClient
from pymodbus.framer import FramerType

import simulator
from simulator import Fault, Registers, SimulatedDevice, SimulatorOptions
from simulator.__main__ import main
from simulator.control import obey
from simulator.replay import HEADER

NOON = datetime(2026, 6, 21, 11, tzinfo=UTC)
ROOT = Path(__file__).parents[2]


@contextmanager
def process(*arguments: str, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "simulator", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def ports(running: subprocess.Popen[str]) -> dict[str, str]:
    assert running.stderr is not None
    addresses = {}
    for line in running.stderr:
        what, _, where = line.partition("simulator: ")[2].partition(" at ")
        addresses[what.partition(" (")[0]] = where.strip()
        if what == "control":
            break
    return addresses


def test_a_site_shows_the_same_controller_on_every_wire() -> None:
    with (
        simulator.run(SimulatorOptions(start=NOON, speed=0.001)) as site,
        ModbusSerialClient(site.line.path, timeout=30) as serial_client,
        ModbusTcpClient("127.0.0.1", port=site.tcp.port, timeout=30) as tcp,
        ModbusTcpClient("127.0.0.1", port=site.rtu_tcp.port, framer=FramerType.RTU, timeout=30) as rtu,
    ):
        clients = [serial_client, tcp, rtu]
        read = [c.read_input_registers(0x3100, count=16, device_id=1) for c in clients]
        assert read[0].registers == read[1].registers == read[2].registers
        assert read[0].registers[0] > 1000
        meters = [c.read_input_registers(12, count=2, device_id=2) for c in clients]
        assert meters[0].registers == meters[1].registers == meters[2].registers


def test_time_goes_as_fast_as_asked() -> None:
    with simulator.run(SimulatorOptions(start=NOON, speed=100_000)) as site:
        first, end = site.site.controller().time, time.monotonic() + 60
        while (site.site.controller().time - first).total_seconds() < 86_400:
            assert time.monotonic() < end, "a day takes longer than a minute, in place of a second"
            time.sleep(0.01)


def test_a_client_switches_the_load_of_the_site() -> None:
    with (
        simulator.run(SimulatorOptions(start=NOON, speed=1000)) as site,
        ModbusTcpClient("127.0.0.1", port=site.tcp.port, timeout=30) as client,
    ):
        assert site.site.controller().load_on
        client.write_coil(2, False, device_id=1)
        assert not site.site.controller().load_on


def test_more_units_join_the_line() -> None:
    registers = Registers()
    registers.inputs[0] = 77
    options = SimulatorOptions(units={9: SimulatedDevice("extra", registers)}, three_phase=True)
    with (
        simulator.run(options) as site,
        ModbusSerialClient(site.line.path, timeout=30) as client,
    ):
        answer = client.read_input_registers(0, count=1, device_id=9)
        assert list(answer.registers) == [77]
        assert client.read_input_registers(0x34, count=2, device_id=3).registers
        assert site.line.requests == {9: 1, 3: 1}
        assert set(site.things) == {"tracer", "sdm120", "sdm630", "extra", "emontx"}


def test_faults_are_switched_through_the_control_port() -> None:
    with (
        simulator.run(SimulatorOptions(radio_seconds=3600)) as site,
        socket.create_connection(("127.0.0.1", site.control.port), 30) as connection,
    ):
        lines = connection.makefile("rw")
        lines.write("fault sdm120 slow 2.5\nfault missing slow\nlist\n")
        lines.flush()
        assert lines.readline() == "ok\n"
        assert site["sdm120"].fault == Fault("slow", 2.5)
        assert lines.readline().startswith("error: no device missing")
        assert [lines.readline() for _ in range(4)] == [
            "tracer none 0\n",
            "sdm120 slow 0\n",
            "emontx none 0\n",
            "ok\n",
        ]


@pytest.mark.parametrize(
    "command",
    [
        "",
        "fault",
        "fault a burn",
        "fault a slow x",
        "fault a slow nan",
        "fault a slow -1",
    ],
)
def test_a_wrong_command_is_answered_with_an_error(command: str) -> None:
    device = SimulatedDevice("a", Registers())
    assert obey({"a": device}, command).startswith("error: ")
    assert device.fault == Fault()


@given(st.text())
def test_any_command_is_answered(command: str) -> None:
    assert obey({"a": SimulatedDevice("a", Registers())}, command)


@pytest.mark.slow
def test_the_process_prints_all_addresses_and_stops_on_sigterm(
    tmp_path: Path,
) -> None:
    links = tmp_path / "ports"
    arguments = ["--link-folder", str(links), "--radio-seconds", "0.1"]
    with process(*arguments) as running:
        where = ports(running)
        assert where["modbus rtu"] == str(links / "tracer")
        assert where["emontx"] == str(links / "emontx")
        with ModbusSerialClient(str(links / "tracer"), timeout=30) as client:
            assert client.read_input_registers(0x311A, count=1, device_id=1).registers
        with serial.Serial(str(links / "emontx"), 38400, timeout=30) as port:
            assert port.read_until(b"OK 10 ").endswith(b"OK 10 ")
        control = where["control"].rpartition(":")[2]
        result = CliRunner().invoke(main, ["fault", "tracer", "silence", "--control-port", control])
        assert result.exit_code == 0, result.output
        wrong = CliRunner().invoke(main, ["fault", "toaster", "silence", "--control-port", control])
        assert wrong.exit_code == 1
        assert "no device toaster" in wrong.output
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 0
        assert not list(links.iterdir())


@pytest.mark.slow
def test_ctrl_c_stops_the_process_too() -> None:
    with process() as running:
        ports(running)
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == 0


@pytest.fixture(scope="module")
def recorded_day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("recorded") / "day.csv"
    result = CliRunner().invoke(main, ["record", "--day", "2026-06-21", str(file)])
    assert result.exit_code == 0, result.output
    return file


@pytest.mark.slow
def test_a_recorded_day_can_be_replayed(recorded_day: Path) -> None:
    lines = recorded_day.read_text().splitlines()
    assert lines[0] == HEADER
    assert len(lines) == 721
    assert lines[-1].startswith("2026-06-21 23:58:00.000000,")
    with process("--replay", str(recorded_day), "--speed", "60") as running:
        assert "modbus tcp" in ports(running)


@pytest.mark.slow
def test_the_wall_clock_chooses_the_row(recorded_day: Path, wrong_clock: Any) -> None:
    row = next(r for r in recorded_day.read_text().splitlines() if r[11:16] == "11:00")
    wrong_clock.say(datetime(2026, 6, 21, 11, 0, 30, tzinfo=UTC).timestamp())
    arguments = ["--replay", str(recorded_day), "--replay-clock", "wall"]
    with process(*arguments, env=wrong_clock.environment) as running:
        port = int(ports(running)["modbus tcp"].rpartition(":")[2])
        with ModbusTcpClient("127.0.0.1", port=port, timeout=30) as client:
            answer = client.read_input_registers(0x3100, count=16, device_id=1)
            words = list(answer.registers)
        values = [float(cell) for cell in row.split(",")[1:9]]
        assert [word / 100 for word in words[:8]] == values


@pytest.mark.slow
def test_wrong_options_are_one_line_and_exit_code(tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    for arguments in (
        ["--timezone", "Mars/Olympus"],
        ["--replay-clock", "wall", "--speed", "2"],
        ["--speed", "0"],
    ):
        assert CliRunner().invoke(main, arguments).exit_code == 2
    with process("--replay", str(empty)) as running:
        _, error = running.communicate(timeout=30)
        assert running.returncode == 1
        assert error == "Error: nothing to replay in the files given\n"
