"""The areas of buckets, for integrals: of cells, and under lines from point to point. Pure."""

import math
from collections.abc import Sequence

from heliograph.store import cells
from heliograph.store.cells import Track
from heliograph.store.rises import Column
from heliograph.store.vectors import Vector, ops


class Areas:
    """Takes areas and lines of one series, and adds up those of each bucket in unit·h."""

    def __init__(self, edges: Vector) -> None:
        """Take rising edges in ms UTC."""
        self._edges = edges
        self._size = len(edges) - 1
        self._parts: list[tuple[Vector, Vector]] = []  # indexes of buckets, and their areas

    def take(self, part: tuple[Vector, Vector]) -> None:
        """Take the indexes of buckets and their areas."""
        self._parts.append(part)

    def points(self, track: Track, low: int, high: int) -> None:
        """Take the areas between points, of which some may be outside the buckets from `low` up to and not including `high`."""
        areas, touched = ops.areas(track.times, track.values, self._edges[low : high + 1], cells.GAP)
        self._touch(areas.tolist(), touched, low)

    def line(self, start: tuple[int, float], end: tuple[int, float]) -> None:
        """Take the area under the line between two points (ms, value) that are neighbours across midnight."""
        first, last = int(self._edges[0]), int(self._edges[-1])
        if not 0 < end[0] - start[0] <= cells.GAP or end[0] <= first or start[0] >= last:
            return
        low = max(0, ops.between(self._edges, 0, start[0] + 1)[1] - 1)
        high = min(self._size, ops.between(self._edges, 0, end[0])[1])
        areas, touched = [0.0] * (high - low), bytearray(high - low)
        ops.cut(areas, touched, self._edges[low : high + 1].tolist(), 0, start, end)
        self._touch(areas, touched, low)

    def integrals(self, occupied: Sequence[int]) -> Column:
        """Return the integral of each bucket, None for one without points and lines; `occupied` are those that have points."""
        column: Column = [None] * self._size
        for bucket in occupied:
            column[bucket] = 0.0
        if self._parts:
            buckets, areas = (ops.concat(columns) for columns in zip(*self._parts, strict=True))
            order = ops.order(buckets)
            buckets, areas = ops.take(buckets, order), ops.take(areas, order)
            firsts = ops.runs(buckets)
            summed = zip(ops.take(buckets, firsts).tolist(), ops.sums(areas, firsts).tolist(), strict=True)
            for bucket, area in summed:
                column[bucket] = None if math.isnan(area) else area  # infinities may cancel out
        return column

    def _touch(self, areas: Sequence[float], touched: bytearray, low: int) -> None:
        buckets = [bucket for bucket, line in enumerate(touched) if line]
        if buckets:
            taken = [areas[bucket] / cells.HOUR for bucket in buckets]
            self._parts.append((ops.ints([low + bucket for bucket in buckets]), ops.floats(taken)))
