"""What becomes of many points in one bucket: pure, in order of time.

delta     by how much a counter rose: resets, rollovers and replacements are taken out, see
          exact.py; of anything else, the difference. A rise belongs to the bucket of its
          later point.
integral  the area under straight lines from point to point in unit·h, cut at the edges;
          nothing is assumed between points farther apart than cells.GAP.

The exact sums (vectors.py) make the answer the same whether it is put together from points,
from 5-minute cells or from cells of an hour.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from heliograph.messages import Value
from heliograph.store import cells, exact
from heliograph.store.cells import Cells, Track
from heliograph.store.interface import Function
from heliograph.store.vectors import Vector, ops

Column = list[Value | None]


class Folded(NamedTuple):
    """What cells come to: which buckets, and what is in them; which buckets, and areas in unit·h."""

    part: tuple[Vector, Cells] | None
    areas: tuple[Vector, Vector] | None

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        buckets = 0 if self.part is None else len(self.part[0])
        return 200 + 8 * (len(Cells._fields) * buckets + 2 * (0 if self.areas is None else len(self.areas[0])))


class Totals:
    """Takes points and cells of one series in order of time, and says what is in each bucket."""

    def __init__(self, edges: Vector, *, counter: bool = False, rollover: float = 0.0) -> None:
        """Take rising edges in ms UTC; `counter` says that a fall is a reset, `rollover` where its register ends."""
        self.edges = edges
        self.start, self.end = int(edges[0]), int(edges[-1])
        self._size = len(edges) - 1
        self._counter = counter
        self._rollover = rollover
        self._parts: list[tuple[Vector, Cells]] = []  # which buckets, and what is in them
        self._areas: list[tuple[Vector, Vector]] = []  # which buckets, and areas in them in unit·h
        self._adjusted: dict[int, list[float]] = {}
        self._before: float | None = None

    def follow(self, before: float) -> None:
        """Note the last value before the first edge, from which the first rise is counted."""
        self._before = before

    def points(self, track: Track, *, area: bool) -> None:
        """Take points, perhaps some outside of the edges; their lines count only with `area`."""
        begin, end = ops.between(track.times, self.start, self.end)
        low = max(0, ops.between(self.edges, 0, int(track.times[0]) + 1)[1] - 1)
        high = min(self._size, ops.between(self.edges, 0, int(track.times[-1]) + 1)[1])
        if low >= high:
            return
        edges = self.edges[low : high + 1]
        if begin < end:
            inside = Track(track.times[begin:end], track.values[begin:end])
            buckets, found = cells.reduce(inside, edges, counter=self._counter, rollover=self._rollover)
            self._parts.append((ops.shifted(buckets, low), found))
        if area:
            areas, touched = ops.areas(track.times, track.values, edges, cells.GAP)
            self._take_areas(areas.tolist(), touched, low)

    def folded(self, rows: Cells) -> Folded:
        """Return what cells come to, of which none crosses an edge; those outside of the edges do not count."""
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
        return Folded((buckets, self._joined(rows, firsts)), areas)

    def take(self, folded: Folded) -> None:
        """Take what cells come to, folded with the same edges."""
        if folded.areas is not None:
            self._areas.append(folded.areas)
        if folded.part is not None:
            self._parts.append(folded.part)

    def cells(self, rows: Cells) -> None:
        """Take cells of which none crosses an edge; those outside of the edges do not count."""
        self.take(self.folded(rows))

    def line(self, start: tuple[int, float], end: tuple[int, float]) -> None:
        """Take the area under the line between two points (ms, value) that are neighbours across midnight."""
        if not 0 < end[0] - start[0] <= cells.GAP or end[0] <= self.start or start[0] >= self.end:
            return
        low = max(0, ops.between(self.edges, 0, start[0] + 1)[1] - 1)
        high = min(self._size, ops.between(self.edges, 0, end[0])[1])
        areas, touched = [0.0] * (high - low), bytearray(high - low)
        ops.cut(areas, touched, self.edges[low : high + 1].tolist(), 0, start, end)
        self._take_areas(areas, touched, low)

    def adjust(self, time: int, amount: float) -> None:
        """Add to the delta of the bucket that holds a time in ms."""
        if self.start <= time < self.end:
            bucket = ops.between(self.edges, 0, time + 1)[1] - 1
            self._adjusted.setdefault(bucket, []).append(amount)

    def columns(self, functions: Iterable[Function]) -> dict[str, Column]:
        """Return one value per function and bucket; None for a bucket without points, of which n is 0."""
        wanted = list(functions)
        if not self._parts:
            found: dict[str, Column] = {name: [0 if name == "n" else None] * self._size for name in wanted}
            return found | ({"integral": self._integral(())} if "integral" in wanted else {})
        buckets = ops.concat([buckets for buckets, _ in self._parts])
        rows = cells.concat([part for _, part in self._parts])
        firsts = ops.runs(buckets)
        places = ops.take(buckets, firsts).tolist()
        rows = self._joined(rows, firsts)
        return {name: self._column(name, rows, places) for name in wanted}

    def _take_areas(self, areas: Sequence[float], touched: bytearray, low: int) -> None:
        buckets = [place for place, line in enumerate(touched) if line]
        if buckets:
            taken = [areas[bucket] / cells.HOUR for bucket in buckets]
            self._areas.append((ops.ints([low + bucket for bucket in buckets]), ops.floats(taken)))

    def _joined(self, rows: Cells, firsts: Vector) -> Cells:
        """Return one row for each segment; areas are not among them."""
        size = len(rows.n)
        carry = rows.carry
        if carry is not None:
            seams = ops.corrections(rows.last, rows.first, self._rollover)
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
        )

    def _column(self, name: Function, rows: Cells, places: list[int]) -> Column:
        if name == "n":
            return self._spread(places, rows.n.tolist(), 0)
        if name == "mean":
            return self._spread(places, ops.divided(rows.sum, rows.n).tolist())
        if name == "delta":
            return self._spread(places, self._deltas(rows, places))
        if name == "integral":
            return self._integral(places)
        column: Vector = getattr(rows, name)
        return self._spread(places, column.tolist())

    def _spread(self, places: list[int], values: list[Value | None], empty: Value | None = None) -> Column:
        if len(places) == self._size:
            return values
        column: Column = [empty] * self._size
        for place, value in zip(places, values, strict=True):
            column[place] = value
        return column

    def _deltas(self, rows: Cells, places: list[int]) -> list[Value | None]:
        """Return the rise of each bucket; None if it has the very first point and no other."""
        if rows.first is None or rows.last is None:
            raise ValueError("a delta needs the first and the last value")
        origin = float(rows.first[0]) if self._before is None else self._before
        before = ops.concat([ops.floats([origin]), rows.last[:-1]])
        terms = [rows.last, ops.negative(before)]
        if rows.carry is not None:
            seams = ops.corrections(
                ops.concat([ops.floats([origin]), rows.last]),
                ops.concat([ops.floats([origin]), rows.first]),
                self._rollover,
            )
            terms += [rows.carry, seams[1:]]
        deltas: list[Value | None] = ops.row_sums(terms).tolist()
        if self._before is None and rows.n[0] == 1:
            deltas[0] = None
        for row, place in enumerate(places):
            if place in self._adjusted and deltas[row] is not None:
                deltas[row] = exact.total([float(deltas[row] or 0.0), *self._adjusted[place]])
        return deltas

    def _integral(self, places: Sequence[int]) -> Column:
        column: Column = [None] * self._size
        for place in places:
            column[place] = 0.0
        if self._areas:
            buckets, areas = (ops.concat(columns) for columns in zip(*self._areas, strict=True))
            order = ops.order(buckets)
            buckets, areas = ops.take(buckets, order), ops.take(areas, order)
            firsts = ops.runs(buckets)
            found = zip(ops.take(buckets, firsts).tolist(), ops.sums(areas, firsts).tolist(), strict=True)
            for place, area in found:
                column[place] = None if math.isnan(area) else area  # infinities may cancel out
        return column
