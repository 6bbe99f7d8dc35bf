"""Attributes in sysfs and procfs: small text files whose content the driver makes when they are read."""

import errno
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from heliograph import device_access
from services.sensor_reader.errors import InvalidValue, ReadFailed, SensorRemoved

MAX_BYTES = 8192  # an attribute is at most a page, a file of procfs hardly longer
REMOVED = frozenset({errno.ENOENT, errno.ENODEV, errno.ENOTDIR})
_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(?:\.[0-9]{1,30})?")


def text(path: Path) -> str:
    """Return the content of an attribute.

    Raises ReadFailed if the driver fails or the last line has no end, SensorRemoved if the attribute does not exist,
    and InvalidValue if it is not text or longer than MAX_BYTES.
    """
    try:
        with path.open("rb", buffering=0) as file:
            content = file.read(MAX_BYTES + 1) or b""
    except OSError as error:
        why = f"{path.name}: {device_access.why(error, path)}"
        raise (SensorRemoved(why) if error.errno in REMOVED else ReadFailed(why)) from None
    if len(content) > MAX_BYTES:
        raise InvalidValue(f"{path.name}: longer than {MAX_BYTES} bytes", _shown(content))
    if not content.endswith(b"\n"):
        raise ReadFailed(f"{path.name}: incomplete", _shown(content) or "nothing")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise InvalidValue(f"{path.name}: not text", _shown(content)) from None


def number(path: Path) -> Decimal:
    """Return the number in an attribute, exactly; raise what `text` raises, and InvalidValue if it is not a number."""
    return decimal(text(path), path.name)


def decimal(content: str, where: str) -> Decimal:
    """Return a text as a number; raise InvalidValue, naming `where` it is from, if it is not a number."""
    match = _NUMBER.fullmatch(content.strip())
    if not match:
        raise InvalidValue(f"{where}: not a number", content[:80])
    return Decimal(match[0])


def word(path: Path) -> str:
    """Return the line in an attribute such as `name`, "" if it cannot be read."""
    try:
        return text(path).strip()[:80]
    except (ReadFailed, SensorRemoved, InvalidValue):
        return ""


def entries(folder: Path, pattern: str) -> Iterator[Path]:
    """Yield the matching entries of a folder in a stable order; nothing if the folder does not exist."""
    try:
        yield from sorted(folder.glob(pattern))
    except OSError:
        return


def _shown(content: bytes) -> str:
    return content[:80].decode("utf-8", "backslashreplace")
