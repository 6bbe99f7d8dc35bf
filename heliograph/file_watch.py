"""Notices that a file has changed, once the new content is complete."""

from pathlib import Path

Stamp = tuple[int, int, int]


class FileWatch:
    """Watches one file. A change counts when the file looks the same in two calls: before, it may be half written.

    `known` says that the present content is known already.
    """

    def __init__(self, path: Path, *, known: bool) -> None:
        self._path = path
        self._known = self._before = self._stamp() if known else None

    def has_changed(self) -> bool:
        """Return whether the file has a new content since the last True, and looks as it did at the last call."""
        stamp = self._stamp()
        settled, self._before = stamp == self._before, stamp
        if stamp is None or stamp == self._known or not settled:
            return False
        self._known = stamp
        return True

    def _stamp(self) -> Stamp | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino
