"""USB adapters by their IDs: paths depend on the order in which they were plugged in."""

import re

from serial.tools import list_ports

_ID = re.compile(r"([0-9A-Fa-f]{4}):([0-9A-Fa-f]{4})(?::(.+))?")


class PortAway(OSError):
    """There is no such port now: try again later."""


def is_id(port: str) -> bool:
    """Return whether this is VID:PID or VID:PID:SERIAL, the IDs in hexadecimal."""
    return _ID.fullmatch(port) is not None


def path(port: str) -> str:
    """Return the path of the one adapter with this ID; raise PortAway if there is none, or more than one."""
    match = _ID.fullmatch(port)
    if not match:
        return port
    vendor, product = int(match[1], 16), int(match[2], 16)
    paths = sorted(
        item.device
        for item in list_ports.comports()
        if (item.vid, item.pid) == (vendor, product) and match[3] in (None, item.serial_number)
    )
    if not paths:
        raise PortAway(f"no USB adapter {port}")
    if len(paths) > 1:
        raise PortAway(f"{' and '.join(paths)} are all {port}; add its serial number")
    return paths[0]
