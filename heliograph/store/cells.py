"""Cells: the aggregates of the points between two edges. Points are reduced to cells, and cells to buckets.

A cell is a row of columns: the number of points, their sum, least, largest, first and last; for
a counter the `carry`, which its resets and rollovers took away (so its rise is last - first +
carry); for other numbers the `area` in unit·h under the straight lines from point to point, as far
as they lie in the cell and in its UTC day. A cell that only a line crosses has n = 0. `at` is 1 if the
first point is exactly at the cell's start, 0 if it is later, UNKNOWN in cells that were made before there was this column:
a rise ends with a point that is exactly at its end, see totals.py.
"""

from collections.abc import Callable, Set
from typing import Any, NamedTuple

from heliograph.messages import Kind
from heliograph.store import exact
from heliograph.store.vectors import Vector, ops

DAY = 86_400_000  # ms
HOUR = 3_600_000.0
FIVE_MINUTES_MS, HOUR_MS = 300_000, 3_600_000
GAP = exact.GAP
UNKNOWN = 2  # in the column `at`
AREA_DIGITS = 3  # digits that an area has more than its readings, at most 6 in all


class Track(NamedTuple):
    """Points of one series in order of time: int64 ms UTC and float64."""

    times: Vector
    values: Vector


class DaySpan(NamedTuple):
    """The first and the last point of a UTC day, for the lines that cross midnight: ms UTC and value."""

    start: int
    first: float
    end: int
    last: float


class Cells(NamedTuple):
    """Rows in order; `start` in ms UTC.

    Counters have `carry`, other numbers `area`; columns that are not needed may be None.
    """

    start: Vector
    n: Vector
    sum: Vector | None = None
    min: Vector | None = None
    max: Vector | None = None
    first: Vector | None = None
    last: Vector | None = None
    carry: Vector | None = None
    area: Vector | None = None
    at: Vector | None = None

    def slice(self, begin: int, end: int) -> "Cells":
        """Return the rows from begin up to and not including end."""
        return self._each(lambda column: column[begin:end])

    def take(self, rows: Vector) -> "Cells":
        """Return the rows with these indexes."""
        return self._each(lambda column: ops.take(column, rows))

    def only(self, columns: Set[str]) -> "Cells":
        """Return the cells with start, n and these columns."""
        rest = {name: getattr(self, name) for name in self._fields[2:] if name in columns}
        return Cells(self.start, self.n, **rest)

    def _each(self, change: Callable[[Any], Any]) -> "Cells":
        start, n, *rest = self
        return Cells(change(start), change(n), *(None if column is None else change(column) for column in rest))


def latest(numbers: Vector, times: Vector) -> Vector | None:
    """Return the indexes of the last arrival of each time, in order of time; None if those are all rows in their order.

    `numbers` are those of arrival.
    """
    arrival = None if ops.last_of_equals(numbers) is None else ops.order(numbers)
    kept: Vector | None = ops.last_of_equals(times if arrival is None else ops.take(times, arrival))
    if kept is None or arrival is None:
        return arrival if kept is None else kept
    chosen: Vector = ops.take(arrival, kept)
    return chosen


def span(track: Track) -> DaySpan:
    """Return the first and last point of a track, which is not empty."""
    times, values = track
    return DaySpan(int(times[0]), float(values[0]), int(times[-1]), float(values[-1]))


def reduce(track: Track, edges: Vector, corrections: Vector | None) -> tuple[Vector, Cells]:
    """Return the indexes of the buckets that have points, and their cells without areas; `start` is that of the bucket.

    `corrections` are what to add to the rise to each point of a counter, None of other series.
    """
    times, values = track
    firsts, buckets = ops.segments(times, edges)
    starts = ops.take(edges, buckets)
    rows = len(times)
    carry = None
    if corrections is not None:
        carry = ops.sums(ops.zero_at(corrections, firsts), firsts)
    return buckets, Cells(
        starts,
        ops.counts(firsts, rows),
        ops.sums(values, firsts),
        ops.minima(values, firsts),
        ops.maxima(values, firsts),
        ops.take(values, firsts),
        ops.take(values, ops.lasts(firsts, rows)),
        carry,
        at=ops.are_equal(ops.take(times, firsts), starts),
    )


def of_day(track: Track, day: int, width: int, kind: Kind, rollover: float) -> Cells:
    """Return the cells of `width` ms of a whole UTC day, which has at least one point."""
    start = day * DAY
    edges = ops.ints(range(start, start + DAY + 1, width))
    corrections = ops.corrections(track.values, track.values, rollover) if kind == "counter" else None
    buckets, cells = reduce(track, edges, corrections)
    if kind in ("counter", "text"):
        return cells._replace(at=None) if kind == "text" else cells
    areas, touched = ops.areas(track.times, track.values, edges, GAP)
    areas = ops.divided(areas, HOUR)
    digits = ops.digits_of(track.values)
    if digits is not None:
        areas = ops.rounded(areas, min(6, digits + AREA_DIGITS))
    return _with_areas(cells, buckets, areas, touched, edges)


def _with_areas(cells: Cells, buckets: Vector, areas: Vector, touched: bytearray, edges: Vector) -> Cells:
    occupied = buckets.tolist()
    crossed = {bucket for bucket, line in enumerate(touched) if line}.difference(occupied)
    if not crossed:
        return cells._replace(area=ops.take(areas, buckets))
    row_of = {bucket: row for row, bucket in enumerate(occupied)}
    every = sorted([*occupied, *crossed])
    rows: list[int] = []
    for bucket in every:  # a cell that is only crossed repeats the last value
        rows.append(row_of.get(bucket, rows[-1] if rows else 0))
    holes = [row for row, bucket in enumerate(every) if bucket in crossed]
    chosen = ops.ints(rows)
    taken = cells.take(chosen)
    return Cells(
        ops.take(edges, ops.ints(every)),
        ops.zero_at(taken.n, holes),
        ops.zero_at(taken.sum, holes),
        ops.filled(taken.min, holes, taken.last),
        ops.filled(taken.max, holes, taken.last),
        ops.filled(taken.first, holes, taken.last),
        taken.last,
        None,
        ops.take(areas, ops.ints(every)),
        None if taken.at is None else ops.zero_at(taken.at, holes),
    )


def concat(parts: list[Cells]) -> Cells:
    """Return the rows of all parts, which have the same columns but for `at`; there is at least one part."""
    if len({part.at is None for part in parts}) > 1:
        parts = [part._replace(at=at(part)) for part in parts]
    start, n, *rest = zip(*parts, strict=True)
    return Cells(
        ops.concat(start), ops.concat(n), *(None if column[0] is None else ops.concat(column) for column in rest)
    )


def at(rows: Cells) -> Vector:
    """Return the column `at`, UNKNOWN for cells that have none."""
    return ops.ints([UNKNOWN] * len(rows.n)) if rows.at is None else rows.at
