"""Cut what comes in at line ends, in bounded memory."""

import re
from collections.abc import Iterator
from typing import NamedTuple

LONGEST_BYTES = 4096
_END = re.compile(rb"[\r\n]")


class Line(NamedTuple):
    """A line without its end; of an overlong one, the beginning."""

    data: bytes
    overlong: bool = False


class Lines:
    """Turns pieces of a stream into lines: CR, LF or both end one, empty ones do not count.

    A line longer than LONGEST_BYTES is returned once as overlong, and the rest of it is
    dropped. With `joined_late`, everything up to the first end is: it may be half a line.
    """

    def __init__(self, *, joined_late: bool = False) -> None:
        self._rest = b""
        self._dropping = joined_late

    def feed(self, data: bytes) -> Iterator[Line]:
        """Yield the lines that end in this piece."""
        *ended, self._rest = _END.split(self._rest + data)
        for line in ended:
            if self._dropping:
                self._dropping = False
            elif line:
                yield _line(line)
        if self._dropping:
            self._rest = b""
        elif len(self._rest) > LONGEST_BYTES:
            line, self._rest = self._rest, b""
            self._dropping = True
            yield _line(line)


def _line(data: bytes) -> Line:
    if len(data) > LONGEST_BYTES:
        return Line(data[:LONGEST_BYTES], overlong=True)
    return Line(data)
