from pathlib import Path

import pytest

from heliograph import config
from heliograph.errors import ConfigError
from services.modbus_poller.options import LineOptions, ModbusPoller

LINE = '[[modbus_poller.lines]]\nport = "/dev/ttyUSB0"\n'
DEVICE = '[[modbus_poller.lines.devices]]\nname = "meter"\nmodel = "eastron_sdm120"\n'


def load(text: str, folder: Path) -> ModbusPoller:
    file = folder / "config.toml"
    file.write_text(text)
    return config.section(ModbusPoller, config.read(file), "modbus_poller", file)


def line(text: str, folder: Path) -> LineOptions:
    return load(text, folder).lines[0]


def with_port(port: str, folder: Path) -> LineOptions:
    return line(LINE.replace("/dev/ttyUSB0", port) + DEVICE, folder)


@pytest.mark.parametrize(
    ("port", "framing", "host"),
    [
        ("/dev/serial/by-id/usb-FTDI-if00-port0", "rtu", ("", 0)),
        ("tcp://inverter.local", "tcp", ("inverter.local", 502)),
        ("tcp://192.168.1.30:1502", "tcp", ("192.168.1.30", 1502)),
        ("tcp://[fe80::1]:502/", "tcp", ("fe80::1", 502)),
        ("rtu+tcp://gateway:4001", "rtu", ("gateway", 4001)),
    ],
)
def test_a_port_is_a_path_or_a_host(tmp_path: Path, port: str, framing: str, host: tuple[str, int]) -> None:
    options = with_port(port, tmp_path)
    assert (options.framing, options.host) == (framing, host)


@pytest.mark.parametrize("text", ["", "[modbus_poller]\n", "[modbus_poller]\nlines = []\n"])
def test_a_service_without_lines_has_nothing_to_do(tmp_path: Path, text: str) -> None:
    """Case K9: in containers it was started again again and again."""
    assert load(text, tmp_path).lines == ()


def test_a_line_has_the_baud_rate_of_the_factory_settings(
    tmp_path: Path,
) -> None:
    tracer = DEVICE.replace("eastron_sdm120", "epever_tracer")
    assert line(LINE + DEVICE, tmp_path).baudrate == 2400
    assert line(LINE + tracer, tmp_path).baudrate == 115200
    assert line(LINE + "baud = 9600\n" + tracer, tmp_path).baudrate == 9600


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[modbus_poller]\nlines = 3\n", ["lines", "expected array"]),
        ("[[modbus_poller.lines]]\n" + DEVICE, ["lines[0]", "missing: port"]),
        (LINE, ["lines[0]", "missing: devices"]),
        (LINE + "devices = []\n", ["lines[0]", "devices"]),
        (LINE + "bard = 1\n" + DEVICE, ["lines[0]", "no such option: bard"]),
        (LINE + 'baud = "9600"\n' + DEVICE, ["lines[0].baud", "int", "'9600'"]),
        (LINE + "baud = -1\n" + DEVICE, ["lines[0]", "baud"]),
        (LINE + 'parity = "E"\n' + DEVICE, ["lines[0].parity"]),
        (LINE + "stopbits = 3\n" + DEVICE, ["lines[0].stopbits"]),
        (LINE + "timeout = 0\n" + DEVICE, ["lines[0]", "timeout"]),
        (LINE + "timeout = nan\n" + DEVICE, ["lines[0]", "timeout"]),
        (LINE + "pause = 1\n" + DEVICE, ["lines[0]", "no such option: pause; it is now request_delay"]),
        (LINE + DEVICE + "unit = 2\n", ["devices[0]", "no such option: unit; it is now unit_id"]),
        (LINE + "request_delay = 11\n" + DEVICE, ["lines[0]", "request_delay"]),
        (LINE + DEVICE + 'colour = "red"\n', ["devices[0]", "no such option: colour"]),
        (LINE + DEVICE + "unit_id = 256\n", ["devices[0]", "unit_id: 256"]),
        (LINE + DEVICE + "unit_id = 0\n", ["lines[0]", "unit_id 0 of meter"]),
        (LINE + DEVICE + "interval = 0\n", ["devices[0]", "interval"]),
        (LINE + DEVICE + "interval = inf\n", ["devices[0]", "interval"]),
        (LINE + DEVICE.replace("meter", "a/b"), ["devices[0]", "'a/b'"]),
        (LINE + DEVICE.replace("meter", ""), ["devices[0]", "not a name"]),
        (LINE + DEVICE.replace("sdm120", "sdm"), ["devices[0]", "epever_tracer"]),
        (LINE + DEVICE.replace("eastron_sdm120", "x/y.toml"), ["devices[0]", "x/y"]),
        (LINE + DEVICE + DEVICE, ["lines[0]", "unit_id 1 is used twice"]),
        (LINE + DEVICE + DEVICE + "unit_id = 2\n", ["device 'meter'", "twice"]),
        (
            LINE + DEVICE + LINE + DEVICE.replace("meter", "two"),
            ["port '/dev/ttyUSB0'", "twice"],
        ),
        (
            LINE + DEVICE + DEVICE.replace("meter", "two").replace("eastron_sdm120", "epever_tracer") + "unit_id = 2\n",
            ["baud: missing", "2400 and 115200"],
        ),
    ],
)
def test_a_wrong_section_is_one_line_that_names_the_place(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text, tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    for word in ["config.toml: [modbus_poller]", *words]:
        assert word in message


@pytest.mark.parametrize(
    "port",
    [
        "",
        "udp://host:502",
        "tcp://",
        "tcp://host:99999",
        "tcp://host:x",
        "tcp://host:502/path",
        "rtu+tcp://host",
        "tcp://[::1",
    ],
)
def test_a_port_that_cannot_be_is_refused(tmp_path: Path, port: str) -> None:
    with pytest.raises(ConfigError, match=r"lines\[0\]: port"):
        with_port(port, tmp_path)
