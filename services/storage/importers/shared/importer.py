"""Writes what importers read into the store: in blocks, with every bad line counted and the rest kept."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, Protocol

from heliograph.messages import Block, Channel, Info, Kind, Value, is_value
from heliograph.store.interface import Progress, Refusal, Series
from heliograph.store.readings import EARLIEST, FUTURE_SECONDS
from services.storage.importers.shared.channels import ImportedChannels, SeriesName
from services.storage.importers.shared.parts import ChannelMetadata, Mistake, Part

BLOCK = 5_000  # readings in one commit
SHOWN = 5  # mistakes of one kind that are shown
REASONS = 50  # kinds of mistakes that are counted apart
_EXPECTED: dict[Kind, str] = {
    "gauge": "a finite number",
    "counter": "a finite number",
    "state": "true or false, or 1 or 0",
    "text": "at most 255 characters",
}
EXACT = 2**53  # up to here a float64 has every whole number


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
    """Writes parts into a store, a commit every `BLOCK` readings; what a series cannot hold is set aside, value by value."""

    def __init__(
        self,
        writer: ImportStore,
        known: Iterable[Series],
        metadata: ChannelMetadata,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._writer = writer
        self._latest = now() + FUTURE_SECONDS
        self._channels = ImportedChannels(known, metadata)
        self._part = Part([], [], 0)  # the one that is written
        self._row: Sequence[Any] = ()  # and its row
        self._undeclared: dict[SeriesName, Channel] = {}
        self.readings = 0
        self.values: Counter[SeriesName] = Counter()  # how many were taken
        self.rounded = 0  # whole numbers with more digits than a store keeps
        self.span: tuple[float, float] | None = None
        self.mistakes: Counter[str] = Counter()  # why → how often
        self.shown: list[Mistake] = []

    @property
    def series(self) -> dict[str, Channel]:
        """The series that values were imported into, by name."""
        return {"/".join(name): self._channels.declared[name] for name in sorted(self.values)}

    @property
    def channels(self) -> set[str]:
        """The names of all channels that there were values of."""
        return {channel for _, _, channel in (*self._channels.declared, *self._channels.refused)}

    @property
    def refused(self) -> dict[str, str]:
        """The series of which nothing can be imported, by name, and why."""
        return {"/".join(name): why for name, why in sorted(self._channels.refused.items())}

    def take(self, part: Part) -> None:
        """Write one part; raise OSError if that fails."""
        self._part = part
        for mistake in part.mistakes:
            self._set_aside(mistake)
        for node, block in part.readings:
            self._write(node, block)

    def finish(self) -> None:
        """Commit the rest, and put the store into its final form; raise OSError if that fails."""
        self._writer.commit({})
        self._writer.settle()

    def _write(self, node: str, block: Block) -> None:
        names = [(node, block.device, channel) for channel in block.channels]
        for channel, described in self._channels.declare(names, block.rows).items():
            self._undeclared[node, block.device, channel] = described
        channels = [self._channels.declared.get(name) for name in names]
        are_numbers = all(channel and channel.kind != "text" for channel in channels)
        rows: list[list[Any]] = []
        for row in block.rows:
            self._row = row
            if len(row) != len(names) + 1 or not self._is_timely(row[0], names[0]):
                continue
            if not (are_numbers and _are_plain(row)):
                row = [row[0], *map(self._checked, row[1:], names, channels)]
            if any(value is not None for value in row[1:]):
                rows.append(row)
        present = [index for index in range(1, len(names) + 1) if any(row[index] is not None for row in rows)]
        if len(present) < len(names):
            rows = [[row[0], *(row[index] for index in present)] for row in rows]
        names = [names[index - 1] for index in present]
        for start in range(0, len(rows), BLOCK):
            self._write_rows(node, block.device, names, rows[start : start + BLOCK])

    def _declare(self, node: str, device: str, names: list[SeriesName]) -> None:
        """Declare those of the channels that are new, now that they have a value: nothing is known of a series that gets none."""
        new = {name[2]: self._undeclared.pop(name) for name in names if name in self._undeclared}
        if new:
            for refusal in self._writer.declare(node, device, Info("", new)):
                self._set_aside(Mistake(f"{node}/{device}", refusal.why, refusal.what))

    def _write_rows(self, node: str, device: str, names: list[SeriesName], rows: list[list[Any]]) -> None:
        self._declare(node, device, names)
        before = self._writer.pending
        channels = tuple(channel for _, _, channel in names)
        for refusal in self._writer.write(node, [Block(device, channels, rows)]):
            self._set_aside(
                Mistake(": ".join(filter(None, (self._part.source, f"{node}/{device}"))), refusal.why, refusal.what)
            )
        taken = self._writer.pending - before
        if taken < len(rows):  # the store drops what is older than it keeps
            rows = sorted(rows, key=itemgetter(0))[len(rows) - taken :]
        self.readings += taken
        if rows:
            times = [row[0] for row in rows]
            first, last = self.span or (times[0], times[0])
            self.span = min(first, *times), max(last, *times)
        for index, name in enumerate(names, 1):
            if count := sum(row[index] is not None for row in rows):
                self.values[name] += count
        if self._writer.pending >= BLOCK:
            self._writer.commit({})
            self._writer.maintain()

    def _is_timely(self, time: object, name: SeriesName) -> bool:
        if isinstance(time, bool) or not isinstance(time, int | float) or time != time:
            why = "not a time and values"
        elif time < EARLIEST:
            why = "a time before 2000-01-01, which is the earliest that is stored"
        elif time > self._latest:
            why = "a time in the future"
        else:
            return True
        self._set_aside(Mistake(self._where("/".join(name[:2])), why, _written(time)))
        return False

    def _checked(self, value: Value | None, name: SeriesName, channel: Channel | None) -> Value | None:
        """Return a value as its series holds it; None, and a mistake, for one that it cannot hold."""
        if value is None:
            return None
        if channel is None:
            why = self._channels.refused[name]
        elif channel.kind == "text" and not isinstance(value, str):
            if self._channels.is_stated(name):
                return f"{value}".lower() if isinstance(value, bool) else f"{value}"
            why = f"not a text, as {name[2]} has: --text {name[2]} takes it as one"
        elif not is_value(value) or (isinstance(value, str) and channel.kind != "text"):
            why = f"not a value of kind {channel.kind}, which is {_EXPECTED[channel.kind]}"
        else:
            self.rounded += value.__class__ is int and abs(value) > EXACT and int(float(value)) != value
            return value
        self._set_aside(Mistake(self._where("/".join(name)), why, repr(value)[:200]))
        return None

    def _where(self, name: str) -> str:
        """Return file and line of the row that is written, and the series or device."""
        return ": ".join(filter(None, (self._part.location(self._row), name)))

    def _set_aside(self, mistake: Mistake) -> None:
        why = mistake.why if mistake.why in self.mistakes or len(self.mistakes) < REASONS else "other mistakes"
        self.mistakes[why] += 1
        if self.mistakes[why] <= SHOWN:
            self.shown.append(mistake)


def _are_plain(row: Sequence[Any]) -> bool:
    """Whether all values of a row are numbers that a store keeps exactly."""
    try:
        return bool(-EXACT < sum(row[1:]) < EXACT)
    except TypeError:
        return False


def _written(time: object) -> str:
    try:
        return datetime.fromtimestamp(time, UTC).isoformat(" ", "seconds")  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, OSError):
        return repr(time)[:200]
