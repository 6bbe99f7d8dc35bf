"""Rows that are averages of intervals; a position is the end of an interval (s UTC).

Gauges are time-weighted means: straight lines from point to point, nothing between points more
than 15 minutes apart. Counters are their last value, their rise in the interval, or their rise
since local midnight; states and texts their last value. An interval without a point has no value.
"""

import math
from collections.abc import Sequence
from datetime import datetime

from heliograph.messages import Value
from heliograph.store.cells import GAP
from heliograph.store.interface import Reader
from heliograph.store.vectors import ops
from services.uploader.engine.source import ChannelMap, RowPage
from services.uploader.options import TargetOptions
from services.uploader.target import MappedChannel, Row

MOST_INTERVALS = 720  # read together
LIVE_INTERVALS = 10  # so many behind the newest one, the backlog ends
PAGE_POINTS = 20_000
ARRIVALS = 5_000
GAP_SECONDS = GAP / 1000
DAY_SECONDS = 86_400


class IntervalSource:
    """Makes a row of all selected channels of each interval that has one."""

    def __init__(
        self, reader: Reader, channels: ChannelMap, options: TargetOptions, interval: float, seen_cursor: int
    ) -> None:
        """`seen_cursor` is that up to which arrivals were checked for being late."""
        self._reader = reader
        self._channels = channels
        self._options = options
        self._zone = options.zone()
        self._interval = interval
        self.live = LIVE_INTERVALS * interval
        self.seen_cursor = seen_cursor

    def head(self, now: float) -> float:
        """Return the end of the newest interval that is over and had time to be stored."""
        return self._floor(now - self._options.grace)

    def read(self, after: float, upto: float, limit: int) -> RowPage:
        """Return the rows of at most `limit` intervals."""
        upto = min(upto, after + self._interval * min(limit, MOST_INTERVALS))
        count = round((upto - after) / self._interval)
        if count < 1:
            return RowPage(after, after, [])
        edges = [after + index * self._interval for index in range(count + 1)]
        columns = [(mapped, self._column(sid, mapped, edges)) for sid, mapped in self._channels.selected().items()]
        rows: list[Row] = []
        known: dict[tuple[MappedChannel, ...], tuple[MappedChannel, ...]] = {}
        for index in range(count):
            present = [(mapped, value) for mapped, column in columns if (value := column[index]) is not None]
            if present:
                channels = tuple(mapped for mapped, _ in present)
                time = edges[index] if self._options.timestamp == "start" else edges[index + 1]
                values = tuple(value for _, value in present)
                rows.append(Row(time, known.setdefault(channels, channels), values, edges[index + 1]))
        return RowPage(after, edges[-1], rows)

    def count(self, after: float, upto: float) -> tuple[int, float | None]:
        """Return how many intervals between two positions have readings, and when the first begins."""
        size = round((upto - after) / self._interval)
        if size <= MOST_INTERVALS:
            edges = [after + index * self._interval for index in range(size + 1)]
        else:  # by whole days, of which the store has cells
            days = (1 + int(upto - after) // (MOST_INTERVALS * DAY_SECONDS)) * DAY_SECONDS
            edges = [after // DAY_SECONDS * DAY_SECONDS]
            while edges[-1] < upto:
                edges.append(edges[-1] + days)
        most = [0] * (len(edges) - 1)
        for sid in self._channels.selected():
            counts = self._reader.aggregate(sid, edges, ["n"])["n"]
            most = [max(so_far, int(count or 0)) for so_far, count in zip(most, counts, strict=True)]
        rows = 0
        first: float | None = None
        for readings, begin, end in zip(most, edges, edges[1:], strict=False):
            rows += min(readings, round((min(end, upto) - max(begin, after)) / self._interval))
            if readings and first is None:
                first = max(begin, after)
        return rows, first

    def beginning(self, start: float) -> float:
        """Return where the first interval begins that has readings since a time."""
        extent = self._reader.extent()
        return self._floor(max(start, extent[0]) if extent else start)

    def newest(self) -> Row | None:
        """Return the newest interval that has a row."""
        points = self._reader.latest(list(self._channels.selected()))
        if not points:
            return None
        end = self._floor(max(point.time for point in points.values())) + self._interval
        rows = self.read(end - self._interval, end, 1).rows
        return rows[-1] if rows else None

    def late(self, done: float) -> list[float]:
        """Return the ends, up to `done`, of the intervals of what has arrived since the last call."""
        ends: set[float] = set()
        while arrivals := self._reader.since(self.seen_cursor, ARRIVALS):
            for _, node, device, time, channels, _row in arrivals:
                end = self._floor(time) + self._interval
                if end <= done and any(self._channels.mapped(node, device, channel) for channel in channels):
                    ends.add(end)
            self.seen_cursor = arrivals[-1].cursor
        return sorted(ends)

    def _column(self, sid: int, mapped: MappedChannel, edges: list[float]) -> Sequence[Value | None]:
        if mapped.kind == "gauge":
            return self._means(sid, edges)
        if mapped.kind != "counter" or self._options.counters == "last":
            return self._reader.aggregate(sid, edges, ["last"])["last"]
        if self._options.counters == "delta":
            return self._reader.aggregate(sid, edges, ["delta"])["delta"]
        return self._today(sid, edges)

    def _today(self, sid: int, edges: list[float]) -> list[Value | None]:
        """Return by how much a counter rose from local midnight to the end of each interval that has a point."""
        before = self._midnight(edges[0])
        extended = [before, *edges] if before < edges[0] else edges
        rises = self._reader.aggregate(sid, extended, ["delta"])["delta"]
        day, total = before, 0.0
        totals: list[Value | None] = []
        for start, rise in zip(extended, rises, strict=False):
            if (midnight := self._midnight(start)) != day:
                day, total = midnight, 0.0
            if isinstance(rise, (int, float)):
                total += rise
            totals.append(None if rise is None else total)
        return totals[len(extended) - len(edges) :]

    def _midnight(self, time: float) -> float:
        """Return when the local day began in which an interval begins."""
        local = datetime.fromtimestamp(time, self._zone)
        return local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0).timestamp()

    def _means(self, sid: int, edges: list[float]) -> list[Value | None]:
        times: list[float] = []
        values: list[Value] = []
        after: float | None = edges[0] - GAP_SECONDS
        while after is not None:
            page = self._reader.raw(
                sid, edges[0] - GAP_SECONDS, edges[-1] + GAP_SECONDS, limit=PAGE_POINTS, after=after
            )
            times += page.times
            values += page.values
            after = page.next
        return means(times, [float(value) for value in values], edges)

    def _floor(self, time: float) -> float:
        return math.floor(time / self._interval) * self._interval


def means(times: Sequence[float], values: Sequence[float], edges: Sequence[float]) -> list[Value | None]:
    """Return the time-weighted mean of each bucket between edges, None for one without a point in it. All in seconds.

    A point that no line leads to or from counts by itself.
    """
    if not times:
        return [None] * (len(edges) - 1)
    at, bounds = ops.milliseconds(times), ops.milliseconds(edges)
    areas, _ = ops.areas(at, ops.floats(values), bounds, GAP)
    covered, _ = ops.areas(at, ops.floats([1.0] * len(times)), bounds, GAP)
    result: list[Value | None] = []
    for index, (area, width) in enumerate(zip(areas.tolist(), covered.tolist(), strict=True)):
        low, high = ops.between(at, int(bounds[index]), int(bounds[index + 1]))
        if low == high:
            result.append(None)
        elif width > 0:
            result.append(area / width)
        else:
            result.append(math.fsum(values[low:high]) / (high - low))
    return result
