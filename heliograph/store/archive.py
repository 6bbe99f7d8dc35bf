"""The sealed years, read while another process writes them."""

import itertools
import logging
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

from heliograph.errors import StoreAway, StoreDamaged
from heliograph.store import history, schema
from heliograph.store.cells import DAY, DaySpan, Track
from heliograph.store.history import Year
from heliograph.store.tiers import Blob, Grain
from heliograph.store.totals import Folded
from heliograph.store.vectors import Vector

log = logging.getLogger(__name__)

TIMES_BYTES = 2_000_000
CELLS_BYTES = 6_000_000
PARTS_BYTES = 6_000_000
OPENINGS = itertools.count()
T = TypeVar("T")


class SizedCache(Generic[T]):
    """A cache of decoded parts of years: the least recently used go when it has more than `most` bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = 0
        self._entries: OrderedDict[tuple[int, Hashable], tuple[T, int]] = OrderedDict()

    def get(self, year: int, name: Hashable, make: Callable[[], tuple[T, int]]) -> T:
        """Return the entry of a year under a name, or make it; `make` returns it with its size in bytes."""
        entry = self._entries.get((year, name))
        if entry is None:
            entry = self._entries[year, name] = make()
            self._bytes += entry[1]
            while self._bytes > self._most and len(self._entries) > 1:
                self._bytes -= self._entries.popitem(last=False)[1][1]
        else:
            self._entries.move_to_end((year, name))
        return entry[0]

    def forget(self, year: int) -> None:
        """Discard the entries of a year, which has changed."""
        for key in [key for key in self._entries if key[0] == year]:
            self._bytes -= self._entries.pop(key)[1]


class Damage:
    """Notes the parts of a store that cannot be read: results do not include them."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}  # by part

    def __bool__(self) -> bool:
        """Whether anything could not be read."""
        return bool(self._reasons)

    def note(self, part: str, reason: str) -> None:
        """Note that a part cannot be read, and log it once."""
        if part not in self._reasons:
            log.error("%s: %s", part, reason)
        self._reasons[part] = reason

    def missing(self, part: str, reason: str) -> None:
        """Note that a part is not there, perhaps only for this moment: it is not logged."""
        self._reasons[part] = reason

    def forget(self, file: str) -> None:
        """Forget the damage of a file, which may be a new one, or repaired."""
        self._reasons = {part: reason for part, reason in self._reasons.items() if not part.startswith(file)}

    @contextmanager
    def tolerated(self, part: str) -> Iterator[None]:
        """Note a part that cannot be read, and continue without it; a disk that does not answer is not damage."""
        try:
            yield
        except StoreDamaged as error:
            self.note(part, str(error))
        except sqlite3.DatabaseError as error:
            if not schema.is_damage(error):
                raise
            self.note(part, str(error))

    def problems(self) -> list[str]:
        """Return the parts that could not be read, with the reasons."""
        return [f"{part}: {reason}" for part, reason in self._reasons.items()]


