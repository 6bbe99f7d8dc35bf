"""Lines of text files that may be compressed, torn by a power cut, or not text; and records of several lines."""

import codecs
import gzip
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import IO, Generic, NamedTuple, Protocol, TypeVar, cast

T = TypeVar("T")
# Real ones are shorter: a header with all series of a large store, texts with line ends in all channels of a device. A file
# without line ends, or with a quote that never ends, must not fill the memory.
LONGEST_LINE = 4_194_304  # bytes
LONGEST = 262_144  # characters of a record of several lines
GZIP = b"\x1f\x8b"
ZIP = b"PK\x03\x04"
HEAD = 4096  # bytes that show how lines end
UNREADABLE = "\ufffd".encode()
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
ZIPPED = "a ZIP archive, as Excel's .xlsx is: unpack it, or save the table as CSV"
ZEROS = "zero bytes, as a power cut leaves them"


class Line(NamedTuple):
    """One line: its number from 1, its text, its end ("" at the end of a torn file), and the error if it cannot be used."""

    number: int
    text: str
    end: str = "\n"
    error: str = ""


class Record(NamedTuple, Generic[T]):
    """What one or more lines hold: number and text of the first of them, the value, or the error if there is no value."""

    number: int
    text: str
    value: T | None
    error: str = ""


class TextFile:
    """The lines of a file, plain or gzip; `position` says how many bytes of it have been read.

    It is UTF-8, UTF-16 with its mark, or what `encoding` says. Raises OSError if it cannot be opened; what cannot be
    read further down is a line with an error.
    """

    def __init__(self, path: Path, encoding: str = "") -> None:
        self._path = path
        self._encoding = encoding
        self.position = 0

    def __iter__(self) -> Iterator[Line]:
        """Yield every line."""
        with ExitStack() as opened:
            file = opened.enter_context(self._path.open("rb"))
            content: BufferedReader | gzip.GzipFile = file
            if file.peek(2)[:2] == GZIP:
                content = opened.enter_context(gzip.open(file))
            number = 0
            try:
                encoding = self._encoding or _marked(content.peek(4))
                lines: _Lines = content
                given = encoding
                head = content.peek(HEAD)[:HEAD]
                if head.startswith(ZIP):
                    yield Line(1, "", error=ZIPPED)
                    return
                if "\n".encode(encoding) != b"\n":
                    lines, encoding = _Recoded(content, encoding, "\n"), "utf-8"
                elif b"\r" in head[:-1] and b"\n" not in head:  # of an old Mac; the last byte may be half of \r\n
                    lines, encoding = _Recoded(content, encoding, "\r"), "utf-8"
                while raw := lines.readline(LONGEST_LINE):
                    number += 1
                    error, done = "", len(raw)
                    while len(raw) == LONGEST_LINE and not raw.endswith(b"\n"):
                        error = f"a line longer than {LONGEST_LINE} bytes"
                        raw = lines.readline(LONGEST_LINE)
                        done += len(raw)
                    if lines is not content and UNREADABLE in raw:
                        error = error or f"characters that are not {given}"
                    # a pipe has no position
                    self.position = self.position + done if lines is file else file.tell()
                    yield _line(number, raw, encoding, error)
            except (EOFError, zlib.error, gzip.BadGzipFile) as damage:
                yield Line(number + 1, "", error=f"the compressed file is damaged from here on ({damage})")
            if content is not file:
                self.position = file.tell()


class _Lines(Protocol):
    def readline(self, size: int, /) -> bytes: ...


class _Recoded:
    """The lines of a file, in UTF-8, which do not end with the byte of a line feed: those of UTF-16, or with CR alone."""

    def __init__(self, content: BufferedReader | gzip.GzipFile, encoding: str, end: str) -> None:
        self._text = TextIOWrapper(
            cast("IO[bytes]", content), encoding, errors="surrogateescape" if end == "\r" else "replace", newline=end
        )

    def readline(self, size: int, /) -> bytes:
        return self._text.readline(size).encode("utf-8", "surrogateescape")


def _marked(head: bytes) -> str:
    """Return the encoding that the first bytes of a file are the mark of, UTF-8 without one."""
    return next((name for mark, name in MARKS if head.startswith(mark)), "utf-8")


def _line(number: int, raw: bytes, encoding: str, error: str) -> Line:
    if number == 1:
        raw = raw.removeprefix(codecs.BOM_UTF8)
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        text = raw.decode(encoding, errors="replace")
        not_text = f"not {encoding}: give --encoding, which is cp1252 for most files of Windows"
        error = error or (ZEROS if b"\0" in raw else not_text)
    stripped = text.rstrip("\r\n")
    return Line(number, stripped, text[len(stripped) :], error)


def records(
    lines: Iterable[Line], read: Callable[[str], T], unfinished: type[ValueError], is_unfinished: Callable[[str], bool]
) -> Iterator[Record[T]]:
    """Yield what lines hold, joining those that a quoted text continues in.

    `read` raises `unfinished` for lines in which a quoted text does not end, ValueError for other errors;
    `is_unfinished` returns whether a text that began before a line continues after it. If joined lines are not a record,
    or too long a one, only the first of them is an error, and the others are read by themselves.
    """
    source = iter(lines)
    waiting: deque[Line] = deque()

    def following() -> Line | None:
        return waiting.popleft() if waiting else next(source, None)

    while line := following():
        if line.error:
            yield Record(line.number, line.text, None, line.error)
            continue
        try:
            yield Record(line.number, line.text, read(line.text))
        except unfinished as error:
            joined = _joined(line, following, is_unfinished)
            text = "".join(part.text + part.end for part in joined)
            try:
                if joined[-1].error or len(text) > LONGEST:
                    raise
                value = read(text.rstrip("\r\n"))
            except ValueError:
                waiting.extendleft(reversed(joined[1:]))
                yield _error(line, error)
            else:
                yield Record(line.number, line.text, value)
        except ValueError as error:
            yield _error(line, error)


def _joined(line: Line, following: Callable[[], Line | None], is_unfinished: Callable[[str], bool]) -> list[Line]:
    """Return a line and those after it up to where a text ends that begins in it, or to where it is too long."""
    joined, size = [line], len(line.text)
    while size <= LONGEST and (more := following()):
        joined.append(more)
        size += len(more.text) + len(more.end)
        if more.error or not is_unfinished(more.text + more.end):
            break
    return joined


def _error(line: Line, error: ValueError) -> Record[T]:
    return Record(line.number, line.text, None, ZEROS if "\0" in line.text else str(error))
