"""The rows of a target: readings as they arrived, or averages of intervals."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from heliograph.store.interface import Reader, Series
from services.uploader.engine.selection import Selection
from services.uploader.target import MappedChannel, Row

EVERY_DEVICE = "*"  # in place of node/device: all that are not named


class RowPage(NamedTuple):
    """All rows after one position, up to and including another; it may have no rows.

    `passed_over` more were left out, for the target has newer ones of their device.
    """

    after: float
    upto: float
    rows: Sequence[Row]
    passed_over: int = 0


def newer_than(times: Mapping[str, float], node: str, device: str) -> float:
    """Return the time (s UTC) before which rows of a device are left out."""
    return times.get(f"{node}/{device}", times.get(EVERY_DEVICE, 0.0)) if times else 0.0


class RowSource(Protocol):
    """Makes rows of what the store holds; raises StoreAway. Positions: see progress.py."""

    def head(self, now: float) -> float:
        """Return the newest position at a moment (s UTC)."""
        ...

    def live_from(self, head: float) -> float:
        """Return the position at which the backlog ends and live data begin."""
        ...

    def read(self, after: float, upto: float, limit: int) -> RowPage:
        """Return about `limit` rows, or fewer, after a position and not after another."""
        ...

    def count(self, after: float, upto: float) -> tuple[int, float | None]:
        """Return how many rows there are after a position and not after another, and the time of the first (s UTC).

        A few hundred are counted, of more it is an estimate.
        """
        ...

    def newest(self) -> Row | None:
        """Return the newest row there is, for a test."""
        ...


class NewestCursor:
    """Finds the newest cursor of a store."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._known = 0

    def cursor(self) -> int:
        """Return the newest cursor; raise StoreAway."""
        if not self._reader.since(self._known, 1):
            return self._known
        low, step = self._known, 1
        while self._reader.since(low + step, 1):
            low += step
            step *= 2
        high = low + step  # something is after low, nothing after high
        while high - low > 1:
            middle = (low + high) // 2
            if self._reader.since(middle, 1):
                low = middle
            else:
                high = middle
        self._known = high
        return high


class ChannelMap:
    """All series of a store as one target gets them; read again only when an unknown one appears."""

    def __init__(self, reader: Reader, selection: Selection) -> None:
        self._reader = reader
        self._selection = selection
        self._by_name: dict[tuple[str, str, str], MappedChannel | None] = {}
        self._followed: Sequence[Series] = ()  # when the renames were read

    def selected(self) -> dict[int, MappedChannel]:
        """Return the channels that the target gets at this moment, by id of the series; raise StoreAway."""
        every = self._reader.series()
        self._learn(every)
        return self._selection.chosen(every)

    def mapped(self, node: str, device: str, channel: str) -> MappedChannel | None:
        """Return one channel as the target gets it, None if it does not; raise StoreAway."""
        key = (node, device, channel)
        if key not in self._by_name:
            self._learn(self._reader.series())
        return self._by_name.get(key)

    def _learn(self, every: Sequence[Series]) -> None:
        if every != self._followed:
            self._selection.follow(self._reader.renames(), {series.name for series in every})
            self._followed = every
            self._by_name.clear()
        for series in every:
            self._by_name[(series.node, series.device, series.channel)] = self._selection.mapped(series)
