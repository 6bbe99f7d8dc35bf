"""Lines of text files that may be compressed, torn by a power cut, or no text at all."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, NamedTuple, cast

LONGEST = 65_536  # bytes of a line; nobody's rows are longer, and a file without line ends must not fill the memory
GZIP = b"\x1f\x8b"


class Line(NamedTuple):
    """One line: its number from 1, its text without the line end, and why it cannot be used, if it cannot."""

    number: int
    text: str
    wrong: str = ""
    ended: bool = True  # with a line end; the last line of a torn file has none


class TextFile:
    """The lines of a file, plain or gzip; `position` says how many bytes of it have been read.

    Raises OSError if it cannot be opened; what cannot be read further down is a line that is wrong.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.position = 0

    def __iter__(self) -> Iterator[Line]:
        """Yield every line."""
        with ExitStack() as opened:
            file = opened.enter_context(self._path.open("rb"))
            content = cast("IO[bytes]", file)
            compressed = file.peek(2)[:2] == GZIP
            if compressed:
                content = cast("IO[bytes]", opened.enter_context(gzip.open(file)))
            number = 0
            try:
                while raw := content.readline(LONGEST):
                    number += 1
                    wrong, done = "", len(raw)
                    while len(raw) == LONGEST and not raw.endswith(b"\n"):
                        wrong = f"a line longer than {LONGEST} bytes"
                        raw = content.readline(LONGEST)
                        done += len(raw)
                    # a pipe cannot tell where it is
                    self.position = file.tell() if compressed else self.position + done
                    yield _line(number, raw, wrong)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                yield Line(number + 1, "", f"the compressed file is damaged from here on ({error})")
            if compressed:
                self.position = file.tell()


def _line(number: int, raw: bytes, wrong: str) -> Line:
    ended = raw.endswith(b"\n")
    if not wrong and b"\0" in raw:
        wrong = "zero bytes, as a power cut leaves them"
    text = raw.decode("utf-8-sig" if number == 1 else "utf-8", errors="replace").rstrip("\r\n")
    return Line(number, text, wrong, ended)
