"""The hour that comes twice: which of its two times each row of a file has, as far as the rows around it tell.

A local time that comes twice has two times in UTC. The rows of one series tell them apart: in a file of regular steps each
row is about one step after the row before it, in any other file that is in order the second hour begins where
the local time goes back. A row that neither tells, or that two rules place differently, has no time.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Hashable, Sequence
from itertools import pairwise
from statistics import median
from typing import Generic, NamedTuple, TypeVar

R = TypeVar("R")
AROUND = 4_000  # rows before and after those of the hour that are looked at
MOST_ROWS = 100_000  # that wait at most; a second by 16 series for the whole of both hours
ENOUGH_STEPS = 3
STEADY_STEPS = 8  # fewer are equal by chance
STEADY = 0.2  # of a step: how much equal steps differ
REGULAR_SHARE = 0.8
TOLERANCE = 0.3  # of the hour: how far a row may be from where the one before it makes it expected
SHORT_STEP = 0.25  # of the hour: rows in shorter steps may be in slight disorder
NEAR = 0.5  # of the hour: rows so near to each other in the file are one stretch of time


class Moment(NamedTuple):
    """A time in UTC seconds; `second` is later than `first` where a local time comes twice, and equal to it everywhere else."""

    first: float
    second: float

    @property
    def times(self) -> tuple[float, ...]:
        """The times that this can be."""
        return (self.first,) if self.second == self.first else self


class RepeatedHours(Generic[R]):
    """Places the rows of one file: each at once, but those of an hour that comes twice when the rows after them are known.

    `emit` is called with each row and its time, None if that cannot be determined; `series` returns what a row has values of.
    """

    def __init__(self, emit: Callable[[R, float | None], None], series: Callable[[R], Collection[Hashable]]) -> None:
        self._emit = emit
        self._series = series
        self._before: deque[tuple[Moment, R]] = deque(maxlen=AROUND)
        self._waiting: list[tuple[Moment, R]] = []  # since the first row that cannot be placed yet
        self._after = 0  # rows since the last such row

    def take(self, moment: Moment, row: R) -> None:
        """Take the next row of the file."""
        if moment.first == moment.second:
            self._emit(row, moment.first)
            if not self._waiting:
                self._before.append((moment, row))
                return
            self._after += 1
        else:
            self._after = 0
        self._waiting.append((moment, row))
        if self._after >= AROUND or len(self._waiting) >= MOST_ROWS:
            self.finish()

    def finish(self) -> None:
        """Place every row that still waits."""
        if not self._waiting:
            return
        window = [*self._before, *self._waiting]
        times = resolved([moment for moment, _ in window], [self._series(row) for _, row in window])
        for (moment, row), time in zip(window, times, strict=True):
            if moment.first != moment.second:
                self._emit(row, time)
        placed = [(Moment(time, time), row) for (_, row), time in zip(window, times, strict=True) if time is not None]
        self._before.extend(placed)
        self._waiting, self._after = [], 0


def resolved(moments: Sequence[Moment], series: Sequence[Collection[Hashable]]) -> list[float | None]:
    """Return the time of each row, in the order of the file; None where it cannot be determined.

    `series` names for each row the series that it has values of: rows of one series are compared with each other.
    """
    rows: dict[Hashable, list[int]] = defaultdict(list)
    for index, names in enumerate(series):
        for name in names:
            rows[name].append(index)
    votes: list[set[float]] = [set() for _ in moments]
    for indexes in {tuple(one) for one in rows.values()}:
        if any(len(moments[index].times) > 1 for index in indexes):
            for index, time in zip(indexes, _in_order([moments[index] for index in indexes]), strict=True):
                if time is not None:
                    votes[index].add(time)
    times = [
        moment.first if moment.first == moment.second else min(one) if len(one) == 1 else None
        for moment, one in zip(moments, votes, strict=True)
    ]
    return _with_neighbours(moments, times, conflicts={index for index, one in enumerate(votes) if len(one) > 1})


def _in_order(moments: Sequence[Moment]) -> list[float | None]:
    """Return what the order of one series tells of its rows."""
    steps = _Steps(moments)
    if steps.falling:
        return [
            None if time is None else -time
            for time in _in_order([Moment(-moment.second, -moment.first) for moment in moments])
        ]
    if steps.steady:
        return _chained(moments, steps)
    times = _split(moments, steps)
    if steps.regular and None in times:
        chained = _chained(moments, steps, both_ends=True)
        return [one if other is None else other for one, other in zip(chained, times, strict=True)]
    return times


class _Steps:
    """How the rows of one series follow each other, as far as their local times tell."""

    def __init__(self, moments: Sequence[Moment]) -> None:
        pairs = list(pairwise(moments))
        self.known = [b.first - a.first for a, b in pairs if a.first == a.second and b.first == b.second]
        within = [b.first - a.first for a, b in pairs if a.first != a.second and b.first != b.second]
        sample = self.known if len(self.known) >= ENOUGH_STEPS else self.known + within
        self.hour = min(moment.second - moment.first for moment in moments if moment.first != moment.second)
        self.falling = sum(step < 0 for step in sample) > sum(step > 0 for step in sample)
        step = median(sample) if sample else 0.0
        self.expected = step if step > SHORT_STEP * self.hour else 0.0
        self.most = self.expected + TOLERANCE * self.hour
        # rows in slight disorder go back, but no further than they did elsewhere
        back = max(1.5 * step, 1.0, -min(self.known, default=0.0))
        self.least = max(self.expected - TOLERANCE * self.hour, -back)
        # rows follow each other as expected; and in steps that are (nearly) equal, so that a gap is noticed
        self.regular = _are_mostly(sample, self.expected, TOLERANCE * self.hour)
        self.steady = (
            self.regular and len(sample) >= STEADY_STEPS and _are_mostly(sample, step, max(STEADY * step, 2.0))
        )


def _are_mostly(sample: Sequence[float], expected: float, within: float) -> bool:
    fitting = sum(abs(one - expected) <= within for one in sample)
    return len(sample) >= ENOUGH_STEPS and fitting >= REGULAR_SHARE * len(sample)


def _chained(moments: Sequence[Moment], steps: _Steps, *, both_ends: bool = False) -> list[float | None]:
    """Return times of a series in regular steps: the only ones with which each row follows the one before it.

    With `both_ends`, only those that connect a row before the hour that comes twice with one after it.
    """
    times: list[float | None] = []
    stretch: list[Moment] = []
    for moment in moments:
        if stretch and not any(_follows(a, b, steps) for a in stretch[-1].times for b in moment.times):
            times += _only_path(stretch, steps, both_ends=both_ends)
            stretch = []
        stretch.append(moment)
    return times + _only_path(stretch, steps, both_ends=both_ends)


def _follows(time: float, other: float, steps: _Steps) -> bool:
    return steps.least <= other - time <= steps.most


def _only_path(stretch: Sequence[Moment], steps: _Steps, *, both_ends: bool) -> list[float | None]:
    if both_ends and any(moment.first != moment.second for moment in (stretch[0], stretch[-1])):
        return [None] * len(stretch)
    paths = [[time] for time in stretch[0].times]
    for moment in stretch[1:]:
        for path in paths:
            path += [time for time in moment.times if _follows(path[-1], time, steps)][:1]
        longest = max(map(len, paths))
        paths = [path for path in paths if len(path) == longest]
    paths = [path for path in paths if len(path) == len(stretch)]
    if not paths:
        return [None] * len(stretch)
    return [times[0] if len(set(times)) == 1 else None for times in zip(*paths, strict=True)]


def _split(moments: Sequence[Moment], steps: _Steps) -> list[float | None]:
    """Return times of a series that is in order: the local time goes back once, and what follows is the second hour."""
    times: list[float | None] = [moment.first if moment.first == moment.second else None for moment in moments]
    twice = [index for index, moment in enumerate(moments) if moment.first != moment.second]
    if any(step < 0 for step in steps.known):
        return times
    for one in _joined(twice, moments, steps.hour):
        back = [
            later
            for earlier, later in pairwise(one)
            if later != earlier + 1 or moments[later].first <= moments[earlier].first
        ]
        if len(back) != 1 or one[-1] - one[0] != len(one) - 1:
            continue
        by = moments[back[0] - 1].first - moments[back[0]].first
        if by >= SHORT_STEP * steps.hour or (by == 0 and 0.0 not in steps.known):
            for index in one:
                times[index] = moments[index].first if index < back[0] else moments[index].second
    return times


def _joined(twice: Sequence[int], moments: Sequence[Moment], hour: float) -> list[list[int]]:
    """Return the rows of each hour that comes twice."""
    joined: list[list[int]] = []
    for index in twice:
        if joined and abs(moments[index].first - moments[joined[-1][-1]].first) < hour:
            joined[-1].append(index)
        else:
            joined.append([index])
    return joined


def _with_neighbours(
    moments: Sequence[Moment], times: list[float | None], conflicts: Collection[int]
) -> list[float | None]:
    """Return the times with those of rows that only fit between the rows before and after them in the file."""
    following: list[float | None] = [None] * len(times)
    time = None
    for index in range(len(times) - 1, -1, -1):
        following[index] = time
        time = times[index] if times[index] is not None else time
    before: float | None = None
    result = list(times)
    for index, moment in enumerate(moments):
        after = following[index]
        if times[index] is not None:
            before = times[index]
        elif before is not None and after is not None and index not in conflicts:
            low, high = min(before, after), max(before, after)
            if high - low <= NEAR * (moment.second - moment.first):
                fitting = [one for one in moment.times if low <= one <= high]
                result[index] = fitting[0] if len(fitting) == 1 else None
    return result
