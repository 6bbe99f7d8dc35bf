"""Turns readings in order of arrival into chunks: every series and UTC day with new readings is written again."""

import logging
from collections.abc import Iterable, Mapping, Set
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from heliograph.errors import StoreDamaged
from heliograph.store import blocks, cells, history, months, tiers, year_file
from heliograph.store.cells import DAY, Track
from heliograph.store.hot import Row
from heliograph.store.names import Names
from heliograph.store.vectors import Vector, ops
from heliograph.store.year_file import Year

log = logging.getLogger(__name__)


class Readings(NamedTuple):
    """Readings of one layout of a device in one day, in order of arrival."""

    numbers: tuple[int, ...]
    times: tuple[int, ...]
    payloads: tuple[bytes, ...]


class Source(NamedTuple):
    """The times of readings (ms UTC) and their numbers of arrival."""

    times: Vector
    numbers: Vector


class NewValues(NamedTuple):
    """New values of one series: those of the readings of a source at `indexes` (None: all)."""

    source: int
    indexes: Vector | None
    values: Vector


class Group(NamedTuple):
    """Series that were always measured together, before (on `axis`) and now: they share an axis."""

    axis: int | None
    parts: list[NewValues]  # of its first member; the others differ only in the values
    members: list[int]


Parts = dict[int, list[NewValues]]  # by series
Days = dict[tuple[int, int], dict[int, Readings]]  # (device, UTC day) → layout → readings