class Archive:
    """Opens years when they are needed, and caches what it has decoded."""

    def __init__(self, folder: Path, changed: Callable[[], None]) -> None:
        """Open nothing yet; `changed` is called when a year has changed since it was last read."""
        self._folder = folder
        self._changed = changed
        self._open: dict[int, ReadableYear] = {}
        self._paths: dict[int, Path] = {}
        self.damage = Damage()
        self._reading: set[int] = set()  # years with a transaction
        self._changes = 0
        self._times: SizedCache[Vector] = SizedCache(TIMES_BYTES)
        self._cells: SizedCache[Blob | None] = SizedCache(CELLS_BYTES)
        self._parts: SizedCache[tuple[Folded, list[DaySpan]]] = SizedCache(PARTS_BYTES)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read each year as it is at its first use in here, whatever is written meanwhile."""
        self._paths = history.files(self._folder)
        for number in self._open.keys() - self._paths.keys():
            self._close(number)
        try:
            yield
        finally:
            for number in self._reading & self._open.keys():
                try:
                    self._open[number].db.execute("COMMIT")
                except sqlite3.Error as error:  # SQLite may refuse even that after a damaged page
                    self.damage.note(self._open[number].path.name, str(error))
                    self._close(number)
            self._reading.clear()

    def changes(self) -> int:
        """Return a number that rises with every change of a year."""
        for number in self._paths:
            self.year(number)
        return self._changes

    def numbers(self) -> list[int]:
        """Return the numbers of the years that exist, rising."""
        return list(self._paths)

    def year(self, number: int) -> "ReadableYear | None":
        """Return a year; None if it does not exist or cannot be read."""
        path = self._paths.get(number)
        if path is None:
            return None
        year = self._open.get(number)
        if number in self._reading and year:
            return year
        if year and (year.path != path or not year.file.is_current()):
            self._close(number)
            year = None
        try:
            if year is None:
                year = self._open[number] = ReadableYear(path, number)
            if year.begin():
                self._changes += 1
                self.damage.forget(path.name)
                self._times.forget(number)
                self._cells.forget(number)
                self._parts.forget(number)
                self._changed()
        except StoreAway as error:
            self._close(number)
            now = history.files(self._folder).get(number)
            if now != path:  # it was deleted, or its points were, since the snapshot began
                self._paths = {other: there for other, there in {**self._paths, number: now}.items() if there}
                return self.year(number)
            self.damage.missing(path.name, str(error))  # perhaps it is being created
            return None
        except (StoreDamaged, sqlite3.Error) as error:
            self.damage.note(path.name, str(error))
            self._close(number)
            return None
        self._reading.add(number)
        return year

    def hold(self, first: int, last: int) -> None:
        """Freeze the years of the UTC days from first to last for the rest of the snapshot."""
        for number in reversed(self.between(first, last)):  # readings of two years are sealed into the older one first
            self.year(number)

    def track(self, series: int, day: int) -> Track | None:
        """Return the sealed points of a series in a UTC day."""
        year = self.year(history.year_of(day))
        if year is None:
            return None
        with self.damage.tolerated(f"{year.path.name}: series {series}, day {day}"):
            chunk = year.chunk(series, day)
            return None if chunk is None else history.track(self._times_of(year, chunk.axis), chunk)
        return None

    def tier(self, grain: Grain, level: str, series: int, number: int) -> Blob | None:
        """Return the cells of a closed month or year; None if there are none."""
        year = self.year(number if level == "year" else number // 12)
        if year is None:
            return None

        def read() -> tuple[Blob | None, int]:
            blob = year.tier(grain, level, series, number)
            return blob, 0 if blob is None else blob.size

        return self._cells.get(year.number, (grain.name, level, series, number), read)

    def part(
        self, number: int, key: Hashable, make: Callable[[], tuple[tuple[Folded, list[DaySpan]], int]]
    ) -> tuple[Folded, list[DaySpan]]:
        """Return the result of `make` for a year, from the cache if the year could be read as a whole."""
        if self.year(number) is None or self.damage:
            return make()[0]
        folded = self._parts.get(number, key, make)
        if self.damage:
            self._parts.forget(number)
        return folded

    def _times_of(self, year: "ReadableYear", axis: int) -> Vector:
        def read() -> tuple[Vector, int]:
            times = year.times(axis)
            return times, 8 * len(times)

        return self._times.get(year.number, axis, read)

    def days(self, series: int, first: int, last: int) -> list[int]:
        """Return the UTC days from first to last that have sealed points of a series."""
        days: list[int] = []
        self.hold(first, last)
        for number in self.between(first, last):
            if year := self.year(number):
                with self.damage.tolerated(year.path.name):
                    days += year.days(series, first, last)
        return days

    def newest_day(self, series: int, before: int) -> int | None:
        """Return the newest UTC day before one that has sealed points of a series."""
        for number in reversed(self.between(0, before)):
            if year := self.year(number):
                with self.damage.tolerated(year.path.name):
                    day = year.newest_day(series, before)
                    if day is not None:
                        return day
        return None

    def newest(self, series: int) -> tuple[int, float] | None:
        """Return the newest sealed point of a series: ms UTC and value."""
        for number in reversed(self.numbers()):
            if year := self.year(number):
                with self.damage.tolerated(year.path.name):
                    point = year.newest(series)
                    if point is not None and point[1] == 0:  # SQLite does not keep the sign of -0.0
                        track = self.track(series, point[0] // DAY)
                        return point if track is None else (int(track.times[-1]), float(track.values[-1]))
                    if point is not None:
                        return point
        return None

    def extent(self) -> list[int]:
        """Return times (ms UTC) that include those of the oldest and the newest sealed point."""
        return self._extent(self.numbers()) + self._extent(self.numbers()[::-1])

    def _extent(self, numbers: list[int]) -> list[int]:
        """Return the extent of the first of these years that has one."""
        for number in numbers:
            if year := self.year(number):
                with self.damage.tolerated(year.path.name):
                    times = year.extent()
                    if year.bare:  # its oldest days may have only cells
                        times += year.extent_of_cells()
                    if times:
                        return times
        return []

    def version(self, last: int) -> str:
        """Return a text that changes with the years up to that of a UTC day."""
        versions: list[str] = []
        for number in self.between(0, last):
            if year := self.year(number):
                with self.damage.tolerated(year.path.name):
                    versions.append(f"{number}:{year.version():x}")
        return ".".join(versions)

    def between(self, first: int, last: int) -> list[int]:
        """Return the numbers of the existing years that have UTC days from first to last."""
        if last < first or not self._paths:
            return []
        low = history.year_of(max(first, history.first_day(min(self._paths) * 12)))
        high = history.year_of(min(last, history.first_day((max(self._paths) + 1) * 12) - 1))
        return [number for number in self._paths if low <= number <= high]

    def close(self) -> None:
        """Close all files."""
        for number in list(self._open):
            self._close(number)
        self.damage = Damage()

    def _close(self, number: int) -> None:
        if year := self._open.pop(number, None):
            self._reading.discard(number)
            year.file.close()


class ReadableYear(Year):
    """A year that is open for reading."""

    def __init__(self, path: Path, number: int) -> None:
        """Open it; raise StoreAway or StoreDamaged."""
        self.path = path
        self.number = number
        self.file = schema.ReadOnly(path)
        super().__init__(self.file.connection)
        self.bare = history.is_bare(path)
        self.seen = -1
        self.opening = next(OPENINGS)  # unique in this process

    def begin(self) -> bool:
        """Begin a transaction; return whether the year has changed since the last one."""
        self.db.execute("BEGIN")
        self.db.execute("SELECT 1 FROM meta").fetchone()
        before, self.seen = self.seen, self.db.execute("PRAGMA data_version").fetchone()[0]
        return before != self.seen
