"""Files that are whole and still there after a power cut."""

import logging
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

RETRY_SECONDS = 10.0


def write(path: Path, content: bytes) -> None:
    """Write a file in place of the one that is there, and its folder if need be; raise OSError if the disk refuses.

    Whenever the power fails, the file is whole, the old one or the new one; after the return it is the new one.
    Two threads must not write the same file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Force the content of a file, or the entries of a folder, to the disk; raise OSError if it refuses."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class InPlace:
    """Files that stay open while they are written: what is written into one that was removed or moved is lost at the next start."""

    def __init__(self, *paths: Path) -> None:
        """Note where the files are; one that is not there yet is noted by the first `check` that finds it."""
        self._known = {path: _identity(path) for path in paths}

    def check(self) -> None:
        """Raise OSError, with a sentence that says what to do, if a file is no longer the one at its path."""
        for path, known in self._known.items():
            present = _identity(path)
            if known is None:
                self._known[path] = present
            elif present != known:
                raise OSError(
                    f"{path} was removed, moved or replaced while it was in use: put it back, or restart the service"
                )


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


class Unsynced:
    """What was appended to a file of a folder, or is the name of one there, and is not forced to the disk. Not thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._since: float | None = None
        self._has_new_names = True  # that of the folder itself, too

    @property
    def seconds(self) -> float:
        """For how long something has waited; less than any number if nothing does."""
        return -math.inf if self._since is None else time.monotonic() - self._since

    def note(self) -> None:
        """Note that something was appended."""
        if self._since is None:
            self._since = time.monotonic()

    def note_name(self) -> None:
        """Note that there is a file of another name."""
        self._has_new_names = True

    def forget(self) -> None:
        """Note that nothing needs to be forced any more."""
        self._since = None

    def postpone(self) -> None:
        """Count the seconds from now on."""
        self._since = time.monotonic()

    def force(self, force_file: Callable[[], object] | None) -> None:
        """Force the file, if one is open, and new names to the disk if anything waits; raise OSError if it refuses."""
        if self._since is None:
            return
        if force_file:
            force_file()
        if self._has_new_names:
            sync(self._folder)
            sync(self._folder.parent)
            self._has_new_names = False
        self._since = None


class KeptFile:
    """A file whose owner continues while the disk refuses it: what was put into it last is written as soon as the disk takes it.

    The log has a line when that begins, and one when it ends. Not thread-safe.
    """

    def __init__(self, path: Path, consequence: str, now: Callable[[], float] = time.monotonic) -> None:
        """`consequence` says in the log what a refused write means."""
        self._path = path
        self._consequence = consequence
        self._now = now
        self._waiting: bytes | None = None
        self._refused = False
        self._tried = -math.inf

    def put(self, content: bytes) -> None:
        """Write the file, or keep the content for `write_if_due`; never raises OSError."""
        self._waiting = content
        self._tried = -math.inf
        self.write_if_due()

    def write_if_due(self) -> None:
        """Write what the disk refused, at most every RETRY_SECONDS; to be called now and then."""
        if self._waiting is None or self._now() - self._tried < RETRY_SECONDS:
            return
        self._tried = self._now()
        try:
            write(self._path, self._waiting)
        except OSError as error:
            if not self._refused:
                log.warning("%s cannot be written (%s): %s", self._path, error, self._consequence)
            self._refused = True
        else:
            if self._refused:
                log.warning("%s is written again", self._path)
            self._waiting, self._refused = None, False
