"""Where a target's rows come from: readings as they arrived, or averages of intervals."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from heliograph.store.interface import Reader, Series
from services.uploader.engine.selection import Selection
from services.uploader.target import MappedChannel, Row


class Parcel(NamedTuple):
    """Everything after one position, up to and with another; there need not be any rows in it."""

    after: float
    upto: float
    rows: Sequence[Row]


class Source(Protocol):
    """Makes rows of what the store holds; raises StoreAway. Positions: see progress.py."""

    live: float  # how far behind the head what is live begins

    def head(self, now: float) -> float:
        """Return the newest position that there is at a moment (s UTC)."""
        ...

    def parcel(self, after: float, upto: float, limit: int) -> Parcel:
        """Return about `limit` rows, or fewer, that come after a position and not after another."""
        ...

    def newest(self) -> Row | None:
        """Return the newest row there is, for a trial."""
        ...


class NewestCursor:
    """Knows the newest cursor of a store."""

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
        high = low + step  # something is behind low, nothing behind high
        while high - low > 1:
            middle = (low + high) // 2
            if self._reader.since(middle, 1):
                low = middle
            else:
                high = middle
        self._known = high
        return high


class ChannelMap:
    """All series of a store; read again only when there is one that it does not know."""

    def __init__(self, reader: Reader, selection: Selection) -> None:
        self._reader = reader
        self._selection = selection
        self._by_name: dict[tuple[str, str, str], MappedChannel | None] = {}

    def outlets(self) -> dict[int, MappedChannel]:
        """Return what goes to the target at this moment, by id of the series; raise StoreAway."""
        every = self._reader.series()
        self._learn(every)
        return self._selection.chosen(every)

    def outlet(self, node: str, device: str, channel: str) -> MappedChannel | None:
        """Return one channel on its way to the target, None if it does not go there; raise StoreAway."""
        key = (node, device, channel)
        if key not in self._by_name:
            self._learn(self._reader.series())
        return self._by_name.get(key)

    def _learn(self, every: Sequence[Series]) -> None:
        for series in every:
            self._by_name[(series.node, series.device, series.channel)] = self._selection.outlet(series)
