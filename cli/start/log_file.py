"""The log of a node on disk: what its processes say, in files of bounded size."""

from pathlib import Path

SIZE = 1_000_000  # bytes of each file
OLDER = 4  # files beside the one that is written
NAME = Path("log/node.log")  # in the run folder


class LogFile:
    """Appends lines to a file that becomes FILE.1 when it is full, then FILE.2 …, until it is deleted.

    A line is handed to the system at once, so that readers see it and a dying process loses none, and never forced to
    the disk: the kernel writes it with its next batch, which spares an SD card.
    """

    def __init__(self, path: Path, size: int = SIZE, older: int = OLDER) -> None:
        """Open the file; raise OSError if that is not possible."""
        if not path.parent.exists():
            path.parent.mkdir(parents=True)
        self._path = path
        self._limit = size
        self._older = older
        self._file = path.open("ab+", buffering=0)
        self._size = self._file.seek(0, 2)
        self._torn = self._size > 0 and self._last_byte() != b"\n"

    def write(self, line: str) -> None:
        """Append a line; raise OSError if the disk refuses it, in which case a later one may succeed."""
        data = line.encode(errors="backslashreplace") + b"\n"
        if self._size and self._size + len(data) > self._limit and self._path.is_file():
            self._rotate()
        if self._torn:
            data = b"\n" + data
        written = self._file.write(data) or 0
        self._size += written
        self._torn = written not in (0, len(data))
        if written < len(data):
            raise OSError("no space is left")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _last_byte(self) -> bytes:
        self._file.seek(-1, 2)
        return self._file.read(1)

    def _rotate(self) -> None:
        for number in range(self._older, 0, -1):
            before = numbered(self._path, number - 1)
            if before.exists():
                before.replace(numbered(self._path, number))
        file = self._path.open("ab", buffering=0)
        self._file.close()
        self._file, self._size, self._torn = file, 0, False


def numbered(path: Path, number: int) -> Path:
    """Return the name of the file that was the log `number` files ago."""
    return path.with_name(f"{path.name}.{number}") if number else path
