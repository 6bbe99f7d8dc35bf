"""The sealed years, read while another process writes them."""

import itertools
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar, get_args

from heliograph.errors import StoreAway, StoreDamaged
from heliograph.store import history, rescalings, schema, year_file
from heliograph.store.cells import DaySpan, Track
from heliograph.store.damage import Again, Damage, Part
from heliograph.store.tiers import Blob, Grain
from heliograph.store.totals import Folded
from heliograph.store.vectors import Vector
from heliograph.store.year_file import Source, Year
from heliograph.store.year_keys import ArrivalIndex

TIMES_BYTES = 2_000_000
CELLS_BYTES = 6_000_000
PARTS_BYTES = 6_000_000
OPENINGS = itertools.count()
OTHER_UNITS = (
    "its values have not had the same rescalings as catalog.db: one of the two is another copy, or a rescaling is under way; "
    "restart storage, which converts them"
)
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


class Archive:
    """Opens years when they are needed, and caches what it has decoded."""

    def __init__(self, folder: Path, changed: Callable[[], None], damage: Damage) -> None:
        """Open nothing yet; `changed` is called when a year has changed since it was last read; `damage` gets what cannot be read."""
        self._folder = folder
        self._changed = changed
        self._open: dict[int, ReadableYear] = {}
        self._paths: dict[int, Path] = {}
        self.damage = damage
        self.rescaled: frozenset[str] | None = (
            None  # the rescalings of the catalog; None: years are not compared with it
        )
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
        self.damage.keep({path.name for path in self._paths.values()} | {"hot.db"})
        try:
            yield
        finally:
            for number in self._reading & self._open.keys():
                try:
                    self._open[number].db.execute("COMMIT")
                except sqlite3.Error as error:  # SQLite may refuse even that after a damaged page
                    if not self.damage.of(self._open[number].path.name):
                        self.damage.note(whole(self._open[number]), str(error))
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
            is_new = year is None
            year = self._open[number] = year or ReadableYear(path, number)
            if year.begin():
                self._changes += 1
                for forget in (self._times.forget, self._cells.forget, self._parts.forget):
                    forget(number)
                self._changed()
                self.damage.look(path.name, (year.state(), self.rescaled) if is_new else object(), year)
            year.refuse_other_units(self.rescaled)
        except StoreAway as error:
            self._close(number)
            now = history.files(self._folder).get(number)
            if now != path:  # it was deleted, or its points were, since the snapshot began
                self._paths = {other: there for other, there in {**self._paths, number: now}.items() if there}
                return self.year(number)
            self.damage.note(_of_year(path, number), str(error), _opens, quiet=True)  # perhaps it is being created
            return None
        except (StoreDamaged, sqlite3.Error) as error:
            self.damage.note(_of_year(path, number), str(error), _opens)
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
        with self.damage.tolerated(*track_part(year, series, day)):
            chunk = year.chunk(series, day)
            return None if chunk is None else year_file.track(self._times_of(year, chunk.axis), chunk)
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
        year = self.year(number)
        if year is None or self.damage.of(year.path.name):
            return make()[0]
        folded = self._parts.get(number, key, make)
        if self.damage.of(year.path.name):
            self._parts.forget(number)
        return folded

    def _times_of(self, year: "ReadableYear", axis: int) -> Vector:
        def read() -> tuple[Vector, int]:
            times = year.times(axis)
            return times, 8 * len(times)

        return self._times.get(year.number, axis, read)

    def days(self, series: int, first: int, last: int) -> list[int]:
        """Return the UTC days from first to last that have sealed points of a series."""
        days: set[int] = set()
        self.hold(first, last)
        for number in self.between(first, last):
            if year := self.year(number):
                for source in get_args(Source):  # a damaged page hides the rows that it had
                    with self.damage.tolerated(whole(year, series), lambda again: again.days(series, first, last)):
                        days.update(year.listed_days(series, first, last, source))
        return sorted(days)

    def newest_day(self, series: int, before: int) -> int | None:
        """Return the newest UTC day before one that has sealed points of a series."""
        for number in reversed(self.between(0, before)):
            if (year := self.year(number)) and (days := self._newest_days(year, series, before)):
                return max(days)
        return None

    def newest(self, series: int) -> tuple[int, float] | None:
        """Return the newest sealed point of a series that can be read: ms UTC and value."""
        day = self.newest_day(series, history.first_day((max(self._paths) + 1) * 12)) if self._paths else None
        while day is not None:
            track = self.track(series, day)
            if track is not None and len(track.times):
                return int(track.times[-1]), float(track.values[-1])
            day = self.newest_day(series, day)
        return None

    def _newest_days(self, year: "ReadableYear", series: int, before: int) -> list[int]:
        days: list[int | None] = []
        for source in get_args(Source):
            with self.damage.tolerated(whole(year, series), lambda again: again.newest_day(series, before, "chunk")):
                days.append(year.newest_day(series, before, source))
        return [day for day in days if day is not None]

    def indexes(self, year: "ReadableYear") -> tuple[ArrivalIndex, ...]:
        """Return the indexes of a year that know all its axes: both if one has lost some."""
        if year.compared != year.seen:
            year.compared, year.differs = year.seen, True
            with self.damage.tolerated(whole(year), compare_axes):
                year.keys.compare_axes()
                year.differs = False
        return get_args(ArrivalIndex) if year.differs and year.keys.has("axis") else ("arrival",)

    def version(self, last: int) -> str:
        """Return a text that changes with the years up to that of a UTC day."""
        versions: list[str] = []
        for number in self.between(0, last):
            if year := self.year(number):
                with self.damage.tolerated(whole(year), Year.version):
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
        self.rescaled: frozenset[str] = frozenset()  # as of the last `begin`
        self.opening = next(OPENINGS)  # unique in this process
        self.compared = -1  # `seen` when the indexes of the axes were compared
        self.differs = False

    def begin(self) -> bool:
        """Begin a transaction; return whether the year has changed since the last one."""
        self.db.execute("BEGIN")
        self.db.execute("SELECT 1 FROM meta").fetchone()
        before, self.seen = self.seen, self.db.execute("PRAGMA data_version").fetchone()[0]
        if before != self.seen:
            self.keys.forget()
            self.rescaled = rescalings.ids(rescalings.read(self.db))
        return before != self.seen

    def refuse_other_units(self, rescaled: frozenset[str] | None) -> None:
        """Raise StoreDamaged if the values have not had exactly these rescalings; None: any will do."""
        if rescaled is not None and self.rescaled != rescaled:
            raise StoreDamaged(OTHER_UNITS)

    def state(self) -> object:
        """Return what is equal for two readers of the same state of a file."""
        return self.file.identity, self.version()


