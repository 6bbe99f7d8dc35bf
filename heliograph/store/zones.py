"""Which part of hot.db can hold a time: the earliest and latest time of every few thousand readings.

hot.db has no index on time, because every index is written with every commit. Arrival is
almost the order of time, so a note of each zone's bounds, kept in memory, does as well.
"""

import sqlite3
from collections.abc import Iterator

ZONE = 4096  # readings


class Zones:
    """Bounds in ms of each ZONE consecutive readings; what was full once is never read again."""

    def __init__(self) -> None:
        self._bounds: dict[int, tuple[int, int]] = {}
        self._last = -1  # the newest zone that was seen, perhaps not full yet

    def refresh(self, hot: sqlite3.Connection) -> None:
        """Learn of what arrived since the last time."""
        oldest, newest = hot.execute("SELECT (SELECT min(seq) FROM frame), (SELECT max(seq) FROM frame)").fetchone()
        if newest is None:
            return
        for zone in range(max(self._last, oldest // ZONE), newest // ZONE + 1):
            earliest, latest = hot.execute(
                "SELECT min(ts), max(ts) FROM frame WHERE seq BETWEEN ? AND ?",
                (zone * ZONE, zone * ZONE + ZONE - 1),
            ).fetchone()
            if earliest is not None:
                self._bounds[zone] = (earliest, latest)
            self._last = zone

    def overlapping(self, start: int, end: int) -> list[tuple[int, int]]:
        """Return the ranges of `seq` that can hold readings of [start, end)."""
        ranges: list[tuple[int, int]] = []
        for zone, (earliest, latest) in self._bounds.items():
            if earliest < end and latest >= start:
                first, last = zone * ZONE, zone * ZONE + ZONE - 1
                if ranges and ranges[-1][1] == first - 1:
                    ranges[-1] = (ranges[-1][0], last)
                else:
                    ranges.append((first, last))
        return ranges

    def steps(self, start: int, end: int, step: int) -> Iterator[tuple[int, int]]:
        """Yield [start, end) in pieces of at most `step` ms, without the pieces that hold nothing."""
        if not self._bounds:
            return
        start = max(start, min(earliest for earliest, _ in self._bounds.values()))
        end = min(end, max(latest for _, latest in self._bounds.values()) + 1)
        while start < end:
            start = self.next_start(start)
            until = min(end, (start // step + 1) * step)
            if start < until:
                yield start, until
            start = max(until, start + 1)

    def earliest(self) -> int | None:
        """Return the time of the earliest reading."""
        return min((earliest for earliest, _ in self._bounds.values()), default=None)

    def next_start(self, start: int) -> int:
        """Return the first moment from `start` on at which a reading can be."""
        following = [max(earliest, start) for earliest, latest in self._bounds.values() if latest >= start]
        return min(following) if following else 1 << 62
