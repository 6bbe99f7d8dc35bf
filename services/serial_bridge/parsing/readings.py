"""What a line, a block or a telegram can turn out to be."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

from heliograph.messages import Channel, Value


class NotAReading(ValueError):
    """A line that nothing can be read from: set it aside, and count it under `counter`."""

    def __init__(self, reason: str, counter: str = "noise_lines") -> None:
        super().__init__(reason)
        self.counter = counter


class UnknownNode(NotAReading):
    """A good packet of a radio node that the configuration does not list: suggest a decoder for it."""

    def __init__(self, number: int, length: int) -> None:
        super().__init__(f"no node {number} in [serial_bridge.nodes]", "unknown_nodes")
        self.number = number
        self.length = length


class Description(NamedTuple):
    """What the configuration says of a device: an `interval` of 0 is learnt, channels that are not in it are guessed."""

    model: str
    interval: float
    channels: Mapping[str, Channel]


class NamedValue(NamedTuple):
    """The value of a channel, and what the device calls it."""

    name: str
    text: str
    value: Value


class ParsedReading(NamedTuple):
    """The values of a device; `at` is its own time in seconds since 1970 UTC, None if it was read just now.

    `no_sensor` counts the values that only report that there is no sensor; `refused` shows those that no channel can
    have. Neither are in `values`. `texts` has what the device calls its channels, where it names them, and `device_text`
    what it calls itself. `duplicates` are the values of further texts with a name that is in `values`: the device that
    remembers its channels decides whose name it is. `unread` are lines that were not understood. With `once`, the reading is
    sent again and again until there is a newer one, and only the first of the same time counts.
    """

    device: str
    values: dict[str, Value]
    description: Description
    at: float | None = None
    no_sensor: int = 0
    refused: tuple[str, ...] = ()
    texts: Mapping[str, str] = {}
    device_text: str = ""
    duplicates: tuple[NamedValue, ...] = ()
    unread: tuple[str, ...] = ()
    once: bool = False


class StatusLine(NamedTuple):
    """A line about the sender itself, counted under `counter`; `settings` are those of a radio receiver."""

    counter: str
    settings: str = ""


class Detection(NamedTuple):
    """How `format = "auto"` detects a format: by so many readings, 1 for a format with a checksum.

    Of two formats that understand the same lines, the more specific one is meant.
    """

    readings: int = 2
    specificity: int = 0


ParseResult = ParsedReading | StatusLine | list[ParsedReading]


class LineParser(Protocol):
    """Parses the lines of one format."""

    def __call__(self, line: str) -> ParsedReading | StatusLine:
        """Return what a line without its end says; raise NotAReading, and nothing else."""


class BlockParser(Protocol):
    """Parses the blocks of one format: what is more, or less, than a line of text."""

    def __call__(self, block: bytes) -> ParseResult:
        """Return what a block with a good checksum says; raise NotAReading, and nothing else."""


class Piece(NamedTuple):
    """A line or block that a splitter found in a stream; `error` is what is wrong with it, counted under `counter`.

    `size` is how many bytes of the stream it is, without the ends of lines.
    """

    data: bytes
    error: str = ""
    counter: str = ""
    size: int = 0


class StreamSplitter(Protocol):
    """Splits a stream into lines or blocks, in bounded memory.

    Every byte but the ends of lines is in a piece, `unfinished`, or counted in `dropped`: noise between telegrams, half a
    one that was being sent while the port was opened.
    """

    dropped: int

    @property
    def unfinished(self) -> bytes:
        """The beginning of a piece that has not ended yet."""
        ...

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Yield the pieces that end in this part of the stream."""


class ParsedPiece(NamedTuple):
    """A piece of a stream as it came, and its result."""

    raw: bytes
    result: ParseResult | NotAReading


class Decoder(Protocol):
    """Decodes the stream of one connection."""

    @property
    def unfinished(self) -> bytes:
        """The beginning of a piece that has not ended yet."""
        ...

    def take_dropped(self) -> int:
        """Return how many bytes were dropped since the last call without being a piece."""

    def feed(self, data: bytes) -> Iterator[ParsedPiece]:
        """Yield the results of the pieces that end in this part of the stream."""
