"""What a line, a block or a telegram can turn out to be."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

from heliograph.messages import Channel, Value


class NotAReading(ValueError):
    """A line that nothing can be read from: set it aside, and count it under `counter`."""

    def __init__(self, why: str, counter: str = "noise_lines") -> None:
        super().__init__(why)
        self.counter = counter


class UnknownNode(NotAReading):
    """A good packet of a radio node that the configuration does not list: offer a template for it."""

    def __init__(self, number: int, length: int) -> None:
        super().__init__(f"no node {number} in [serial_bridge.nodes]", "unknown_nodes")
        self.number = number
        self.length = length


class About(NamedTuple):
    """What the configuration says of a device: `interval` 0 is to be learnt, absent channels are to be guessed."""

    model: str
    interval: float
    channels: Mapping[str, Channel]


class Reading(NamedTuple):
    """What a device said; `at` is its own time in seconds since 1970 UTC, None if it was read just now.

    `no_sensor` counts the values that only said that there is no sensor; `refused` shows
    the ones that no channel can have. Neither are in `values`. `texts` has what channels were
    called by the device, where it called them at all, and `device_text` what it called itself.
    """

    device: str
    values: dict[str, Value]
    about: About
    at: float | None = None
    no_sensor: int = 0
    refused: tuple[str, ...] = ()
    texts: Mapping[str, str] = {}
    device_text: str = ""


class Remark(NamedTuple):
    """A line that is no reading and no mistake; `settings` are those of a radio receiver."""

    counter: str
    settings: str = ""


class Recognition(NamedTuple):
    """How `format = "auto"` recognises a format: by so many readings, 1 for one that has a checksum.

    Of two formats that understand the same lines, the more specific one is meant.
    """

    readings: int = 2
    specificity: int = 0


Said = Reading | Remark | list[Reading]


class Format(Protocol):
    """How lines of one kind are read."""

    def __call__(self, line: str) -> Reading | Remark:
        """Return what a line without its end says; raise NotAReading, and nothing else."""


class BlockFormat(Protocol):
    """How blocks of one kind are read: those that are more, or less, than a line of text."""

    def __call__(self, block: bytes) -> Reading | Remark | list[Reading]:
        """Return what a block with a good checksum says; raise NotAReading, and nothing else."""


class Piece(NamedTuple):
    """What a cutter cut out of a stream; `why` says what is wrong with it, and `counter` counts that."""

    data: bytes
    why: str = ""
    counter: str = ""


class Cutter(Protocol):
    """Cuts a stream into pieces, in bounded memory."""

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Yield the pieces that end in this part of the stream."""


class Heard(NamedTuple):
    """One piece and what it turned out to be."""

    raw: bytes
    said: Reading | Remark | list[Reading] | NotAReading


class Decoder(Protocol):
    """Turns what comes in on one connection into what it says."""

    def feed(self, data: bytes) -> Iterator[Heard]:
        """Yield what was said in this part of the stream."""
