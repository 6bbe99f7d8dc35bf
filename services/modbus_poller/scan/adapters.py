"""The serial adapters of this machine."""

from pathlib import Path
from typing import NamedTuple

from serial.tools import list_ports

BY_ID = Path("/dev/serial/by-id")


class Adapter(NamedTuple):
    """A serial port with hardware: its stable path, and its description."""

    path: str
    description: str


def connected(by_id: Path = BY_ID) -> list[Adapter]:
    """Return the adapters that are plugged in, by their links in /dev/serial/by-id where they have one.

    Ports without hardware, such as the ttyS of most machines, are left out.
    """
    stable = {link.resolve(): link for link in sorted(by_id.glob("*"))} if by_id.is_dir() else {}
    return [
        Adapter(str(stable.get(Path(port.device).resolve(), port.device)), port.description)
        for port in sorted(list_ports.comports())
        if port.hwid and port.hwid != "n/a"
    ]
