"""Sealed readings in their order of arrival, for `since`."""

import heapq
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import repeat
from typing import NamedTuple

from heliograph.messages import Value
from heliograph.store import history, year_file
from heliograph.store.archive import Archive, ReadableYear, SizedCache, compare_axes, track_part, whole
from heliograph.store.damage import Part
from heliograph.store.interface import Arrival
from heliograph.store.names import Names
from heliograph.store.vectors import Vector, ops
from heliograph.store.year_file import Year
from heliograph.store.year_keys import ArrivalIndex

ValuesOf = Callable[[int, list[float]], list[Value]]

KEPT_BYTES = 16_000_000
AHEAD = 8  # readings of one axis that are decoded at first

_arrival = partial(tuple.__new__, Arrival)  # half the time of Arrival._make, and there are millions


class _Axis(NamedTuple):
    """All readings on an axis, in order of arrival."""

    device: int
    numbers: list[int]
    times: Vector  # ms UTC
    columns: list[tuple[int, Vector]]  # by series


class _Rows:
    """The readings of an axis; those of many devices alternate, so some are decoded ahead, twice as many each time."""

    def __init__(self, axis: _Axis, names: Names, values_of: ValuesOf) -> None:
        self.numbers = axis.numbers
        self._axis = axis
        self._values_of = values_of
        self._node, self._device = names.devices[axis.device]
        self._channels = tuple(names.series[sid].channel for sid, _ in axis.columns)
        self._begin = 0
        self._made: list[Arrival] = []

    def take(self, begin: int, end: int, room: int) -> list[Arrival]:
        """Return the readings of the rows from `begin` to `end`; at most `room` rows will be needed."""
        if not self._begin <= begin <= end <= self._begin + len(self._made):
            size = max(end - begin, min(room, 2 * len(self._made) or AHEAD))
            self._begin, self._made = begin, self._make(begin, min(begin + size, len(self.numbers)))
        return self._made[begin - self._begin : end - self._begin]

    def _make(self, begin: int, end: int) -> list[Arrival]:
        axis = self._axis
        columns = [self._values_of(sid, column[begin:end].tolist()) for sid, column in axis.columns]
        rows: Iterable[tuple[Value, ...]] = zip(*columns, strict=True) if columns else repeat((), end - begin)
        times = ops.divided(axis.times[begin:end], 1000.0).tolist()
        same = map(repeat, (self._node, self._device))
        parts = zip(self.numbers[begin:end], *same, times, repeat(self._channels), rows, strict=False)
        return list(map(_arrival, parts))


class Arrivals:
    """Finds sealed readings by their number of arrival."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._kept: SizedCache[_Axis] = SizedCache(KEPT_BYTES)

    def after(self, cursor: int, limit: int, known: Callable[[], Names], values_of: ValuesOf) -> list[Arrival]:
        """Return at most `limit` readings that arrived after the number `cursor`, in order.

        `known` returns the names, once the years are open; `values_of` converts the numbers of a series to values.
        """
        years = {number: year for number in self._archive.numbers() if (year := self._archive.year(number))}
        names = known()
        opened: dict[tuple[int, int], _Rows] = {}
        arrivals: list[Arrival] = []
        while True:
            upto = cursor + limit - len(arrivals)  # so many numbers have at most so many readings
            keys = [
                (k, number)
                for k, number in self._query(years, partial(_keys, cursor, upto))
                if history.axis_owner(k)[0] in names.devices  # the others are damage, which the other index tells
            ]
            for k, number in keys:
                if (k, number) not in opened:
                    opened[k, number] = _Rows(self._axis(years[number], k, names), names, values_of)
            following = _merge(arrivals, [opened[key] for key in keys], cursor, upto)
            if len(arrivals) >= limit:
                return arrivals
            following += (number for number, _ in self._query(years, partial(_next, upto)))
            if not following:
                return arrivals
            cursor = min(following) - 1

    def _query(
        self, years: Mapping[int, ReadableYear], query: Callable[[ReadableYear, ArrivalIndex], list[int]]
    ) -> list[tuple[int, int]]:
        """Return the results of a query with the numbers of their years, in order; damaged years have no results."""
        results: set[tuple[int, int]] = set()
        for number, year in years.items():
            for index in self._archive.indexes(year):
                with self._archive.damage.tolerated(whole(year), compare_axes):
                    results.update((result, number) for result in query(year, index))
        return sorted(results)

    def _axis(self, year: ReadableYear, k: int, names: Names) -> _Axis:
        def read() -> tuple[_Axis, int]:
            axis = self._read(year, k, names)
            return axis, (2 + len(axis.columns)) * 8 * len(axis.numbers)

        return self._kept.get(year.number, (k, year.opening, year.seen), read)

    def _read(self, year: ReadableYear, k: int, names: Names) -> _Axis:
        device, day = history.axis_owner(k)
        columns: list[tuple[int, Vector]] = []
        times, numbers = ops.ints(()), ops.ints(())
        part = Part(year.path.name, f"device {device}, day {day}", None, day, day)
        with self._archive.damage.tolerated(part, partial(_read_axis, k)):
            times, numbers = year.axis(k)
        for sid in sorted(names.of_device(device)) if len(times) else ():
            with self._archive.damage.tolerated(*track_part(year, sid, day)):
                chunk = year.chunk(sid, day)
                if chunk is not None and chunk.axis == k:
                    columns.append((sid, year_file.track(times, chunk).values))
        order = None if ops.last_of_equals(numbers) is None else ops.order(numbers)
        if order is not None:
            numbers, times = ops.take(numbers, order), ops.take(times, order)
            columns = [(sid, ops.take(column, order)) for sid, column in columns]
        return _Axis(device, numbers.tolist(), times, columns)


def _keys(after: int, upto: int, year: Year, index: ArrivalIndex) -> list[int]:
    return year.arrivals(after, upto, index)


def _next(upto: int, year: Year, index: ArrivalIndex) -> list[int]:
    return year.next_arrivals(upto, index)


def _read_axis(k: int, year: Year) -> None:
    if k in year.axes(*history.axis_owner(k)):
        year.axis(k)


def _merge(arrivals: list[Arrival], axes: Sequence[_Rows], cursor: int, upto: int) -> list[int]:
    """Add the readings with numbers in (cursor, upto] in order; return the next number of each axis after them."""
    rows: list[tuple[int, int, int]] = []  # next number, axis, row
    for index, axis in enumerate(axes):
        row = bisect_right(axis.numbers, cursor)
        if row < len(axis.numbers):
            rows.append((axis.numbers[row], index, row))
    heapq.heapify(rows)
    while rows and rows[0][0] <= upto:
        number, index, row = heapq.heappop(rows)
        axis = axes[index]
        end = min(rows[0][0] - 1, upto) if rows else upto
        until = max(row + 1, bisect_right(axis.numbers, end, row))
        _join(arrivals, axis.take(row, until, upto - number + 1))
        if until < len(axis.numbers):
            heapq.heappush(rows, (axis.numbers[until], index, until))
    return [number for number, _, _ in rows]


def _join(arrivals: list[Arrival], more: list[Arrival]) -> None:
    """Append readings; the first may have more values of the last reading that is there."""
    if arrivals and arrivals[-1].cursor == more[0].cursor:
        values = arrivals[-1].values | more[0].values
        arrivals[-1] = arrivals[-1]._replace(channels=tuple(values), row=tuple(values.values()))
        more = more[1:]
    arrivals += more
