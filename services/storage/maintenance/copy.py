"""One store copied into another, even while the first is written: `heliograph store copy`.

Readings are copied in order of arrival, so that the last arrival of a time wins there too. A small file keeps the progress of the
copy; what is copied again after a crash changes nothing. The progress of the producers is only copied once the first
store can no longer change.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec

from heliograph import durable
from heliograph.messages import Channel, Info
from heliograph.store.interface import Arrival, Progress, Reader, Refusal, Writer
from services.storage.blocks import BlockBuilder

READINGS = 5_000  # of one commit


class CopyProgress(msgspec.Struct, frozen=True):
    """The progress of a copy: after which arrival, and into which store."""

    target: str  # its identity
    cursor: int


class StoreCopy:
    """Copies from a reader to a writer, and keeps its progress in a file."""

    def __init__(self, source: Reader, target: Writer, progress_file: Path) -> None:
        self._source = source
        self._target = target
        self._file = progress_file
        self._declared: set[tuple[str, str, str]] = set()
        self.cursor = _load(progress_file, target.identity)
        self.readings = 0
        self.values = 0
        self.refused: list[Refusal] = []

    def everything(self, advance: Callable[[int], None]) -> None:
        """Copy what has arrived since the last time; raise OSError if a write fails, with all kept that was copied."""
        self._declare()
        while arrivals := self._source.since(self.cursor, READINGS):
            self._write(arrivals)
            self._target.commit({})
            advance(arrivals[-1].cursor - self.cursor)
            self.cursor = arrivals[-1].cursor
            durable.write(self._file, msgspec.json.encode(CopyProgress(self._target.identity, self.cursor)))
            self._target.maintain()

    def finish(
        self,
        progress: Mapping[tuple[str, str], Progress],
        replaced: Iterable[tuple[str, float]] = (),
        target_series: Mapping[str, int] | None = None,
    ) -> None:
        """Copy the progress of the producers, and put the target into its final form; nothing may arrive afterwards.

        `replaced` are series and times of replaced meters, by the names that `target_series` gives numbers to.
        """
        known = self._target.progress()
        newer = {key: mark for key, mark in progress.items() if mark.last > known.get(key, Progress(0, 0)).last}
        self._target.commit(newer)
        for name, time in replaced:
            if target_series and name in target_series:
                self._target.replaced(target_series[name], time)
        self._target.settle()

    def _write(self, arrivals: list[Arrival]) -> None:
        blocks = BlockBuilder()
        for _, node, device, time, channels, row in arrivals:
            if any((node, device, channel) not in self._declared for channel in channels):
                self._declare()
            if channels:
                blocks.add(node, device, channels, [time, *row])
            self.values += len(row)
        for node, block in blocks.take():
            self.refused += self._target.write(node, [block])
        self.readings += len(arrivals)

    def _declare(self) -> None:
        """Declare every series that is new to the target: unit, kind and rollover."""
        devices: dict[tuple[str, str], dict[str, Channel]] = {}
        for one in self._source.series():
            if (one.node, one.device, one.channel) not in self._declared:
                self._declared.add((one.node, one.device, one.channel))
                channel = Channel(one.unit, one.kind, rollover=one.rollover)
                devices.setdefault((one.node, one.device), {})[one.channel] = channel
        for (node, device), channels in devices.items():
            self.refused += self._target.declare(node, device, Info("", channels))


def _load(path: Path, target: str) -> int:
    """Return the cursor of an earlier copy into this target; 0 if there was none."""
    try:
        progress = msgspec.json.decode(path.read_bytes(), type=CopyProgress)
    except (FileNotFoundError, msgspec.DecodeError):
        return 0
    return progress.cursor if progress.target == target else 0
