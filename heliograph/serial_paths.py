"""The path of a serial port in a configuration, and what people write in its place."""

import re

_WINDOWS = re.compile(r"COM\d+", re.IGNORECASE)
_HOST = re.compile(r"(?:\d+\.){3}\d+(?::\d+)?|[A-Za-z0-9.-]+:\d+")


def check(port: str, url: str) -> None:
    """Raise ValueError, which says what to write, unless a port is an absolute path; `url` is how a host is written, such as tcp://."""
    if port.startswith("/"):
        return
    if _WINDOWS.fullmatch(port):
        raise ValueError(f"port: {port!r} is a name that Windows uses; write the path, such as '/dev/ttyUSB0'")
    if _HOST.fullmatch(port):
        raise ValueError(f"port: {port!r} is no path; for a host write {url + port!r}")
    if re.fullmatch(r"tty\w+|cu\.\S+", port):
        raise ValueError(f"port: {port!r} is no path; write {'/dev/' + port!r}")
    raise ValueError(
        f"port: expected a path that begins with /, such as '/dev/ttyUSB0', or {url}HOST:PORT, found {port[:80]!r}"
    )
