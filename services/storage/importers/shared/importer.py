"""Writes what importers read into the store: in blocks, with every bad line counted and the rest kept."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from heliograph.messages import Block, Channel, Info, Kind, Value
from heliograph.store.interface import Progress, Refusal, Series
from heliograph.store.readings import EARLIEST, LATEST
from services.storage.importers.shared.parts import ChannelMetadata, Mistake, Part

BLOCK = 5_000  # readings in one commit
SHOWN = 5  # mistakes of one kind that are shown
REASONS = 50  # kinds of mistakes that are counted apart


class ImportStore(Protocol):
    """What an import needs of a `Writer`; heliograph/store/interface.py has the contract of each method."""

    @property
    def pending(self) -> int:
        """How many readings wait for the next commit."""
        ...

    def declare(self, node: str, device: str, info: Info) -> list[Refusal]:
        """Note units and kinds of a device's channels."""
        ...

    def write(self, node: str, blocks: list[Block]) -> list[Refusal]:
        """Take readings into the next commit."""
        ...

    def commit(self, progress: Mapping[tuple[str, str], Progress]) -> None:
        """Make what was written durable."""
        ...

    def maintain(self) -> bool:
        """Do one piece of the housekeeping that is due."""
        ...

    def settle(self) -> None:
        """Do all housekeeping now."""
        ...


class Importer:
    """Writes parts into a store, a commit every `BLOCK` readings."""

    def __init__(self, writer: ImportStore, known: Iterable[Series], metadata: ChannelMetadata) -> None:
        self._writer = writer
        self._metadata = metadata
        self._known = {
            (series.node, series.device, series.channel): Channel(series.unit, series.kind, rollover=series.rollover)
            for series in known
        }
        self._declared: set[tuple[str, str, str]] = set()
        self.readings = 0
        self.span: tuple[float, float] | None = None
        self.mistakes: Counter[str] = Counter()  # why → how often
        self.shown: list[Mistake] = []

    @property
    def series(self) -> list[str]:
        """The names of the series that values were imported into."""
        return sorted("/".join(name) for name in self._declared)

    def take(self, part: Part) -> None:
        """Write one part; raise OSError if that fails."""
        for mistake in part.mistakes:
            self._set_aside(mistake)
        for node, block in part.readings:
            self._write(node, block)

    def finish(self) -> None:
        """Commit the rest, and put the store into its final form; raise OSError if that fails."""
        self._writer.commit({})
        self._writer.settle()

    def _write(self, node: str, block: Block) -> None:
        present = [
            index
            for index in range(len(block.channels))
            if any(row[index + 1] is not None for row in block.rows if len(row) > index + 1)
        ]
        if not present:
            return
        if len(present) < len(block.channels):
            rows = [[row[0], *(row[index + 1] for index in present)] for row in block.rows]
            block = Block(block.device, tuple(block.channels[index] for index in present), rows)
        self._declare(node, block)
        for start in range(0, len(block.rows), BLOCK):
            rows = block.rows[start : start + BLOCK]
            before = self._writer.pending
            for refusal in self._writer.write(node, [Block(block.device, block.channels, rows)]):
                self._set_aside(Mistake(f"{node}/{block.device}", refusal.why, refusal.what))
            taken = self._writer.pending - before
            self.readings += taken
            if taken:
                self._extend([row[0] for row in rows if EARLIEST <= row[0] <= LATEST])
            if self._writer.pending >= BLOCK:
                self._writer.commit({})
                self._writer.maintain()

    def _extend(self, times: Sequence[float]) -> None:
        if times:
            first, last = self.span or (times[0], times[0])
            self.span = min(first, *times), max(last, *times)

    def _declare(self, node: str, block: Block) -> None:
        """Declare units and kinds of channels that are new to this import; what the store knows stays unless the metadata differ."""
        declared = {}
        for index, name in enumerate(block.channels, 1):
            key = (node, block.device, name)
            if key in self._declared:
                continue
            self._declared.add(key)
            known = self._known.get(key)
            kind = self._metadata.kinds.get(name) or (known.kind if known else _kind(block.rows, index))
            unit = self._metadata.units.get(name, known.unit if known else "")
            channel = Channel(unit, kind, rollover=known.rollover if known else 0.0)
            if channel != known:
                declared[name] = channel
        if declared:
            for refusal in self._writer.declare(node, block.device, Info("", declared)):
                self._set_aside(Mistake(f"{node}/{block.device}", refusal.why, refusal.what))

    def _set_aside(self, mistake: Mistake) -> None:
        why = mistake.why if mistake.why in self.mistakes or len(self.mistakes) < REASONS else "other mistakes"
        self.mistakes[why] += 1
        if self.mistakes[why] <= SHOWN:
            self.shown.append(mistake)


def _kind(rows: Sequence[Sequence[Value | None]], index: int) -> Kind:
    """Return the kind of an undeclared channel, by the first value it has."""
    value = next((row[index] for row in rows if row[index] is not None), None)
    if isinstance(value, str):
        return "text"
    return "state" if isinstance(value, bool) else "gauge"
