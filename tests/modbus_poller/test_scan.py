import os
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from services.modbus_poller import frames, models
from services.modbus_poller.errors import ExceptionResponse, NoResponse
from services.modbus_poller.options import ModbusPoller
from services.modbus_poller.reads import ReadRequest
from services.modbus_poller.scan import adapters, cli, identify, scanner
from services.modbus_poller.scan.scanner import FoundDevice, ScanResult
from simulator.device import SimulatedDevice
from simulator.readings import Meter
from simulator.registers import Registers
from simulator.sdm120 import sdm120, sdm630
from simulator.serial_line import SerialLine
from simulator.site import Site, SitePlan
from simulator.tcp_server import TcpServer
from simulator.tracer import tracer
from tests.conftest import ROOT, free_port
from tests.modbus_poller.sunspec_map import Map
from tests.modbus_poller.test_devices import words

pytestmark = pytest.mark.slow

METER = Meter(volts=230.4, hertz=50.02, watts=1234.5, var=-100.25, import_kwh=1042.7, export_kwh=3.3, import_kvarh=12.6)
TYPICAL = {
    "V": 230.0,
    "A": 4.5,
    "Hz": 50.0,
    "%": 80.0,
    "°C": 21.0,
    "W": 900.0,
    "VA": 950.0,
    "var": 120.0,
    "kWh": 1042.0,
}
UNIT_IDS = [1, 2, 3, 7]
TIMEOUT = 0.3


def site() -> dict[int, SimulatedDevice]:
    reading = Site(SitePlan(), 1_782_000_000.0).controller()
    return {
        1: tracer("tracer", lambda: reading),
        2: sdm120("grid", lambda: METER, unit=2),
        3: sdm630("house", lambda: METER, unit=3),
    }


class Filled:
    """A device of a model that shows typical values; what the model does not know does not exist."""

    def __init__(self, name: str) -> None:
        model = models.load(name)
        self.tables: dict[int, dict[int, int]] = {}
        for channel, register in model.registers.items():
            table = self.tables.setdefault(model.function(channel), {})
            number = TYPICAL.get(register.unit, 0.9 if "power_factor" in channel else 1.0)
            if register.texts:
                raw: float = int(next(iter(register.texts)))
            elif register.bits or model.function(channel) in frames.BITS:
                raw = 1
            else:
                raw = (number - register.offset) / register.scale
            if register.type.startswith(("int", "uint")):
                raw = round(raw) % 2 ** int(register.type[-2:])
            for i, word in enumerate(
                words(register.type.replace("int", "uint", 1).replace("uuint", "uint"), raw, model.header.byte_order)
            ):
                table.setdefault(register.address + i, word)

    def read(self, block: ReadRequest) -> list[int]:
        try:
            table = self.tables[block.function]
            return [table[address] for address in range(block.address, block.address + block.count)]
        except KeyError:
            raise ExceptionResponse(2) from None


@pytest.mark.parametrize("name", models.names())
def test_a_device_of_each_file_is_identified_among_all_others(name: str) -> None:
    match = identify.best_match(Filled(name).read, models.names())
    assert match
    assert match.model == name


def test_a_sunspec_device_is_known_by_its_marker() -> None:
    there = Map(40000, [103])
    device = Filled("eastron_sdm120")
    device.tables[3] = there.registers
    match = identify.best_match(device.read, models.names())
    assert match
    assert match.model == models.SUNSPEC


def test_implausible_registers_match_no_model() -> None:
    def read(block: ReadRequest) -> list[int]:
        return [0xFFFF] * block.count

    assert identify.best_match(read, models.names()) is None


def test_an_exception_is_a_response_and_silence_is_not() -> None:
    def no(block: ReadRequest) -> list[int]:
        raise ExceptionResponse(1)

    def nothing(block: ReadRequest) -> list[int]:
        raise NoResponse("no answer")

    assert identify.responds(no, scanner.PROBES)
    assert not identify.responds(nothing, scanner.PROBES)


def scanned(port: str, unit_ids: list[int] = UNIT_IDS) -> ScanResult:
    return scanner.scan(port, unit_ids, [9600, 2400], ["none"], TIMEOUT, lambda what: None, lambda: None)


def test_every_device_of_a_serial_line_is_found() -> None:
    with SerialLine(site()) as line:
        finding = scanned(line.path)
    assert finding.devices == [
        FoundDevice(1, "epever_tracer"),
        FoundDevice(2, "eastron_sdm120"),
        FoundDevice(3, "eastron_sdm630"),
    ]
    assert finding.baud == 9600


