"""Which readings of a counter are a single wrong value (a 0, a register that ran below zero), after which it continues. Pure.

A value is too low if the counter fell to it, as exact.correction takes for a reset, and is back with the next one. It is too
high if the counter falls after it to where it was before, unless the value before or after it is too low. Only neighbours count:
points at most GAP apart, and of one meter.
"""

from collections.abc import Sequence

from heliograph.store import exact
from heliograph.store.vectors import Vector, ops

GAP = exact.GAP


def rows_of(corrections: Vector) -> list[int]:
    """Return the rows to which a counter fell, or that have falls in them: where corrections, or sums of them, are not zero."""
    rows: Vector | None = ops.positive(corrections)
    return list(range(len(corrections))) if rows is None else rows.tolist()


class Neighbours:
    """Points of a counter in order of time, to be looked at one by one."""

    def __init__(self, times: Vector, values: Vector, replaced: Sequence[int] = ()) -> None:
        """Take times in ms, values, and the times at and after which points are of another meter."""
        self._times = times
        self._values = values
        self._replaced = replaced

    def wrong_at(self, row: int) -> int | None:
        """Return which row is the wrong value because of which the counter fell to this row; None if that was a reset."""
        if self._is_too_low(row):
            return row
        return row - 1 if self._is_too_high(row - 1) else None

    def _is_too_low(self, row: int) -> bool:
        if not (self._follows(row) and self._follows(row + 1)):
            return False
        before, value, after = (self._values[index] for index in (row - 1, row, row + 1))
        return bool(0 <= value < exact.RESET * before <= after)

    def _is_too_high(self, row: int) -> bool:
        if not (self._follows(row) and self._follows(row + 1)):
            return False
        before, value, after = (self._values[index] for index in (row - 1, row, row + 1))
        is_back = bool(0 <= exact.RESET * before <= after < exact.RESET * value)
        return is_back and not self._is_too_low(row - 1)  # whether the one after is, wrong_at has asked

    def _follows(self, row: int) -> bool:
        """Whether a row and the one before are neighbours."""
        if not 0 < row < len(self._times):
            return False
        start, end = self._times[row - 1], self._times[row]
        return bool(end - start <= GAP) and not any(start < time <= end for time in self._replaced)
