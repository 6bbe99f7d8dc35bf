"""Takes single wrong values of a counter out of its rises, see falls.py: nothing rises to one, and the next rise is from the one before.

Points and cells count every fall as a reset. Where they have one, the points around it are asked for, and what was
counted wrongly is returned. Where the points are gone, what was counted stays.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from heliograph.store import exact, falls
from heliograph.store.cells import DAY, GAP, Cells, Track
from heliograph.store.vectors import Vector, ops

BEFORE, AFTER = 3 * GAP, GAP + 1  # how far from a fall the points may be that decide about it, in ms
Amount = tuple[int, float]  # the time of a point in ms, and what to add to the rise to it


class FallSpan(NamedTuple):
    """A time, [start, end) ms UTC, in which a counter fell."""

    start: int
    end: int


class FallReview:
    """Collects the falls of one series that were counted as resets, and returns what has to be added because of those that are not."""

    def __init__(
        self, around: Callable[[int, int], Track | None], rollover: float = 0.0, replaced: Sequence[int] = ()
    ) -> None:
        """`around` returns the points of [start, end) ms; `replaced` are the times (ms) at which the meter was replaced."""
        self._around = around
        self._rollover = rollover
        self.replaced = tuple(replaced)
        self._amounts: dict[int, float] = {}
        self._spans: list[FallSpan] = []
        self._beyond: float | None = None

    def points(self, track: Track, corrections: Vector) -> None:
        """Note the falls between points, which are all that there are from the first to the last."""
        rows = falls.rows_of(corrections)
        if not rows:
            return
        first, last = int(track.times[0]), int(track.times[-1])
        for start in (int(track.times[row]) for row in rows):
            if first <= start - BEFORE and start + AFTER <= last:
                self._amounts.update(self._wrong(track, start, start + 1))
            else:
                self._spans.append(FallSpan(start, start + 1))

    def cells(self, rows: Cells, seams: Vector, width: int) -> list[FallSpan]:
        """Return the falls of cells of `width` ms that have points; `seams` are the corrections from each one to the next."""
        starts = rows.start
        spans = [FallSpan(int(starts[row]), int(starts[row]) + GAP) for row in falls.rows_of(seams)]
        if rows.carry is not None:
            spans += [FallSpan(int(starts[row]), int(starts[row]) + width) for row in falls.rows_of(rows.carry)]
        return spans

    def before(self, track: Track | None) -> None:
        """Note whether the newest points before the first edge fell: the first rise may be from a wrong value."""
        if track is not None:
            self.points(track, ops.corrections(track.values, track.values, self._rollover))

    def after(self, track: Track | None) -> None:
        """Note the first points from the last edge on: the last rise may be to a wrong value."""
        if track is not None:
            self._beyond = float(track.values[0])
            self.before(track)

    def steps(self, last: float | None, parts: Sequence[Cells], starts: Sequence[int], end: int) -> None:
        """Note whether the counter falls from the value before all parts, which start at these times (ms), to the one at the end."""
        for start, part in zip(starts, parts, strict=True):
            if part.first is None or part.last is None:
                return
            if last is not None:
                self._step(start, last, float(part.first[0]))
            last = float(part.last[-1])
        if last is not None and self._beyond is not None:
            self._step(end, last, self._beyond)

    def take(self, amounts: Iterable[Amount], spans: Iterable[FallSpan]) -> None:
        """Take falls, and what others have led to."""
        self._amounts.update(amounts)
        self._spans += spans

    def amounts(self) -> dict[int, float]:
        """Return what has to be added to the rises to points, by their times in ms."""
        return self._amounts | dict(self.settled(self._spans))

    def settled(self, spans: Iterable[FallSpan]) -> Iterator[Amount]:
        """Yield what has to be added because of falls; a time may come more than once, with one amount."""
        for start, end in _merged(spans):
            track = self._around(start - BEFORE, end + AFTER)
            if track is not None:
                yield from self._wrong(track, start, end)

    def _step(self, start: int, before: float, value: float) -> None:
        if exact.correction(before, value, self._rollover):
            self._spans.append(FallSpan(start, start + GAP))

    def _wrong(self, track: Track, start: int, end: int) -> Iterator[Amount]:
        """Yield what has to be added because of the falls to points of [start, end) ms."""
        times, values = track
        low, high = ops.between(times, start, end)
        neighbours = falls.Neighbours(times, values, self.replaced)
        for row in falls.rows_of(ops.corrections(values, values, self._rollover)):
            wrong = neighbours.wrong_at(row) if low <= row < high else None
            if wrong is not None:
                before, value, after = map(float, values[wrong - 1 : wrong + 2])
                up, down = (exact.correction(*step, self._rollover) for step in ((before, value), (value, after)))
                yield int(times[wrong]), exact.total([before, -value, -up])
                yield int(times[wrong + 1]), exact.total([value, -before, -down])


def _merged(spans: Iterable[FallSpan]) -> Iterator[FallSpan]:
    """Yield spans in order, as one those that need points of the same hours of a UTC day."""
    last: FallSpan | None = None
    for span in sorted(spans):
        if last is None:
            last = span
        elif span.start - BEFORE <= last.end + AFTER and span.start // DAY == last.start // DAY:
            last = FallSpan(last.start, max(last.end, span.end))
        else:
            yield last
            last = span
    if last is not None:
        yield last