def whole(year: ReadableYear, series: int | None = None) -> Part:
    """Return the part that is all of a year, or all that it has of a series."""
    return _of_year(year.path, year.number, "" if series is None else f"series {series}", series)


def track_part(year: ReadableYear, series: int, day: int) -> tuple[Part, Again]:
    """Return the part that is a day of a series, and how to read it again."""
    return Part(year.path.name, f"series {series}, day {day}", series, day, day), partial(_same_track, series, day)


def tier_part(year: ReadableYear, grain: Grain, level: str, series: int, number: int) -> tuple[Part, Again]:
    """Return the part that is the cells of a series' month or year, and how to read it again."""
    months = (number * 12, number * 12 + 12) if level == "year" else (number, number + 1)
    first, last = history.first_day(months[0]), history.first_day(months[1]) - 1
    part = Part(year.path.name, f"{grain.name} of series {series}, {level} {number}", series, first, last)
    return part, partial(_same_tier, grain, level, series, number)


def _same_tier(grain: Grain, level: str, series: int, number: int, year: Year) -> None:
    blob = year.tier(grain, level, series, number)
    if blob is not None:
        blob.tier()


def compare_axes(year: Year) -> None:
    """Raise BlockDamaged if an index of a year has lost axes."""
    year.keys.compare_axes()


def compare_keys(year: Year) -> None:
    """Raise BlockDamaged if a table of a year, or its index, has lost rows."""
    year.keys.compare()


def _of_year(path: Path, number: int, what: str = "", series: int | None = None) -> Part:
    return Part(path.name, what, series, history.first_day(number * 12), history.first_day(number * 12 + 12) - 1)


def _opens(_: Year) -> None:
    """It was opened."""


def _same_track(series: int, day: int, year: Year) -> None:
    if year.chunk(series, day) is not None:
        year.track(series, day)
