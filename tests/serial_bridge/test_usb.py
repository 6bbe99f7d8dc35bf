import pytest
from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo

from services.serial_bridge import usb


def adapter(path: str, vendor: int, product: int, number: str | None) -> ListPortInfo:
    info = ListPortInfo(path)
    info.vid, info.pid, info.serial_number = vendor, product, number
    return info


ADAPTERS = [
    adapter("/dev/ttyUSB1", 0x10C4, 0xEA60, "0001"),
    adapter("/dev/ttyUSB0", 0x10C4, 0xEA60, "00:02"),
    adapter("/dev/ttyACM0", 0x2341, 0x0043, None),
]


@pytest.fixture(autouse=True)
def plugged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_ports, "comports", lambda: ADAPTERS)


@pytest.mark.parametrize(
    ("port", "path"),
    [
        ("2341:0043", "/dev/ttyACM0"),
        ("10C4:EA60:0001", "/dev/ttyUSB1"),
        ("10c4:ea60:00:02", "/dev/ttyUSB0"),
        ("/dev/ttyUSB7", "/dev/ttyUSB7"),
        ("socket://127.0.0.1:4001", "socket://127.0.0.1:4001"),
    ],
)
def test_an_adapter_is_identified_by_its_id(port: str, path: str) -> None:
    assert usb.path(port) == path


def test_an_adapter_that_is_not_plugged_in_is_away() -> None:
    with pytest.raises(usb.PortAway, match="no USB adapter 0403:6001"):
        usb.path("0403:6001")


def test_adapters_with_the_same_id_are_not_guessed() -> None:
    with pytest.raises(usb.PortAway, match="/dev/ttyUSB0 and /dev/ttyUSB1 are all 10c4:ea60; add its serial number"):
        usb.path("10c4:ea60")
