"""Retention: drops the points of whole years, then whole years, never the current one; limits by age and by size."""

import logging
import math
import shutil
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from heliograph.errors import StoreDamaged
from heliograph.store import history, schema, thinning
from heliograph.store.cells import DAY
from heliograph.store.integrity import YearDamaged
from heliograph.store.interface import Keep
from heliograph.store.names import Names
from heliograph.store.retention_calendar import RetentionCalendar
from heliograph.store.year_file import Year
from heliograph.store.years import Years

log = logging.getLogger(__name__)

GIGABYTE = 1_000_000_000
NEARLY = 0.9  # of keep_gigabytes, from which on it is reported
ROOM = 4_000_000  # bytes that must stay free for commits while a year is rewritten
RETRY_SECONDS = 3600.0
REMEMBERED = 20  # sentences about what was dropped
DROPPED, CALENDAR = "dropped", "calendar"  # in the meta of hot.db


class NoRoom(OSError):
    """There is no room on the disk to rewrite a year smaller."""


def free_bytes(folder: Path) -> int:
    """Return the bytes that are free on the disk of a folder."""
    return shutil.disk_usage(folder).free


class Retention:
    """Drops what is older or larger than `keep` allows; before `dropped_before` (ms UTC) nothing is taken any more."""

    def __init__(
        self,
        folder: Path,
        hot: sqlite3.Connection,
        years: Years,
        keep: Keep,
        now: float,
        seal_before: Callable[[int], bool],
        forget_year: Callable[[int], None],
        room: Callable[[Path], int],
    ) -> None:
        """Finish an interrupted drop; `seal_before` seals late readings from before a time in ms UTC, if there are any.

        `forget_year` takes a year off the list of those that must be there, `room` returns the free bytes of a folder's
        disk, `now` is the time of the clock in seconds UTC. Raises OSError.
        """
        self._forget_year = forget_year
        self._folder = folder
        self._hot = hot
        self._years = years
        self._keep = keep
        self._seal_before = seal_before
        self._room = room
        self._whole: dict[int, int] = {}  # the version at which a year had nothing to spare
        self._done_on: int | None = None  # the UTC day of the clock on which nothing was left to drop
        self._failed_at: float | None = None
        self._problems: list[str] = []
        self.dropped_before = self._dropped_on_disk()
        with schema.refusing(folder):
            meta = dict(
                hot.execute("SELECT key, value FROM meta WHERE key IN (?, ?, 'sealed_at')", (CALENDAR, DROPPED))
            )
        believed = min(now, meta.get("sealed_at", now))
        self._calendar = RetentionCalendar(meta.get(CALENDAR), partial(self._remember, CALENDAR), believed)
        # what was dropped, a sentence each, the newest last
        self.dropped: list[str] = msgspec.json.decode(meta.get(DROPPED, "[]"), type=list[str])

    def problems(self) -> list[str]:
        """Return what keeps the store from being as small as it should be, or soon will, a sentence each."""
        unbelieved = self._calendar.unbelieved if self._keep.years or self._keep.raw_years else ""
        return [*([unbelieved] if unbelieved else []), *self._problems]

    def step(self, now: float, names: Callable[[], Names], *, clock_is_right: bool) -> bool:
        """Do one piece of work, if any is due; return whether there was any. Raises YearDamaged.

        If the disk refuses, it is tried again after an hour: what should make room must not take the last of it.
        """
        day = int(now // 86_400)
        waits = self._failed_at is not None and abs(now - self._failed_at) < RETRY_SECONDS
        if self._done_on == day or waits:
            return False
        try:
            today = self._calendar.today(now, clock_is_right=clock_is_right)
            self._problems = self._impossible_years(day) if clock_is_right else []
            if self._drop_some(today, names):
                return True
        except OSError as error:
            log.error("nothing can be dropped: %s; trying again in an hour", error)
            self._failed_at = now
            self._problems = [f"nothing can be dropped: {error}"]
            return False
        self._failed_at = None
        self._done_on = day
        return False

    def _drop_some(self, today: int, names: Callable[[], Names]) -> bool:
        there = history.files(self._folder)
        if not there:
            return False
        this_year = min(history.year_of(today), max(there))
        if self._keep.years:
            self._note_dropped(math.ceil(this_year - self._keep.years) - 1)
        for number, path in there.items():
            if self._keep.years and number < this_year - self._keep.years:
                return self._delete(number, path, f"it is older than keep_years = {self._keep.years:g}")
            if (
                self._keep.raw_years
                and number < this_year - self._keep.raw_years
                and self._thin(number, path, names(), f"it is older than keep_raw_years = {self._keep.raw_years:g}")
            ):
                return True
        return self._shrink(there, this_year, names)

    def _impossible_years(self, day: int) -> list[str]:
        """Return which years have not begun on a UTC day of the clock, nor will tomorrow, a sentence each."""
        return [
            f"{path.name} has readings of a time that has not come: a clock was ahead; `heliograph store info` "
            "shows of which series, `heliograph store delete` deletes them"
            for number, path in history.files(self._folder).items()
            if number > history.year_of(day + 1)
        ]

    def _shrink(self, there: dict[int, Path], this_year: int, names: Callable[[], Names]) -> bool:
        """Free what is more than `keep_gigabytes`: points where cells are smaller, then years, the oldest first."""
        limit = self._keep.gigabytes * GIGABYTE
        size = sum(path.stat().st_size for path in there.values())  # not hot.db and journals: they do not grow
        if not limit or size <= limit * NEARLY:
            return False
        older = [(number, path) for number, path in there.items() if number < this_year]
        first = older[0][0] if older else None
        if size <= limit:
            follows = f"beyond it, what is dropped first is of {first}" if older else "this year alone fills them"
            self._problems.append(f"{_bytes(size)} of {_bytes(limit)} (keep_gigabytes) are full; {follows}")
            return False
        why = f"{_bytes(size)} are more than keep_gigabytes = {self._keep.gigabytes:g}"
        try:
            for number, path in older:
                if self._thin(number, path, names(), why):
                    return True
        except NoRoom as error:
            log.warning("%s: the oldest year goes in its place", error)
        if older:
            return self._delete(*older[0], why)
        self._problems.append(f"{why}, and this year alone fills them")
        return False

    def _delete(self, number: int, path: Path, why: str) -> bool:
        if self._seal_before(history.first_day((number + 1) * 12) * DAY):
            return True  # otherwise the readings that wait in hot.db would begin the year again
        size, span = path.stat().st_size, _span(path, number)
        self._years.forget(number)
        self._forget_year(number)
        schema.delete(path)
        self._note_dropped(number)
        self._say(f"{number} was deleted ({span}, {_bytes(size)}): {why}")
        return True

    def _thin(self, number: int, path: Path, names: Names, why: str) -> bool:
        """Drop the points of a year of which there are smaller cells; return whether anything was done."""
        if history.is_bare(path):
            return False
        before = self.dropped_before
        try:
            with schema.reading(path) as db:
                version = Year(db).version()
            if self._whole.get(number) == version:
                return False
            spare = thinning.spare(path, number, names)
            size = path.stat().st_size
            if not spare.chunks:
                self._whole[number] = version
                return False
            needed = size - spare.bytes + ROOM
            if (free := self._room(self._folder)) < needed:
                raise NoRoom(f"rewriting {path.name} smaller needs {_bytes(needed)}, and {_bytes(free)} are free")
            self._note_dropped(number)  # no further point may arrive for a day that has only cells
            if self._seal_before(self.dropped_before):
                return True
            self._years.forget(number)
            span, bare = _span(path, number), history.file(self._folder, number, tiers=True)
            if not thinning.rewrite(path, bare, spare.chunks):
                self._whole[number], self.dropped_before = version, before
                return False
        except StoreDamaged as error:
            raise YearDamaged(number, str(error)) from None
        self._say(
            f"{number}: readings were dropped of which there are cells of 5 minutes and of 1 hour "
            f"({span}, {_bytes(size)} are {_bytes(bare.stat().st_size)} now): {why}"
        )
        return True

    def _dropped_on_disk(self) -> int:
        """Return the time before which only cells are left, in ms UTC; finish what a power cut interrupted."""
        for path in self._folder.glob("history-*-tiers.db.new*"):
            path.unlink()
        dropped = 0
        for number, path in history.files(self._folder).items():
            if history.is_bare(path):
                schema.delete(history.file(self._folder, number))
                dropped = history.first_day((number + 1) * 12) * DAY
        return dropped

    def _note_dropped(self, number: int) -> None:
        self.dropped_before = max(self.dropped_before, history.first_day((number + 1) * 12) * DAY)

    def _say(self, sentence: str) -> None:
        log.warning("%s", sentence)
        self.dropped = [*self.dropped, sentence][-REMEMBERED:]
        self._remember(DROPPED, msgspec.json.encode(self.dropped).decode())

    def _remember(self, key: str, text: str) -> None:
        with schema.refusing(self._folder), schema.transaction(self._hot):
            self._hot.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (key, text))


def _span(path: Path, number: int) -> str:
    """Return from when to when a year has readings; the year itself if that cannot be read."""
    try:
        with schema.reading(path) as db:
            times = Year(db).extent()
    except (OSError, StoreDamaged):
        times = []
    if not times:
        return str(number)
    first, last = (history.EPOCH + history.MILLISECOND * ms for ms in (min(times), max(times)))
    return f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}"


def _bytes(size: float) -> str:
    return f"{size / GIGABYTE:.2f} GB" if size >= GIGABYTE / 10 else f"{size / 1e6:.2f} MB"
