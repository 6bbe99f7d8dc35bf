"""Sealed readings in the order in which they arrived, for those who follow the store."""

import heapq
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import repeat
from typing import NamedTuple

from heliograph.messages import Value
from heliograph.store import history
from heliograph.store.archive import Archive, Kept, Shelf
from heliograph.store.interface import Arrival
from heliograph.store.names import Names
from heliograph.store.vectors import Vector, ops

Told = Callable[[int, list[float]], list[Value]]

KEPT_BYTES = 16_000_000
AHEAD = 8  # readings of one axis that are made at first

_arrival = partial(tuple.__new__, Arrival)  # half the time of Arrival._make, and there are millions


class _Axis(NamedTuple):
    """All that was measured on an axis, in order of arrival."""

    device: int
    numbers: list[int]
    times: Vector  # ms UTC
    columns: list[tuple[int, Vector]]  # by series


class _Rows:
    """The readings of an axis; those of many devices alternate, so some are made ahead, twice as many each time."""

    def __init__(self, axis: _Axis, names: Names, told: Told) -> None:
        self.numbers = axis.numbers
        self._axis = axis
        self._told = told
        self._node, self._device = names.devices[axis.device]
        self._channels = tuple(names.series[sid].channel for sid, _ in axis.columns)
        self._begin = 0
        self._made: list[Arrival] = []

    def take(self, begin: int, end: int, room: int) -> list[Arrival]:
        """Return the readings of some rows; not more than `room` will be asked for."""
        if not self._begin <= begin <= end <= self._begin + len(self._made):
            size = max(end - begin, min(room, 2 * len(self._made) or AHEAD))
            self._begin, self._made = begin, self._make(begin, min(begin + size, len(self.numbers)))
        return self._made[begin - self._begin : end - self._begin]

    def _make(self, begin: int, end: int) -> list[Arrival]:
        axis = self._axis
        columns = [self._told(sid, column[begin:end].tolist()) for sid, column in axis.columns]
        rows: Iterable[tuple[Value, ...]] = zip(*columns, strict=True) if columns else repeat((), end - begin)
        times = ops.divided(axis.times[begin:end], 1000.0).tolist()
        same = map(repeat, (self._node, self._device))
        parts = zip(self.numbers[begin:end], *same, times, repeat(self._channels), rows, strict=False)
        return list(map(_arrival, parts))


class Arrivals:
    """Finds sealed readings by their number of arrival."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._kept: Kept[_Axis] = Kept(KEPT_BYTES)

    def after(self, cursor: int, limit: int, known: Callable[[], Names], told: Told) -> list[Arrival]:
        """Return at most `limit` readings that arrived after a number, in order.

        Names are asked for when the years are open; `told` makes values of the numbers of a series.
        """
        shelves = {number: shelf for number in self._archive.numbers() if (shelf := self._archive.year(number))}
        names = known()
        opened: dict[tuple[int, int], _Rows] = {}
        found: list[Arrival] = []
        while True:
            upto = cursor + limit - len(found)  # of so many numbers, there are no more readings
            keys = self._asked(shelves, partial(Shelf.arrivals, after=cursor, upto=upto))
            for k, year in keys:
                if (k, year) not in opened:
                    opened[k, year] = _Rows(self._axis(shelves[year], k, names), names, told)
            following = _merge(found, [opened[key] for key in keys], cursor, upto)
            if len(found) >= limit:
                return found
            following += (number for number, _ in self._asked(shelves, partial(Shelf.next_arrivals, after=upto)))
            if not following:
                return found
            cursor = min(following) - 1

    def _asked(self, shelves: Mapping[int, Shelf], question: Callable[[Shelf], list[int]]) -> list[tuple[int, int]]:
        """Return what the years answer, each with its year, in order; what is damaged answers nothing."""
        found: list[tuple[int, int]] = []
        for year, shelf in shelves.items():
            with self._archive.tolerating(shelf.path.name):
                found += [(answer, year) for answer in question(shelf)]
        return sorted(found)

    def _axis(self, shelf: Shelf, k: int, names: Names) -> _Axis:
        def read() -> tuple[_Axis, int]:
            found = self._read(shelf, k, names)
            return found, (2 + len(found.columns)) * 8 * len(found.numbers)

        return self._kept.get(shelf.number, (k, shelf.opening, shelf.seen), read)

    def _read(self, shelf: Shelf, k: int, names: Names) -> _Axis:
        device, day = history.axis_owner(k)
        columns: list[tuple[int, Vector]] = []
        times, numbers = ops.ints(()), ops.ints(())
        with self._archive.tolerating(f"{shelf.path.name}: device {device}, day {day}"):
            times, numbers = shelf.axis(k)
        for sid in sorted(names.of_device(device)) if len(times) else ():
            with self._archive.tolerating(f"{shelf.path.name}: series {sid}, day {day}"):
                chunk = shelf.chunk(sid, day)
                if chunk is not None and chunk.axis == k:
                    columns.append((sid, history.track(times, chunk).values))
        order = None if ops.last_of_equals(numbers) is None else ops.order(numbers)
        if order is not None:
            numbers, times = ops.take(numbers, order), ops.take(times, order)
            columns = [(sid, ops.take(column, order)) for sid, column in columns]
        return _Axis(device, numbers.tolist(), times, columns)


def _merge(found: list[Arrival], axes: Sequence[_Rows], cursor: int, upto: int) -> list[int]:
    """Add what arrived after a number, and not after another, in order; return the next number after that of each axis."""
    rows: list[tuple[int, int, int]] = []  # next number, axis, row
    for place, axis in enumerate(axes):
        row = bisect_right(axis.numbers, cursor)
        if row < len(axis.numbers):
            rows.append((axis.numbers[row], place, row))
    heapq.heapify(rows)
    while rows and rows[0][0] <= upto:
        number, place, row = heapq.heappop(rows)
        axis = axes[place]
        end = min(rows[0][0] - 1, upto) if rows else upto
        until = max(row + 1, bisect_right(axis.numbers, end, row))
        _join(found, axis.take(row, until, upto - number + 1))
        if until < len(axis.numbers):
            heapq.heappush(rows, (axis.numbers[until], place, until))
    return [number for number, _, _ in rows]


def _join(found: list[Arrival], more: list[Arrival]) -> None:
    """Add readings in order; the first may be another part of the last that there is."""
    if found and found[-1].cursor == more[0].cursor:
        values = found[-1].values | more[0].values
        found[-1] = found[-1]._replace(channels=tuple(values), row=tuple(values.values()))
        more = more[1:]
    found += more