@pytest.mark.parametrize("framing", ["tcp", "rtu"])
def test_every_device_behind_a_host_is_found(framing: str) -> None:
    with TcpServer(site(), framing="tcp" if framing == "tcp" else "rtu") as server:
        scheme = "tcp" if framing == "tcp" else "rtu+tcp"
        finding = scanned(f"{scheme}://127.0.0.1:{server.port}")
    assert [device.model for device in finding.devices] == ["epever_tracer", "eastron_sdm120", "eastron_sdm630"]


def test_a_host_that_ignores_the_unit_id_is_one_device() -> None:
    device = sdm120("any", lambda: METER)
    with TcpServer(dict.fromkeys(range(1, 248), device)) as server:
        finding = scanned(f"tcp://127.0.0.1:{server.port}")
    assert finding.devices == [FoundDevice(1, "eastron_sdm120")]


def test_a_device_that_matches_no_model_is_in_a_comment() -> None:
    registers = Registers()
    registers.holdings.update({9000: 1})
    with TcpServer({7: SimulatedDevice("other", registers)}) as server:
        finding = scanned(f"tcp://127.0.0.1:{server.port}")
    assert finding.devices == [FoundDevice(7, "")]
    printed = cli.configuration([finding])
    assert printed.startswith(f"# tcp://127.0.0.1:{server.port}: unit ID 7 answers")
    assert tomllib.loads(printed) == {}


def test_a_line_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    assert "No such file" in scanned(str(tmp_path / "ttyUSB9")).error
    assert "refused" in scanned(f"tcp://127.0.0.1:{free_port()}").error


def test_the_printed_configuration_has_unique_names() -> None:
    findings = [
        ScanResult(
            "/dev/ttyUSB0",
            2400,
            "even",
            [FoundDevice(1, "eastron_sdm120"), FoundDevice(2, "eastron_sdm120"), FoundDevice(9, "")],
        ),
        ScanResult("/dev/ttyUSB1", 0, "none", [], "busy"),
        ScanResult("tcp://192.168.1.9:502", 0, "none", [FoundDevice(126, "sunspec")]),
    ]
    section = tomllib.loads(cli.configuration(findings))["modbus_poller"]
    options = msgspec.convert(section, ModbusPoller)
    assert [(line.port, line.baud, line.parity) for line in options.lines] == [
        ("/dev/ttyUSB0", 2400, "even"),
        ("tcp://192.168.1.9:502", 0, "none"),
    ]
    names = [device.name for line in options.lines for device in line.devices]
    assert names == ["eastron_sdm120", "eastron_sdm120_2", "sunspec"]
    assert options.lines[1].devices[0].unit_id == 126


def test_the_command_prints_the_configuration_and_shows_its_progress(tmp_path: Path) -> None:
    with SerialLine(site(), link=tmp_path / "adapter"), TcpServer(site()) as server:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "cli",
                "scan",
                "--timeout",
                str(TIMEOUT),
                *(f"--unit-id={number}" for number in site()),
                "--port",
                "adapter",
                f"127.0.0.1:{server.port}",
            ],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    options = msgspec.convert(tomllib.loads(done.stdout)["modbus_poller"], ModbusPoller)
    assert [len(line.devices) for line in options.lines] == [3, 3]
    assert options.lines[0].port == str(tmp_path / "adapter")  # wherever the configuration is used
    assert "eastron_sdm630 at unit ID 3" in done.stderr


def test_nothing_found_is_exit_code_1_and_prints_nothing(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli.main, ["--port", str(tmp_path / "none")])
    assert done.exit_code == 1
    assert done.stdout == ""


def test_adapters_have_stable_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Port:
        def __init__(self, device: str, hwid: str) -> None:
            self.device, self.hwid, self.description = device, hwid, "USB-RS485"

        def __lt__(self, other: "Port") -> bool:
            return self.device < other.device

    tty = tmp_path / "ttyUSB0"
    tty.touch()
    by_id = tmp_path / "by-id"
    by_id.mkdir()
    (by_id / "usb-FTDI-if00").symlink_to(tty)
    ports = [Port(str(tty), "USB VID:PID=0403:6001"), Port("/dev/ttyS0", "n/a"), Port("/dev/ttyUSB7", "USB")]
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: ports)
    paths = [adapter.path for adapter in adapters.connected(by_id)]
    assert paths == ["/dev/ttyUSB7", str(by_id / "usb-FTDI-if00")]
