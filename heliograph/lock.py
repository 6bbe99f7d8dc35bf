"""A lock for one process at a time; the kernel releases it however that process ends."""

import fcntl
import os
from pathlib import Path


class Taken(OSError):
    """Another process holds the lock: stop it first."""


class Lock:
    """The lock of a file, held until `release` or the end of the process; raises Taken, or OSError without the file."""

    def __init__(self, path: Path, what: str) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise Taken(f"{path.parent}: another process uses this {what}; stop it first") from None

    def release(self) -> None:
        """Release the lock."""
        os.close(self._file)
