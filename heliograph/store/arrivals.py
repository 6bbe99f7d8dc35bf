"""Sealed readings in the order in which they arrived, for those who follow the store."""

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
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
        waiting: list[tuple[int, int, int]] = []
        for number in self._archive.numbers():
            if shelf := self._archive.year(number):
                with self._archive.tolerating(shelf.path.name):
                    waiting += [(max(smin, cursor + 1), k, number) for smin, _, k in shelf.arrivals(cursor)]
        heapq.heapify(waiting)
        names = known()
        opened: dict[tuple[int, int], _Rows] = {}
        rows: list[tuple[int, int, int, int]] = []  # next number, key and year of an axis, row
        found: list[Arrival] = []
        while rows or waiting:
            if waiting and (not rows or waiting[0][0] <= rows[0][0]):
                _, k, year = heapq.heappop(waiting)
                axis = opened[k, year] = _Rows(self._axis(k, year, names), names, told)
                row = bisect_right(axis.numbers, cursor)
                if row < len(axis.numbers):
                    heapq.heappush(rows, (axis.numbers[row], k, year, row))
                continue
            number, k, year, row = heapq.heappop(rows)
            room = limit - len(found)
            if room <= 0 and number != found[-1].cursor:
                break
            axis = opened[k, year]
            others = [heap[0][0] for heap in (rows, waiting) if heap]
            until = bisect_left(axis.numbers, min(others), row) if others else len(axis.numbers)
            until = max(row + 1, min(until, row + room))
            _join(found, axis.take(row, until, room))
            if until < len(axis.numbers):
                heapq.heappush(rows, (axis.numbers[until], k, year, until))
        return found

    def _axis(self, k: int, year: int, names: Names) -> _Axis:
        shelf = self._archive.year(year)
        device, _ = history.axis_owner(k)
        if shelf is None:
            return _Axis(device, [], ops.ints(()), [])

        def read() -> tuple[_Axis, int]:
            found = self._read(shelf, k, names)
            return found, (2 + len(found.columns)) * 8 * len(found.numbers)

        return self._kept.get(year, (k, shelf.opening, shelf.seen), read)

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


def _join(found: list[Arrival], more: list[Arrival]) -> None:
    """Add readings in order; the first may be another part of the last that there is."""
    if found and found[-1].cursor == more[0].cursor:
        values = found[-1].values | more[0].values
        found[-1] = found[-1]._replace(channels=tuple(values), row=tuple(values.values()))
        more = more[1:]
    found += more
