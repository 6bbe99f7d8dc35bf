"""A count on disk: two copies in a small file, written in turn, so that one is always intact."""

import errno
import os
import re
import zlib
from pathlib import Path
from typing import NamedTuple

from heliograph import durable

SLOT_BYTES = 4096  # each copy has a page and sectors of its own: a torn write damages one
_SLOT = re.compile(rb"([0-9]{20} [0-9]{20}) ([0-9a-f]{8})\n")


class SavedCount(NamedTuple):
    """One copy: the number of the write, and the count."""

    write: int
    pulses: int


class CountFile:
    """A count in a file.

    A saved count survives the process, a synced one a power cut. `damaged` means that the file held no intact copy;
    it is kept with the suffix .damaged. Opening, saving and syncing raise OSError.
    """

    def __init__(self, path: Path, start: int = 0) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes() if path.exists() else b""
        newest = max(copies(content), default=None)
        self.damaged = newest is None and bool(content)
        if self.damaged:
            path.replace(path.with_suffix(".damaged"))
        if newest is None:
            newest = SavedCount(2, start)
            both = (newest, SavedCount(1, start))
            durable.write(path, b"".join(slot(one).ljust(SLOT_BYTES, b"\0") for one in both))
        self.count, self._write = newest.pulses, newest.write
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._dirty = False

    def save(self, count: int) -> None:
        """Write the count over the older copy; if the disk refuses, the other copy stays as it is, however often that is tried."""
        number = self._write + 1
        text = slot(SavedCount(number, count))
        if os.pwrite(self._file, text, number % 2 * SLOT_BYTES) < len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._write = number
        self.count = count
        self._dirty = True

    def sync(self) -> None:
        """Write the saved count to the disk."""
        if self._dirty:
            os.fdatasync(self._file)
            self._dirty = False

    def close(self) -> None:
        """Sync, and close the file."""
        try:
            self.sync()
        finally:
            os.close(self._file)


def slot(saved: SavedCount) -> bytes:
    """Return the bytes of a copy in the file."""
    text = b"%020d %020d" % saved
    return text + b" %08x\n" % zlib.crc32(text)


def copies(content: bytes) -> list[SavedCount]:
    """Return the intact copies in the content of a file."""
    intact = []
    for start in (0, SLOT_BYTES):
        match = _SLOT.match(content, start)
        if match and int(match[2], 16) == zlib.crc32(match[1]):
            intact.append(SavedCount(*map(int, match[1].split())))
    return intact
