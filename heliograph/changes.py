"""A file that others change: noticed once it is whole again."""

from pathlib import Path

Stamp = tuple[int, int, int]


class Changes:
    """Notices that a file was changed; it must look the same twice, for it may be half written.

    `taken` says that what is in it now is known already.
    """

    def __init__(self, path: Path, *, taken: bool) -> None:
        self._path = path
        self._taken = self._before = self._stamp() if taken else None

    def settled(self) -> bool:
        """Return whether the file was changed since the last change that was told, and looks as at the last call."""
        stamp = self._stamp()
        settled, self._before = stamp == self._before, stamp
        if stamp is None or stamp == self._taken or not settled:
            return False
        self._taken = stamp
        return True

    def _stamp(self) -> Stamp | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
