"""Splits a stream into lines, in bounded memory."""

import re
from collections.abc import Iterator

from services.serial_bridge.parsing.readings import Piece

MAX_BYTES = 4096
_END = re.compile(rb"[\r\n]")


class LineSplitter:
    """Splits a stream into lines: CR, LF or both end one, empty ones do not count.

    A line longer than MAX_BYTES is returned once, cut short and with an error, and the rest of
    it is dropped, and counted. With `joined_late`, so is everything up to the first end: it may be half a line.
    """

    def __init__(self, *, joined_late: bool = False) -> None:
        self._rest = b""
        self._dropping = joined_late
        self.dropped = 0

    @property
    def unfinished(self) -> bytes:
        """The bytes after the last line end."""
        return self._rest

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Yield the lines that end in this part of the stream."""
        *ended, self._rest = _END.split(self._rest + data)
        for line in ended:
            if self._dropping:
                self._dropping = False
                self.dropped += len(line)
            elif line:
                yield _line(line)
        if self._dropping:
            self.dropped += len(self._rest)
            self._rest = b""
        elif len(self._rest) > MAX_BYTES:
            line, self._rest = self._rest, b""
            self._dropping = True
            yield _line(line)


def _line(data: bytes) -> Piece:
    if len(data) > MAX_BYTES:
        return Piece(data[:MAX_BYTES], "longer than any line", "overlong_lines", len(data))
    return Piece(data, size=len(data))
