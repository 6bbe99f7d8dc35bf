"""Rows that are averages of intervals; a position is the end of an interval (s UTC).

Gauges are time-weighted means: straight lines from point to point, nothing between points more
than 15 minutes apart. Counters are their last value, their rise in the interval (heliograph/store/rises.py: a point
at its end is part of it), or their rise since local midnight; states and texts their last value. An interval without a
point has no value.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby, pairwise

from heliograph.messages import Value
from heliograph.store import exact
from heliograph.store.cells import GAP
from heliograph.store.interface import Arrival, Reader
from heliograph.store.vectors import ops
from services.uploader.engine.interval_grid import IntervalGrid
from services.uploader.engine.source import ChannelMap, RowPage, newer_than
from services.uploader.options import TargetOptions
from services.uploader.target import MappedChannel, Row

MOST_INTERVALS = 720  # read together
LIVE_INTERVALS = 10  # so many behind the newest one, the backlog ends
PAGE_POINTS = 20_000
ARRIVALS = 5_000
GAP_SECONDS = GAP / 1000
DAY_SECONDS = 86_400
LOOK_BACK = 2  # readings of which the next one may tell that they are wrong, see heliograph/store/falls.py
Reading = tuple[float, float]  # s UTC and value


class IntervalSource:
    """Makes a row of all selected channels of each interval that has one."""

    def __init__(
        self,
        reader: Reader,
        channels: ChannelMap,
        options: TargetOptions,
        interval: float,
        seen_cursor: int,
        newer: Mapping[str, float],
    ) -> None:
        """`seen_cursor` is that up to which arrivals were checked for being late.

        Intervals that begin before the time of a device in `newer` (s UTC) have none of its values, and are counted.
        """
        self._newer = newer
        self._reader = reader
        self._channels = channels
        self._options = options
        self._zone = options.zone()
        self.grid = IntervalGrid(interval, options.timezone)
        self.seen_cursor = seen_cursor
        self._newest: dict[tuple[str, str, str], list[Reading]] = {}  # the last readings of each counter

    def head(self, now: float) -> float:
        """Return the end of the newest interval that is over and had time to be stored."""
        return self.grid.start(now - self._options.grace)

    def live_from(self, head: float) -> float:
        """Return the position at which the backlog ends and live data begin."""
        return self.grid.start(head - LIVE_INTERVALS * self.grid.interval)

    def read(self, after: float, upto: float, limit: int) -> RowPage:
        """Return the rows of at most `limit` intervals."""
        edges = self.grid.edges(after, upto, min(limit, MOST_INTERVALS))
        if len(edges) < 2:
            return RowPage(after, after, [])
        columns = [(mapped, self._column(sid, mapped, edges)) for sid, mapped in self._channels.selected().items()]
        rows: list[Row] = []
        known: dict[tuple[MappedChannel, ...], tuple[MappedChannel, ...]] = {}
        passed_over = 0
        for index in range(len(edges) - 1):
            present = [(mapped, value) for mapped, column in columns if (value := column[index]) is not None]
            if self._newer:
                kept = [one for one in present if edges[index] >= newer_than(self._newer, one[0].node, one[0].device)]
                passed_over += len(kept) < len(present)
                present = kept
            if present:
                channels = tuple(mapped for mapped, _ in present)
                time = edges[index] if self._options.timestamp == "start" else edges[index + 1]
                values = tuple(value for _, value in present)
                rows.append(Row(time, known.setdefault(channels, channels), values, edges[index + 1]))
        return RowPage(after, edges[-1], rows, passed_over)

    def count(self, after: float, upto: float) -> tuple[int, float | None]:
        """Return how many intervals between two positions have readings, and when the first begins."""
        interval = self.grid.interval
        if upto - after <= MOST_INTERVALS * interval:
            edges = self.grid.edges(after, upto, MOST_INTERVALS)
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
            rows += min(readings, math.ceil((min(end, upto) - max(begin, after)) / interval))
            if readings and first is None:
                first = max(begin, after)
        return rows, first

    def is_empty(self) -> bool:
        """Whether there is nothing in the store yet."""
        return self._reader.extent() is None

    def beginning(self, start: float) -> float:
        """Return where the first interval begins that has readings since a time."""
        extent = self._reader.extent()
        return self.grid.start(max(start, extent[0]) if extent else start)

    def newest(self) -> Row | None:
        """Return the newest interval that has a row."""
        points = self._reader.latest(list(self._channels.selected()))
        if not points:
            return None
        start = self.grid.start(max(point.time for point in points.values()))
        rows = self.read(start, self.grid.end(start), 1).rows
        return rows[-1] if rows else None

    def late(self, done: float) -> list[float]:
        """Return the ends, up to `done`, of the intervals of what has arrived since the last call.

        After a counter fell, also those of the readings before, of which one may turn out to be a wrong value.
        """
        ends: set[float] = set()
        has_rises = self._options.counters != "last"
        while arrivals := self._reader.since(self.seen_cursor, ARRIVALS):
            for arrival in arrivals:
                _, node, device, time, channels, _row = arrival
                if has_rises:
                    ends.update(end for end in map(self.grid.ceiling, self._to_review(arrival)) if end <= done)
                # a point at an edge is the end of a counter's rise, and the beginning of what follows
                touched = [end for end in {self.grid.end(time), self.grid.ceiling(time)} if end <= done]
                if touched and any(self._channels.mapped(node, device, channel) for channel in channels):
                    ends.update(touched)
            self.seen_cursor = arrivals[-1].cursor
        return sorted(ends)

    def _to_review(self, arrival: Arrival) -> Iterator[float]:
        """Yield the times of the readings before an arrival if a counter fell to one of them, or with it."""
        _, node, device, time, channels, row = arrival
        for channel, value in zip(channels, row, strict=True):
            mapped = self._channels.mapped(node, device, channel)
            if mapped is None or mapped.kind != "counter":
                continue
            key = (node, device, channel)
            earlier = self._newest.get(key)
            if earlier is None:
                earlier = self._readings_before(key, time)
            elif earlier[-1][0] >= time:
                continue
            readings = [*earlier[-LOOK_BACK:], (time, float(value))]
            self._newest[key] = readings
            if any(0 <= after < exact.RESET * before for (_, before), (_, after) in pairwise(readings)):
                yield from (at for at, _ in readings[:-1] if time - at <= LOOK_BACK * GAP_SECONDS)

    def _readings_before(self, key: tuple[str, str, str], time: float) -> list[Reading]:
        for one in self._reader.series():
            if (one.node, one.device, one.channel) == key:
                page = self._reader.raw(one.id, time - LOOK_BACK * GAP_SECONDS, time, limit=PAGE_POINTS)
                return [(at, float(value)) for at, value in zip(page.times, page.values, strict=True)]
        return []

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
        totals: list[Value | None] = []
        days = groupby(zip(extended, rises, strict=False), lambda item: self._midnight(item[0]))
        for _, day in days:
            of_day = [rise for _, rise in day]
            sums = exact.running([float(rise or 0.0) for rise in of_day])
            totals += [None if rise is None else total for rise, total in zip(of_day, sums, strict=True)]
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
