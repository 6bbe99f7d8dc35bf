"""A count that survives: two copies in a small file, written in turns, so that one is always whole."""

import os
import re
import zlib
from pathlib import Path
from typing import NamedTuple

from heliograph import durable

SLOT_BYTES = 4096  # each on a page and on sectors of its own: a torn write spoils one
_SLOT = re.compile(rb"([0-9]{20} [0-9]{20}) ([0-9a-f]{8})\n")


class Copy(NamedTuple):
    """One copy: which writing it was, and the count."""

    turn: int
    pulses: int


class CountFile:
    """Keeps a count in a file.

    What `save` was given survives the process; what `sync` has returned for survives a
    power cut. `damaged` says that the file was there and no copy in it was whole: it is
    kept under another name. Opening, saving and syncing raise OSError.
    """

    def __init__(self, path: Path, start: int = 0) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes() if path.exists() else b""
        newest = max(copies(content), default=None)
        self.damaged = newest is None and bool(content)
        if self.damaged:
            path.replace(path.with_suffix(".damaged"))
        self.count = start if newest is None else newest.pulses
        self._turn = 0 if newest is None else newest.turn
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._dirty = False
        if newest is None:
            os.ftruncate(self._file, 2 * SLOT_BYTES)
            self.save(self.count)
            self.save(self.count)
            os.fsync(self._file)
            durable.sync(path.parent)

    def save(self, count: int) -> None:
        """Write the count over the older copy."""
        self._turn += 1
        os.pwrite(self._file, slot(Copy(self._turn, count)), self._turn % 2 * SLOT_BYTES)
        self.count = count
        self._dirty = True

    def sync(self) -> None:
        """Have the disk keep what was saved."""
        if self._dirty:
            os.fdatasync(self._file)
            self._dirty = False

    def close(self) -> None:
        """Keep everything, and close the file."""
        try:
            self.sync()
        finally:
            os.close(self._file)


def slot(copy: Copy) -> bytes:
    """Return a copy as it stands in the file."""
    text = b"%020d %020d" % copy
    return text + b" %08x\n" % zlib.crc32(text)


def copies(content: bytes) -> list[Copy]:
    """Return the whole copies in a file."""
    found = []
    for start in (0, SLOT_BYTES):
        match = _SLOT.match(content, start)
        if match and int(match[2], 16) == zlib.crc32(match[1]):
            found.append(Copy(*map(int, match[1].split())))
    return found
