"""The functions of an aggregate over buckets: pure, in order of time.

delta     the rise of a counter without resets, rollovers and replacements, see exact.py; of
          other series the difference. The rise of [a, b) is total(b) - total(a), where total(t) is that
          of the newest point at or before t: a rise belongs to the bucket of its later point, and
          one that ends exactly on an edge to the bucket that ends there.
integral  the area under straight lines from point to point in unit·h, cut at the edges;
          nothing is assumed between points farther apart than cells.GAP.

Because sums are exact (vectors.py), the result is the same whether it is computed from points,
from cells of 5 minutes or from cells of an hour.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from heliograph.messages import Value
from heliograph.store import cells, rises
from heliograph.store.areas import Areas
from heliograph.store.cells import Cells, Track
from heliograph.store.fall_review import AFTER, BEFORE, Amount, FallReview, FallSpan
from heliograph.store.interface import Function
from heliograph.store.rises import Column
from heliograph.store.vectors import Vector, ops


class Folded(NamedTuple):
    """Cells reduced to buckets: the indexes of the buckets and their cells; the indexes and areas in unit·h."""

    part: tuple[Vector, Cells] | None
    areas: tuple[Vector, Vector] | None
    opens: int = 0  # the start of its first cell that has points, in ms UTC
    amounts: tuple[Amount, ...] = ()  # what has to be added because of falls that are no resets
    falls: tuple[FallSpan, ...] = ()  # those that have not been looked at

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        part = () if self.part is None else tuple(column for column in self.part[1] if column is not None)
        return 200 + 8 * sum(map(len, (*part, *(self.areas or ())))) + 100 * len(self.amounts + self.falls)

    def settled(self, review: FallReview, start: int, end: int) -> "Folded":
        """Return it with its falls looked at, but for those that need points outside [start, end) ms."""
        if not self.falls:
            return self
        inside, outside = list[FallSpan](), list[FallSpan]()
        for one in self.falls:
            (inside if start + BEFORE <= one.start and one.end <= end - AFTER else outside).append(one)
        return self._replace(amounts=(*self.amounts, *dict(review.settled(inside)).items()), falls=tuple(outside))


class Totals:
    """Takes points and cells of one series in order of time, and computes the functions of each bucket."""

    def __init__(
        self,
        edges: Vector,
        *,
        counter: bool = False,
        rollover: float = 0.0,
        has_point: Callable[[int], bool] = lambda _time: False,
        review: FallReview | None = None,
    ) -> None:
        """Take rising edges in ms UTC; the falls of a `counter` are resets, its register ends at `rollover`.

        `has_point` returns whether there is a point at an edge, of which old cells do not know it. Without a `review`, which only a
        counter's delta needs, every fall is a reset.
        """
        self.edges = edges
        self.start, self.end = int(edges[0]), int(edges[-1])
        self._size = len(edges) - 1
        self._counter = counter
        self._rollover = rollover
        self._parts: list[tuple[Vector, Cells]] = []  # indexes of buckets, and their cells
        self._areas = Areas(edges)
        self._adjusted: dict[int, list[float]] = {}
        self._before: float | None = None
        self._after: float | None = None
        self._has_point = has_point
        self._review = review
        self._opens: list[int] = []  # the time of each part, at or before its first point

    def follow(self, before: float) -> None:
        """Note the last value before the first edge, from which the first rise is counted."""
        self._before = before

    def reach(self, after: float) -> None:
        """Note the value of a point exactly at the last edge, with which the last rise ends."""
        self._after = after

    def points(self, track: Track, *, area: bool) -> None:
        """Take points, of which some may be outside the edges; the areas under their lines are taken with `area`."""
        begin, end = ops.between(track.times, self.start, self.end)
        low = max(0, ops.between(self.edges, 0, int(track.times[0]) + 1)[1] - 1)
        high = min(self._size, ops.between(self.edges, 0, int(track.times[-1]) + 1)[1])
        if low >= high:
            return
        edges = self.edges[low : high + 1]
        if begin < end:
            inside = Track(track.times[begin:end], track.values[begin:end])
            corrections = ops.corrections(inside.values, inside.values, self._rollover) if self._counter else None
            if self._review is not None and corrections is not None:
                self._review.points(inside, corrections)
            buckets, cells_ = cells.reduce(inside, edges, corrections)
            self._parts.append((ops.shifted(buckets, low), cells_))
            self._opens.append(int(inside.times[0]))
        if area:
            self._areas.points(track, low, high)

    def folded(self, rows: Cells, width: int) -> Folded:
        """Return cells of `width` ms reduced to buckets; no cell may cross an edge, and those outside the edges do not count."""
        begin, end = ops.between(rows.start, self.start, self.end)
        rows = rows.slice(begin, end)
        if begin == end:
            return Folded(None, None)
        areas = None
        if rows.area is not None:
            firsts, buckets = ops.segments(rows.start, self.edges)
            areas = (buckets, ops.sums(rows.area, firsts))
        full = ops.positive(rows.n)
        if full is not None:
            rows = rows.take(full)
        if not len(rows.n):
            return Folded(None, areas)
        firsts, buckets = ops.segments(rows.start, self.edges)
        seams = self._seams(rows)
        joined = self._joined(rows, firsts, seams)
        spans = () if seams is None or self._review is None else self._review.cells(rows, seams, width)
        at = joined.at
        if at is not None:
            on_edge = ops.are_equal(joined.start, ops.take(self.edges, buckets)).tolist()
            at = ops.zero_at(at, [row for row, is_on in enumerate(on_edge) if not is_on])
        return Folded(
            (buckets, joined._replace(start=buckets, at=at)),
            areas,
            opens=int(rows.start[0]),
            falls=tuple(spans),
        )

    def take(self, folded: Folded) -> None:
        """Take reduced cells, folded with the same edges."""
        if folded.areas is not None:
            self._areas.take(folded.areas)
        if folded.part is not None:
            self._parts.append(folded.part)
            self._opens.append(folded.opens)
        if self._review is not None:
            self._review.take(folded.amounts, folded.falls)

    def cells(self, rows: Cells, width: int) -> None:
        """Take cells of `width` ms; no cell may cross an edge, and those outside the edges do not count."""
        self.take(self.folded(rows, width))

    def line(self, start: tuple[int, float], end: tuple[int, float]) -> None:
        """Take the area under the line between two points (ms, value) that are neighbours across midnight."""
        self._areas.line(start, end)

    def adjust(self, time: int, amount: float) -> None:
        """Add to the delta of the bucket that holds the rise to a point at a time in ms."""
        if self.start < time <= self.end:
            bucket = ops.between(self.edges, 0, time)[1] - 1
            self._adjusted.setdefault(bucket, []).append(amount)

    def columns(self, functions: Iterable[Function]) -> dict[str, Column]:
        """Return one value per function and bucket; None for a bucket without points, of which n is 0."""
        names = list(functions)
        if self._review is not None:
            self._review.steps(self._before, [part for _, part in self._parts], self._opens, self.end)
            for time, amount in self._review.amounts().items():
                self.adjust(time, amount)
        if not self._parts:
            columns: dict[str, Column] = {name: [0 if name == "n" else None] * self._size for name in names}
            if "delta" in names:
                columns["delta"] = rises.without_points(
                    self._size,
                    self._before,
                    self._after,
                    self._adjusted,
                    counter=self._counter,
                    rollover=self._rollover,
                )
            return columns | ({"integral": self._areas.integrals(())} if "integral" in names else {})
        buckets = ops.concat([buckets for buckets, _ in self._parts])
        rows = cells.concat([part for _, part in self._parts])
        firsts = ops.runs(buckets)
        occupied = ops.take(buckets, firsts).tolist()
        rows = self._joined(rows, firsts, self._seams(rows))
        return {name: self._column(name, rows, occupied) for name in names}

    def _seams(self, rows: Cells) -> Vector | None:
        """Return the corrections of a counter from each row to the next, 0 for the first."""
        return None if rows.carry is None else ops.corrections(rows.last, rows.first, self._rollover)

    def _joined(self, rows: Cells, firsts: Vector, seams: Vector | None) -> Cells:
        """Return one row for each segment, without areas."""
        size = len(rows.n)
        carry = rows.carry
        if carry is not None and seams is not None:
            carry = ops.sums(ops.row_sums([carry, ops.zero_at(seams, firsts)]), firsts)
        return Cells(
            ops.take(rows.start, firsts),
            ops.sum_ints(rows.n, firsts),
            None if rows.sum is None else ops.sums(rows.sum, firsts),
            None if rows.min is None else ops.minima(rows.min, firsts),
            None if rows.max is None else ops.maxima(rows.max, firsts),
            None if rows.first is None else ops.take(rows.first, firsts),
            None if rows.last is None else ops.take(rows.last, ops.lasts(firsts, size)),
            carry,
            at=None if rows.at is None else ops.take(rows.at, firsts),
        )

    def _column(self, name: Function, rows: Cells, buckets: list[int]) -> Column:
        if name == "n":
            return self._spread(buckets, rows.n.tolist(), 0)
        if name == "mean":
            return self._spread(buckets, ops.divided(rows.sum, rows.n).tolist())
        if name == "delta":
            return self._deltas(rows, buckets)
        if name == "integral":
            return self._areas.integrals(buckets)
        column: Vector = getattr(rows, name)
        return self._spread(buckets, column.tolist())

    def _spread(self, buckets: list[int], values: list[Value | None], empty: Value | None = None) -> Column:
        if len(buckets) == self._size:
            return values
        column: Column = [empty] * self._size
        for bucket, value in zip(buckets, values, strict=True):
            column[bucket] = value
        return column

    def _deltas(self, rows: Cells, buckets: list[int]) -> Column:
        """Return the rise of each bucket, None for one without a rise."""
        heads = [
            row
            for row, flag in enumerate(cells.at(rows).tolist())
            if flag == 1 or (flag == cells.UNKNOWN and self._has_point(int(self.edges[buckets[row]])))
        ]
        return rises.column(
            rows,
            buckets,
            self._size,
            heads,
            before=self._before,
            after=self._after,
            rollover=self._rollover,
            adjusted=self._adjusted,
        )
