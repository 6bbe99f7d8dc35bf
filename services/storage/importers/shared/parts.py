"""What an importer makes of its files: readings and mistakes, a part at a time."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from heliograph.messages import Block, Kind
from services.storage.blocks import BlockBuilder
from services.storage.importers.shared.names import SeriesNames
from services.storage.importers.shared.text_lines import TextFile

RECORDS = 1_000  # lines or records of one part


class Mistake(NamedTuple):
    """What could not be imported: where it was, why, and how it began."""

    where: str
    why: str
    what: str = ""


class Part(NamedTuple):
    """What one stretch of a file holds: readings by node, mistakes, and how many bytes it takes up.

    `source` is the file, `lines` has the lines of its rows, each by the row's id().
    """

    readings: list[tuple[str, Block]]
    mistakes: list[Mistake]
    size: int
    source: str = ""
    lines: Mapping[int, int] = {}

    def location(self, row: Sequence[Any]) -> str:
        """Return where a row of the readings is: file and line, as far as they are known."""
        line = self.lines.get(id(row))
        return f"{self.source}:{line}" if line else self.source


class ChannelMetadata(NamedTuple):
    """Units and kinds as the user or the format states them, by the name of the channel, or of the series (node/device/channel)."""

    units: Mapping[str, str] = {}
    kinds: Mapping[str, Kind] = {}


class ImportFile(NamedTuple):
    """One file, and how it is read; reading raises OSError or ValueError if the file cannot be read at all.

    `size` is how many bytes its parts have, 0 for those of the file.
    """

    path: Path
    read: Callable[[SeriesNames], Iterable[Part]]
    size: int = 0


def _none() -> list[str]:
    return []


class ImportPlan(NamedTuple):
    """What an import reads, and what is known of the channels before.

    `complaints`, called when all is read, returns what the user has to know of options that did nothing; `given` is what
    options state of channels, each of which must be in the files.
    """

    files: Sequence[ImportFile]
    metadata: ChannelMetadata = ChannelMetadata()
    complaints: Callable[[], list[str]] = _none
    given: ChannelMetadata = ChannelMetadata()


class PartBuilder:
    """Collects what the records of a text file hold into parts of RECORDS records."""

    def __init__(self, path: Path, file: TextFile) -> None:
        self._path = path
        self._file = file
        self._blocks = BlockBuilder()
        self._mistakes: list[Mistake] = []
        self._lines: dict[int, int] = {}
        self._records = 0
        self._position = 0

    def add(self, node: str, device: str, channels: tuple[str, ...], row: list[Any], line: int) -> None:
        """Take one reading, which starts in this line: its time, and a value for each channel."""
        self._blocks.add(node, device, channels, row)
        self._lines[id(row)] = line

    def set_aside(self, line: int, why: str, text: str) -> None:
        """Note that a record, which starts in this line, is not used."""
        self._mistakes.append(Mistake(f"{self._path}:{line}" if line else str(self._path), why, text[:200]))

    def next_record(self) -> Iterator[Part]:
        """Count a record; yield a part if it is full."""
        self._records += 1
        if self._records % RECORDS == 0:
            yield self.rest()

    def rest(self) -> Part:
        """Return what has been collected since the last part."""
        size = self._file.position - self._position
        part = Part(self._blocks.take(), self._mistakes, size, str(self._path), self._lines)
        self._mistakes, self._lines, self._position = [], {}, self._file.position
        return part