def by_day(rows: Iterable[Row], names: Names) -> Days:
    """Return readings by device and UTC day."""
    days: Days = {}
    for layout, group in groupby(sorted(rows, key=itemgetter(1)), key=itemgetter(1)):
        device = names.layouts[layout].device
        numbers, _, times, payloads = zip(*group, strict=True)
        first, last = min(times) // DAY, max(times) // DAY
        if first == last:
            days.setdefault((device, first), {})[layout] = Readings(numbers, times, payloads)
            continue
        indexes: dict[int, list[int]] = {}
        for index, time in enumerate(times):
            indexes.setdefault(time // DAY, []).append(index)
        for day, chosen in indexes.items():
            columns = (tuple(column[index] for index in chosen) for column in (numbers, times, payloads))
            days.setdefault((device, day), {})[layout] = Readings(*columns)
    return days


def opened(readings: Mapping[int, Readings], names: Names) -> tuple[dict[int, Source], Parts]:
    """Return the columns of a device's readings of a day."""
    sources = {
        layout: Source(ops.ints(of_layout.times), ops.ints(of_layout.numbers)) for layout, of_layout in readings.items()
    }
    parts: Parts = {}
    for layout, of_layout in readings.items():
        sids = names.layouts[layout].series
        for sid, values in zip(sids, ops.columns(of_layout.payloads, len(sids)), strict=True):
            indexes = ops.present(values)
            if indexes is None:
                parts.setdefault(sid, []).append(NewValues(layout, None, values))
            elif len(indexes):
                parts.setdefault(sid, []).append(NewValues(layout, indexes, ops.take(values, indexes)))
    return sources, parts


def words(parts: Parts, names: Names) -> set[int]:
    """Return the numbers of the words among new values."""
    return {
        int(word)
        for sid, news in parts.items()
        if names.series[sid].kind == "text"
        for part in news
        for word in set(part.values.tolist())
    }


def seal(
    year: Year,
    device: int,
    day: int,
    sources: Mapping[int, Source],
    parts: Mapping[int, list[NewValues]],
    names: Names,
    *,
    over: bool = False,
) -> None:
    """Merge a device's new values of a UTC day into the year, in the transaction that is open.

    If the month is `over`, cells are computed when it is closed, unless it is closed already.
    Of equal times of a series the last arrival stays; readings that are in the year already may come again.
    Chunks that cannot be read are set aside. Raises sqlite3.Error if the disk refuses.
    """
    old, before = _existing(year, parts, day)
    axes = _Axes(year, device, day, before.keys(), names.of_device(device) - parts.keys())
    for group in _groups(parts, old):
        known = [] if group.axis is None else [before[group.axis]]
        news = [sources[part.source] for part in group.parts]
        indexes = [part.indexes for part in group.parts]
        numbers = ops.concat(
            [s.numbers for s in known] + [_taken(s.numbers, p) for s, p in zip(news, indexes, strict=True)]
        )
        times = ops.concat([s.times for s in known] + [_taken(s.times, p) for s, p in zip(news, indexes, strict=True)])
        kept = cells.latest(numbers, times)
        times = _taken(times, kept)
        axis = axes.put(times, _taken(numbers, kept), group.axis)
        for sid in group.members:
            values = ops.concat([*old[sid].values(), *(part.values for part in parts[sid])])
            put(year, sid, day, axis, Track(times, _taken(values, kept)), names, over=over)
    axes.tidy()


def cut(year: Year, device: int, day: int, series: Iterable[int], begin: int, end: int, names: Names) -> int:
    """Delete the points of a device's series in [begin, end) ms UTC of a day, in the transaction that is open.

    Return how many there were. Chunks that cannot be read are set aside. Raises sqlite3.Error if the disk refuses.
    """
    deleted = 0
    old, before = _existing(year, series, day)
    axes = _Axes(year, device, day, before.keys(), names.of_device(device) - old.keys())
    for axis, source in before.items():
        members = [sid for sid in old if axis in old[sid]]
        low, high = ops.between(source.times, begin, end)
        deleted += (high - low) * len(members)
        times, numbers = (ops.concat([column[:low], column[high:]]) for column in source)
        if not len(times):
            for sid in members:
                year.drop_chunk(sid, day)
                for grain in tiers.GRAINS:
                    months.drop(year, grain, sid, day)
            continue
        k = axes.put(times, numbers, axis)
        for sid in members:
            values = ops.concat([old[sid][axis][:low], old[sid][axis][high:]])
            put(year, sid, day, k, Track(times, values), names, over=False)
    axes.tidy()
    return deleted


def _existing(year: Year, series: Iterable[int], day: int) -> tuple[dict[int, dict[int, Vector]], dict[int, Source]]:
    """Return the values of each series that are in the year, by axis (at most one), and those axes."""
    old: dict[int, dict[int, Vector]] = {}
    axes: dict[int, Source] = {}
    for sid in series:
        old[sid] = {}
        if chunk := _chunk(year, sid, day):
            try:
                if chunk.axis not in axes:
                    axes[chunk.axis] = Source(*year.axis(chunk.axis))
                old[sid] = {chunk.axis: year_file.track(axes[chunk.axis].times, chunk).values}
            except StoreDamaged as error:
                log.error("series %d, day %d: %s; set aside", sid, day, error)
                year.set_aside(sid, day)
    return old, axes


def _chunk(year: Year, sid: int, day: int) -> year_file.Chunk | None:
    """Return the chunk of a series in a day, and set it aside if its row is damaged."""
    try:
        return year.chunk(sid, day)
    except StoreDamaged as error:
        log.error("%s; set aside", error)
        year.set_aside(sid, day)
        return None


def _groups(parts: Mapping[int, list[NewValues]], old: Mapping[int, Mapping[int, Vector]]) -> Iterable[Group]:
    groups: dict[tuple[int | None, tuple[tuple[int, bytes | None], ...]], Group] = {}
    for sid, news in parts.items():
        axis = next(iter(old[sid]), None)
        sources = tuple((part.source, None if part.indexes is None else part.indexes.tobytes()) for part in news)
        groups.setdefault((axis, sources), Group(axis, news, [])).members.append(sid)
    return groups.values()


def _taken(column: Vector, indexes: Vector | None) -> Vector:
    if indexes is None:
        return column
    taken: Vector = ops.take(column, indexes)
    return taken


def put(year: Year, sid: int, day: int, axis: int, track: Track, names: Names, *, over: bool) -> None:
    """Write the points of a series' day with the times of an axis, and their cells, in the transaction that is open."""
    newest = int(track.times[-1]), float(track.values[-1])
    year.put_chunk(sid, day, axis, newest, blocks.encode_floats(track.values))
    series = names.series[sid]
    for grain in tiers.GRAINS:
        enough = len(track.times) >= grain.least
        if over and enough and not months.is_closed(year, grain, sid, day):
            months.mark(year, grain, sid, day)
        else:
            rows = cells.of_day(track, day, grain.width, series.kind, series.rollover) if enough else None
            months.put(year, grain, sid, day, rows, cells.span(track))


class _Axes:
    """The axes of a device's day: equal ones are shared, those that no chunk needs are deleted."""

    def __init__(self, year: Year, device: int, day: int, leaving: Set[int], others: Set[int]) -> None:
        self._year = year
        self._first = history.axis_key(device, day)
        self._day = day
        self._there = set(year.axes(device, day))
        staying = {chunk.axis for sid in others if (chunk := _chunk(year, sid, day))} if leaving else set()
        self._needed = staying | (self._there - leaving)
        self._shared: dict[tuple[bytes, bytes], int] = {}

    def put(self, times: Vector, numbers: Vector, old: int | None) -> int:
        """Write an axis unless an equal one was written; return its key."""
        blobs = blocks.encode_ints(ops.shifted(times, -self._day * DAY)), blocks.encode_ints(numbers)
        k = self._shared.get(blobs)
        if k is None:
            free = (k for k in range(self._first, self._first + history.SLOTS) if k not in self._needed)
            k = old if old is not None and old not in self._needed else next(free)
            self._shared[blobs] = k
            self._needed.add(k)
            ordered = numbers.tolist()
            self._year.put_axis(k, min(ordered), max(ordered), *blobs)
        return k

    def tidy(self) -> None:
        """Delete the axes that no chunk needs."""
        self._year.drop_axes(self._there - self._needed)
