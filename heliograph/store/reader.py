"""The embedded store, reading side: answers from its files while another process writes them."""

import math
import sqlite3
import struct
import threading
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from typing import TypeVar

from heliograph.errors import StoreAway, StoreDamaged
from heliograph.messages import Value
from heliograph.renames import Renames
from heliograph.store import schema
from heliograph.store.archive import Archive, compare_keys, whole
from heliograph.store.arrivals import Arrivals
from heliograph.store.cells import DAY, GAP, Track
from heliograph.store.damage import EVER, Damage, Part
from heliograph.store.hot_cache import HotCache, HotFrame
from heliograph.store.interface import Arrival, Function, Point, RawPage, Series
from heliograph.store.series_query import SeriesQuery
from heliograph.store.store_files import StoreFiles
from heliograph.store.vectors import Vector, ops
from heliograph.store.year_file import Year

HOUR = 3_600_000
AT_ONCE = 100_000  # points of a day that are put in order together; of more, an hour at a time
T = TypeVar("T")


class SqliteReader:
    """Reads the store in a folder; `Reader` of interface.py is its contract."""

    def __init__(self, folder: Path, damage: Damage | None = None) -> None:
        """Open nothing yet; readers that share `damage` report the same."""
        self.engine = f"SQLite {sqlite3.sqlite_version}"
        self._folder = folder
        self._lock = threading.RLock()
        self._files = StoreFiles(folder)
        self._archive = Archive(folder, self._learn, damage or Damage())
        self._asked: tuple[list[float], Vector] = ([], ops.ints(()))
        self._forget()

    def _forget(self) -> None:
        """Discard everything that was read: the next store may be another one."""
        self._hot_cache = HotCache()
        self._arrivals = Arrivals(self._archive)
        self._latest: dict[int, tuple[int, float]] = {}
        self._sealed: dict[int, tuple[int, float] | None] = {}
        self._changes = -1

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            self._files.close()
            self._archive.close()
            self._forget()

    def series(self) -> list[Series]:
        """Return all series, in order of their ids."""
        with self._reading():
            return list(self._files.names.series.values())

    def latest(self, ids: Sequence[int], until: float = math.inf) -> dict[int, Point]:
        """Return the newest point, not later than `until`, of each of these series that has one."""
        points: dict[int, Point] = {}
        last = until * 1000
        with self._reading():
            changes = self._archive.changes()
            if changes != self._changes:  # sealed readings may never have been read from hot.db
                self._changes = changes
                self._sealed.clear()
            for sid in ids:
                if sid not in self._files.names.series:
                    continue
                if sid not in self._sealed:
                    self._sealed[sid] = self._query(sid).newest()
                hot, sealed = self._latest.get(sid), self._sealed[sid]
                newest = hot if sealed is None or (hot is not None and hot[0] >= sealed[0]) else sealed
                if newest is not None and newest[0] > last:
                    newest = self._query(sid).newest_before(math.floor(last) + 1)
                if newest is not None:
                    points[sid] = Point(newest[0] / 1000, self._files.value(sid, newest[1]))
        return points

    def raw(self, series: int, start: float, end: float, *, limit: int, after: float | None = None) -> RawPage:
        """Return the points of [start, end), at most `limit` of them, starting at `after`."""
        times: list[float] = []
        values: list[Value] = []
        following: float | None = None
        begin = _ms(start if after is None else max(after, start))
        with self._reading():
            for track in self._query(series).points(begin, _ms(end)):
                room = limit - len(times)
                # most requests are for a day at most: that one is not copied
                times = _joined(times, ops.divided(track.times[:room], 1000.0).tolist())
                values = _joined(values, self._files.values(series, track.values[:room].tolist()))
                if len(track.times) > room:
                    following = int(track.times[room]) / 1000
                    break
        return RawPage(times, values, following)

    def aggregate(
        self, series: int, edges: Sequence[float], functions: Sequence[Function]
    ) -> dict[str, list[Value | None]]:
        """Return one value per function and bucket; None for a bucket without points."""
        with self._reading():
            if list(edges) != self._asked[0]:  # queries of many series have the same edges
                self._asked = list(edges), ops.milliseconds(edges)
            columns = self._query(series).aggregate(self._asked[1], functions)
            return {name: self._files.column(series, name, column) for name, column in columns.items()}

    def export(self, ids: Sequence[int], start: float, end: float) -> Iterator[tuple[float, int, Value]]:
        """Yield (time, series, value) of [start, end) in order of time, a day in memory at a time."""
        begin, stop = _ms(start), _ms(end)
        for day in self._days(ids, begin, stop):
            with self._reading():
                tracks = [(sid, track) for sid in ids if (track := self._query(sid).track(day))]
            yield from _ordered(self._files, tracks, max(begin, day * DAY), min(stop, (day + 1) * DAY))

    def since(self, cursor: int, limit: int) -> list[Arrival]:
        """Return at most `limit` readings that arrived after a cursor, oldest arrival first."""
        with self._reading():
            readings: list[Arrival] = []
            sealed = self._hot_cache.sealed
            if cursor < sealed:
                readings = self._arrivals.after(cursor, limit, lambda: self._files.names, self._files.values)
                # newer readings may not be in all of their years yet
                del readings[bisect_right(readings, (sealed,), key=lambda arrival: arrival[:1]) :]
            last = readings[-1].cursor if readings else cursor
            if len(readings) < limit:
                readings += map(self._arrival, self._hot_cache.after(last)[: limit - len(readings)])
            return readings

    def extent(self) -> tuple[float, float] | None:
        """Return the times of the oldest and the newest point of all."""
        with self._reading():
            times = self._hot_cache.extent() + _extent(self._archive, 1) + _extent(self._archive, -1)
            return (min(times) / 1000, max(times) / 1000) if times else None

    def version(self, start: float, end: float) -> str:
        """Return a text that changes whenever an answer about [start, end) may have changed."""
        stop = _ms(end) + 2 * GAP + 1  # a delta looks as far ahead, and at all that is before
        with self._reading() as hot:
            identity = schema.one(hot, "SELECT value FROM meta WHERE key='identity'")
            known = zlib.crc32(repr((self._files.names.series, self._files.names.replacements)).encode())
            newest = self._hot_cache.newest(0, stop)
            return f"{identity}-{known:x}-{self._archive.version(stop // DAY)}-{newest:x}"

    def renames(self) -> Renames:
        """Return which nodes, devices and channels got other names."""
        with self._reading():
            return self._files.renames()

    def problems(self) -> list[str]:
        """Return which parts cannot be read."""
        with self._reading():
            for number in self._archive.numbers():
                self._archive.year(number)
            return self._archive.damage.problems() + self._files.problems()

    def damaged(self, ids: Sequence[int], start: float, end: float) -> list[str]:
        """Return what answers about these series in [start, end) may lack."""
        return self._archive.damage.between(ids, _ms(start) // DAY, _ms(end) // DAY)

    def _days(self, ids: Sequence[int], begin: int, stop: int) -> list[int]:
        if begin >= stop:
            return []
        with self._reading():
            days: set[int] = set()
            for sid in ids:
                days.update(self._query(sid).days(begin // DAY, (stop - 1) // DAY))
            return sorted(days)

    def _query(self, sid: int) -> SeriesQuery:
        return SeriesQuery(self._files.names.series[sid], self._files.names, self._hot_cache, self._archive)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Give a snapshot: hot.db with the names that it refers to, then the years; raise StoreAway or StoreDamaged."""
        with self._lock:
            try:
                if not self._files.are_current():
                    self.close()
                hot = self._files.hot()
                for frame in self._refreshed(hot):
                    self._remember(frame)
                with self._archive.snapshot():
                    yield hot
            except sqlite3.OperationalError as error:
                self.close()
                raise StoreAway(f"the store in {self._folder} does not answer: {error}") from None
            except sqlite3.DatabaseError as error:
                self.close()
                raise StoreDamaged(f"{self._folder}: {error}") from None

    def _refreshed(self, hot: sqlite3.Connection) -> list[HotFrame]:
        """Return the frames that may have newest points; the names they refer to are read after them."""
        sealed = self._hot_cache.sealed
        new = self._hot_cache.refresh(hot)
        _report_lost(self._hot_cache, self._archive.damage)
        self._learn()
        self._files.refuse_unknown(self._hot_cache.layouts(), new)
        if self._hot_cache.sealed != sealed:  # a year may have a later arrival of a sealed time
            self._latest.clear()
            return self._hot_cache.frames
        return new

    def _learn(self) -> None:
        """Read the names again if they have changed: a year that was opened now may need new ones."""
        if self._files.refresh_names():
            self._sealed.clear()
            self._archive.rescaled = self._files.rescaled

    def _remember(self, frame: HotFrame) -> None:
        for sid, number in self._numbers(frame):
            if sid not in self._latest or self._latest[sid][0] <= frame.time:
                self._latest[sid] = (frame.time, number)

    def _numbers(self, frame: HotFrame) -> list[tuple[int, float]]:
        sids = self._files.names.layouts[frame.layout].series
        numbers = zip(sids, struct.unpack(f"<{len(sids)}d", frame.payload), strict=True)
        return [(sid, number) for sid, number in numbers if not math.isnan(number)]

    def _arrival(self, frame: HotFrame) -> Arrival:
        node, device = self._files.names.devices[self._files.names.layouts[frame.layout].device]
        numbers = self._numbers(frame)
        channels = tuple(self._files.names.series[sid].channel for sid, _ in numbers)
        row = tuple(self._files.value(sid, number) for sid, number in numbers)
        return Arrival(frame.number, node, device, frame.time / 1000, channels, row)


def _report_lost(hot_cache: HotCache, damage: Damage) -> None:
    """Report readings of hot.db that cannot be read: answers from its oldest day on may lack them."""
    if hot_cache.lost:
        oldest = min((frame.time // DAY for frame in hot_cache.frames), default=-EVER)
        damage.note_only(Part("hot.db", first=oldest), f"{hot_cache.lost} readings cannot be read")
    else:
        damage.forget("hot.db")


def _extent(archive: Archive, step: int) -> list[int]:
    """Return times (ms UTC) that include those of the oldest and the newest point of the first year, or of the last (-1), that has one."""
    for number in archive.numbers()[::step]:
        if year := archive.year(number):
            times: list[int] = []
            for index in archive.indexes(year):
                with archive.damage.tolerated(whole(year), Year.extent):
                    times += year.extent(index)
            if year.bare:  # its oldest days may have only cells
                with archive.damage.tolerated(whole(year), Year.extent_of_cells):
                    times += year.extent_of_cells()
                with archive.damage.tolerated(whole(year), compare_keys):
                    year.keys.compare()
            if times:
                return times
    return []


def _ordered(
    files: StoreFiles, tracks: list[tuple[int, Track]], begin: int, end: int
) -> Iterator[tuple[float, int, Value]]:
    """Yield the points of [begin, end) ms UTC in order of time, then of series."""
    step = HOUR if sum(len(track.times) for _, track in tracks) > AT_ONCE else DAY
    for moment in range(begin, end, step):
        yield from _between(files, tracks, moment, min(end, moment + step))


def _between(
    files: StoreFiles, tracks: list[tuple[int, Track]], begin: int, until: int
) -> list[tuple[float, int, Value]]:
    """Return the points of [begin, until) in order of time, then of series."""
    points: list[tuple[float, int, Value]] = []
    for sid, track in tracks:
        low, high = ops.between(track.times, begin, until)
        values = files.values(sid, track.values[low:high].tolist())
        times = ops.divided(track.times[low:high], 1000.0).tolist()
        points += zip(times, repeat(sid), values, strict=False)
    points.sort(key=lambda point: point[:2])
    return points


def _joined(some: list[T], more: list[T]) -> list[T]:
    if not some:
        return more
    some += more
    return some


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
