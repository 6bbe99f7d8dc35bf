"""Attributes in sysfs and procfs: small text files that a driver writes while they are read."""

import errno
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from services.sensor_reader.errors import Disturbed, Gone, NotAValue

LARGEST = 8192  # an attribute is at most a page, a file of procfs hardly longer
GONE = frozenset({errno.ENOENT, errno.ENODEV, errno.ENOTDIR})
_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(?:\.[0-9]{1,30})?")


def text(path: Path) -> str:
    """Return what an attribute says, up to its last line end.

    A line that is not ended is not whole; it raises Disturbed, as does a driver that
    fails. Raises Gone if the attribute is, NotAValue if it cannot be text.
    """
    try:
        with path.open("rb", buffering=0) as file:
            content = file.read(LARGEST + 1) or b""
    except OSError as error:
        why = f"{path.name}: {error.strerror or error}"
        raise (Gone(why) if error.errno in GONE else Disturbed(why)) from None
    if len(content) > LARGEST:
        raise NotAValue(f"{path.name}: longer than any attribute", _shown(content))
    if not content.endswith(b"\n"):
        raise Disturbed(f"{path.name}: only a part of it came", _shown(content) or "nothing")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise NotAValue(f"{path.name}: not text", _shown(content)) from None


def number(path: Path) -> Decimal:
    """Return the number an attribute holds, exactly; raise as `text` does, and NotAValue if it is no number."""
    said = text(path)
    return decimal(said, path.name)


def decimal(said: str, where: str) -> Decimal:
    """Return a text as a number; raise NotAValue, naming where it stood, if it is none."""
    match = _NUMBER.fullmatch(said.strip())
    if not match:
        raise NotAValue(f"{where}: not a number", said[:80])
    return Decimal(match[0])


def word(path: Path) -> str:
    """Return the one line that an attribute such as `name` holds, "" if there is none to be had."""
    try:
        return text(path).strip()[:80]
    except (Disturbed, Gone, NotAValue):
        return ""


def entries(folder: Path, pattern: str) -> Iterator[Path]:
    """Yield what a folder holds in a stable order; nothing if it is not there or goes away meanwhile."""
    try:
        yield from sorted(folder.glob(pattern))
    except OSError:
        return


def _shown(content: bytes) -> str:
    return content[:80].decode("utf-8", "backslashreplace")
