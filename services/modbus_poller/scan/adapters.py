"""The serial adapters of this machine."""

from pathlib import Path
from typing import NamedTuple

from serial.tools import list_ports

BY_ID = Path("/dev/serial/by-id")


class Adapter(NamedTuple):
    """A serial port that something is behind: the path that stays the same, and what it says it is."""

    path: str
    description: str


def found(by_id: Path = BY_ID) -> list[Adapter]:
    """Return the adapters that are plugged in, by their names in /dev/serial/by-id where they have one.

    Ports without hardware, such as the ttyS of most machines, are left out.
    """
    stable = {link.resolve(): link for link in sorted(by_id.glob("*"))} if by_id.is_dir() else {}
    return [
        Adapter(str(stable.get(Path(port.device).resolve(), port.device)), port.description)
        for port in sorted(list_ports.comports())
        if port.hwid and port.hwid != "n/a"
    ]
