"""The years at rest, for those who read them while another process writes."""

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
from heliograph.store.cells import DAY, Span, Track
from heliograph.store.history import Year
from heliograph.store.tiers import Blob, Grain
from heliograph.store.totals import Folded
from heliograph.store.vectors import Vector

log = logging.getLogger(__name__)

TIMES_BYTES = 2_000_000
CELLS_BYTES = 10_000_000
PARTS_BYTES = 4_000_000
OPENINGS = itertools.count()
T = TypeVar("T")


class Kept(Generic[T]):
    """What was decoded last, up to so many bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = 0
        self._things: OrderedDict[tuple[int, Hashable], tuple[T, int]] = OrderedDict()

    def get(self, year: int, name: Hashable, make: Callable[[], tuple[T, int]]) -> T:
        """Return what is kept of a year under a name, or what `make` returns with its size."""
        found = self._things.get((year, name))
        if found is None:
            found = self._things[year, name] = make()
            self._bytes += found[1]
            while self._bytes > self._most and len(self._things) > 1:
                self._bytes -= self._things.popitem(last=False)[1][1]
        else:
            self._things.move_to_end((year, name))
        return found[0]

    def forget(self, year: int) -> None:
        """Forget a year: it has changed."""
        for key in [key for key in self._things if key[0] == year]:
            self._bytes -= self._things.pop(key)[1]


class Archive:
    """Opens years when they are asked for; what was decoded is kept for a while."""

    def __init__(self, folder: Path, changed: Callable[[], None]) -> None:
        """Know nothing yet; `changed` is called when a year turns out to be another one than before."""
        self._folder = folder
        self._changed = changed
        self._open: dict[int, Shelf] = {}
        self._paths: dict[int, Path] = {}
        self._problems: dict[str, str] = {}
        self._reading: set[int] = set()  # years with a transaction
        self._changes = 0
        self._times: Kept[Vector] = Kept(TIMES_BYTES)
        self._cells: Kept[Blob | None] = Kept(CELLS_BYTES)
        self._parts: Kept[tuple[Folded, list[Span]]] = Kept(PARTS_BYTES)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let each year stay as it is when it is first asked for in here."""
        self._paths = history.files(self._folder)
        for number in self._open.keys() - self._paths.keys():
            self._close(number)
        try:
            yield
        finally:
            for number in self._reading & self._open.keys():
                try:
                    self._open[number].db.execute("COMMIT")
                except sqlite3.Error as error:  # SQLite may refuse even that when it has come across a damaged page
                    self.damaged(self._open[number].path.name, str(error))
                    self._close(number)
            self._reading.clear()

    def changes(self) -> int:
        """Return a number that rises when a year has changed since it was last asked."""
        for number in self._paths:
            self.year(number)
        return self._changes

    def numbers(self) -> list[int]:
        """Return the years that there are, rising."""
        return list(self._paths)

    def year(self, number: int) -> "Shelf | None":
        """Return a year; None if there is none, or it cannot be read."""
        path = self._paths.get(number)
        if path is None:
            return None
        shelf = self._open.get(number)
        if number in self._reading and shelf:
            return shelf
        if shelf and (shelf.path != path or not shelf.file.is_current()):
            self._close(number)
            shelf = None
        try:
            if shelf is None:
                shelf = self._open[number] = Shelf(path, number)
            if shelf.begin():
                self._changes += 1
                for what in [what for what in self._problems if what.startswith(path.name)]:
                    del self._problems[what]  # it may be a new file, or mended
                self._times.forget(number)
                self._cells.forget(number)
                self._parts.forget(number)
                self._changed()
        except StoreAway as error:
            self._close(number)
            now = history.files(self._folder).get(number)
            if now != path:  # it was deleted or thinned since the question began
                self._paths = {other: there for other, there in {**self._paths, number: now}.items() if there}
                return self.year(number)
            self._problems[path.name] = str(error)  # perhaps it is just being made
            return None
        except (StoreDamaged, sqlite3.Error) as error:
            self.damaged(path.name, str(error))
            self._close(number)
            return None
        self._reading.add(number)
        return shelf

    def damaged(self, what: str, why: str) -> None:
        """Note that a part cannot be read; answers come without it."""
        if what not in self._problems:
            log.error("%s: %s", what, why)
        self._problems[what] = why

    @contextmanager
    def tolerating(self, what: str) -> Iterator[None]:
        """Note what in here cannot be read, and go on without it; a disk that does not answer is no damage."""
        try:
            yield
        except sqlite3.OperationalError:
            raise
        except (StoreDamaged, sqlite3.DatabaseError) as error:
            self.damaged(what, str(error))

    def problems(self) -> list[str]:
        """Return what could not be read so far."""
        return [f"{what}: {why}" for what, why in self._problems.items()]

    def hold(self, first: int, last: int) -> None:
        """Let the years of the UTC days from first to last stay as they are from now on.

        The newest comes first: of what is sealed into two years, the older one has its part earlier.
        """
        for number in reversed(self.between(first, last)):
            self.year(number)

    def track(self, series: int, day: int) -> Track | None:
        """Return what a series measured in a UTC day, as far as it is sealed."""
        shelf = self.year(history.year_of(day))
        if shelf is None:
            return None
        with self.tolerating(f"{shelf.path.name}: series {series}, day {day}"):
            chunk = shelf.chunk(series, day)
            return None if chunk is None else history.track(self._times_of(shelf, chunk.axis), chunk)
        return None

    def tier(self, grain: Grain, level: str, series: int, number: int) -> Blob | None:
        """Return the cells of a closed month or year; None if there are none."""
        shelf = self.year(number if level == "year" else number // 12)
        if shelf is None:
            return None

        def read() -> tuple[Blob | None, int]:
            blob = shelf.tier(grain, level, series, number)
            return blob, 0 if blob is None else blob.size

        return self._cells.get(shelf.number, (grain.name, level, series, number), read)

    def part(
        self, number: int, question: Hashable, make: Callable[[], tuple[tuple[Folded, list[Span]], int]]
    ) -> tuple[Folded, list[Span]]:
        """Return what `make` returns of a year, or did when the same was asked of it and all of it could be read."""
        if self.year(number) is None or self._problems:
            return make()[0]
        found = self._parts.get(number, question, make)
        if self._problems:
            self._parts.forget(number)
        return found

    def _times_of(self, shelf: "Shelf", axis: int) -> Vector:
        def read() -> tuple[Vector, int]:
            times = shelf.times(axis)
            return times, 8 * len(times)

        return self._times.get(shelf.number, axis, read)

    def days(self, series: int, first: int, last: int) -> list[int]:
        """Return the UTC days from first to last that have sealed points of a series."""
        found: list[int] = []
        self.hold(first, last)
        for number in self.between(first, last):
            if shelf := self.year(number):
                with self.tolerating(shelf.path.name):
                    found += shelf.days(series, first, last)
        return found

    def newest_day(self, series: int, before: int) -> int | None:
        """Return the newest UTC day before one that has sealed points of a series."""
        for number in reversed(self.between(0, before)):
            if shelf := self.year(number):
                with self.tolerating(shelf.path.name):
                    day = shelf.newest_day(series, before)
                    if day is not None:
                        return day
        return None

    def newest(self, series: int) -> tuple[int, float] | None:
        """Return the newest sealed point of a series: ms UTC and value."""
        for number in reversed(self.numbers()):
            if shelf := self.year(number):
                with self.tolerating(shelf.path.name):
                    found = shelf.newest(series)
                    if found is not None and found[1] == 0:  # SQLite does not keep the sign of -0.0
                        track = self.track(series, found[0] // DAY)
                        return found if track is None else (int(track.times[-1]), float(track.values[-1]))
                    if found is not None:
                        return found
        return None

    def extent(self) -> list[int]:
        """Return times of which the smallest is the oldest and the largest the newest sealed point; ms UTC."""
        return self._extent(self.numbers()) + self._extent(self.numbers()[::-1])

    def _extent(self, numbers: list[int]) -> list[int]:
        """Return the extent of the first of these years of which there is one."""
        for number in numbers:
            if shelf := self.year(number):
                with self.tolerating(shelf.path.name):
                    found = shelf.extent()
                    if found:
                        return found
        return []

    def version(self, last: int) -> str:
        """Return a text that changes with the years up to that of a UTC day."""
        found: list[str] = []
        for number in self.between(0, last):
            if shelf := self.year(number):
                with self.tolerating(shelf.path.name):
                    found.append(f"{number}:{shelf.version():x}")
        return ".".join(found)

    def between(self, first: int, last: int) -> list[int]:
        """Return the years that there are of the UTC days from first to last."""
        if last < first or not self._paths:
            return []
        low = history.year_of(max(first, history.first_day(min(self._paths) * 12)))
        high = history.year_of(min(last, history.first_day((max(self._paths) + 1) * 12) - 1))
        return [number for number in self._paths if low <= number <= high]

    def close(self) -> None:
        """Let go of all files."""
        for number in list(self._open):
            self._close(number)
        self._problems = {}

    def _close(self, number: int) -> None:
        if shelf := self._open.pop(number, None):
            self._reading.discard(number)
            shelf.file.close()


class Shelf(Year):
    """One year, opened to be read."""

    def __init__(self, path: Path, number: int) -> None:
        """Open it; raise StoreAway or StoreDamaged."""
        self.path = path
        self.number = number
        self.file = schema.ReadOnly(path)
        super().__init__(self.file.connection)
        self.bare = history.is_bare(path)
        self.seen = -1
        self.opening = next(OPENINGS)  # no other one of this process has it

    def begin(self) -> bool:
        """Begin to read; return whether it has changed since the last time."""
        self.db.execute("BEGIN")
        self.db.execute("SELECT 1 FROM meta").fetchone()
        before, self.seen = self.seen, self.db.execute("PRAGMA data_version").fetchone()[0]
        return before != self.seen
