"""The housekeeping of the embedded store: one small piece at a time, when it is due."""

import logging
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from operator import itemgetter
from pathlib import Path

from heliograph.errors import StoreDamaged
from heliograph.store import (
    damaged_files,
    damaged_hot,
    deletion,
    history,
    hot,
    months,
    names,
    repair,
    schema,
    sealing,
    year_marks,
)
from heliograph.store.catalog import Catalog
from heliograph.store.cells import DAY
from heliograph.store.closing import Closing
from heliograph.store.integrity import WEEK, Broken, IntegrityCheck, YearDamaged
from heliograph.store.interface import Keep
from heliograph.store.inventory import Inventory
from heliograph.store.names import Names
from heliograph.store.retention import Retention
from heliograph.store.salvager import Salvager
from heliograph.store.years import Years

log = logging.getLogger(__name__)

SEAL_FRAMES = 20_000
SEAL_SECONDS = 4 * 3600
SEAL_DELAY = 600  # s after a boundary, UTC midnight among them: readings that are a little late are included


class Housekeeping:
    """Seals hot.db into years, closes months, salvages damaged files, drops old data and checks the files."""

    def __init__(
        self,
        folder: Path,
        hot_db: sqlite3.Connection,
        names_of: Catalog,
        catalog: sqlite3.Connection,
        inventory: Inventory,
        keep: Keep,
        now: Callable[[], float],
        clock_is_right: Callable[[], bool],
        take_again: Callable[[list[damaged_hot.Frame]], bool],
        room: Callable[[Path], int],
    ) -> None:
        self._folder = folder
        self._hot = hot_db
        self._catalog = catalog
        self._names_of = names_of
        self._inventory = inventory
        self._now = now
        self.years = Years(folder, names_of.rescalings())
        self._clock_is_right = clock_is_right
        self.retention = Retention(folder, hot_db, self.years, keep, now(), self._seal_before, self._forget_year, room)
        self._check = IntegrityCheck(folder, self._mend, self.years.index)
        self._names: Names | None = None
        self._closing = Closing(folder, self.years)
        self._salvager = Salvager(
            folder, self.years, names_of, self._all_names, take_again, self._closing, self._note_loss
        )

    def close(self) -> None:
        """Close the files."""
        self.years.close()

    def problems(self) -> list[str]:
        """Return what is damaged or too large, a sentence each."""
        damaged = [f"{path.name} is damaged and not salvaged yet" for path in damaged_files.damaged(self._folder)]
        return [
            *damaged,
            *self._inventory.problems(self._now()),
            *self.retention.problems(),
            *self._names_of.units.problems(),
        ]

    def learn(self) -> None:
        """Note that the catalog has changed."""
        self._names = None

    def step(self) -> bool:
        """Do one piece of the work that is due; return whether more is due. Raises OSError if the disk refuses."""
        if self._sealing_is_due():
            self.seal()
            return True
        if self._close() or self._salvager.step() or self._retain():
            return True
        self._check_some()
        return False

    def settle(self) -> None:
        """Seal everything, close every month that is over, salvage damaged files."""
        while self.seal():
            pass
        self._closing.touched(())
        while self._close() or self._salvager.step():
            pass

    def mend(self) -> None:
        """Read all years now, mend what is damaged in them, and salvage damaged files."""
        while not self._check_once():
            pass
        self.settle()

    def delete(self, series: list[int], begin: int, end: int) -> int:
        """Delete the points of series in [begin, end) ms UTC; return how many. Raises ValueError, OSError, StoreDamaged."""
        self.settle()
        names = self._current_names()
        deleted = deletion.delete_all(self._folder, self.years, self._forget_year, series, begin, end, names)
        self.settle()
        return deleted

    def seal(self) -> bool:
        """Seal the oldest readings of hot.db; return whether there were any. Rows that damage has changed are set aside."""
        with schema.refusing(self._folder):
            rows, broken = hot.oldest(self._hot, SEAL_FRAMES, self._current_names())
            if broken:
                self._note_loss(hot.broken_rows(broken))
                hot.set_aside(self._hot, broken)
        if len(rows) == SEAL_FRAMES:
            rows = _whole_days(rows)
        if rows:
            self._seal(rows)
        marks = year_marks.of(self._folder, {history.year_of(row[2] // DAY) for row in rows})
        with schema.refusing(self._folder), schema.transaction(self._hot):
            if rows:
                last = rows[-1][0]
                self._hot.execute("DELETE FROM frame WHERE seq <= ?", (last,))
                self._hot.execute("INSERT OR REPLACE INTO meta VALUES('last', ?)", (last,))
                year_marks.put(self._hot, marks)
            self._hot.execute("INSERT OR REPLACE INTO meta VALUES('sealed_at', ?)", (self._now(),))
        self._inventory.look()
        self.years.tidy()
        return bool(rows or broken)

    def _seal_before(self, moment: int) -> bool:
        with schema.refusing(self._folder):
            row = self._hot.execute("SELECT 1 FROM frame WHERE ts < ? LIMIT 1", (moment,)).fetchone()
        return row is not None and self.seal()

    def _seal(self, rows: list[hot.Row]) -> None:
        known = self._current_names()
        by_year: dict[int, list[tuple[int, int]]] = {}
        days = sealing.by_day(rows, known)
        for device, day in sorted(days, key=lambda device_day: (device_day[1], device_day[0])):
            by_year.setdefault(history.year_of(day), []).append((device, day))
        for number, device_days in by_year.items():
            try:
                self._seal_year(number, device_days, days, known)
            except StoreDamaged:
                self._seal_year(number, device_days, days, known)
        self._closing.touched(history.month_of(day) for _, day in days)

    def _seal_year(self, number: int, device_days: Iterable[tuple[int, int]], days: sealing.Days, known: Names) -> None:
        today = int(self._now() // 86_400)
        self._inventory.begin_year(number, self._now())
        with self.years.writing(number) as year:
            for device, day in device_days:
                sources, parts = sealing.opened(days[device, day], known)
                over = history.first_day(history.month_of(day) + 1) <= today - months.CLOSE_DAYS
                sealing.seal(year, device, day, sources, parts, known, over=over)
                year.learn(parts, sealing.words(parts, known), known)

    def _close(self) -> bool:
        return self._closing.step(int(self._now() // 86_400), self._current_names)

    def _retain(self) -> bool:
        try:
            return self.retention.step(self._now(), self._current_names, clock_is_right=self._clock_is_right())
        except YearDamaged as error:
            if history.file(self._folder, error.number).exists():
                self.years.move_aside(error.number, str(error))
            return True

    def _check_some(self) -> None:
        """Check some rows, if a week has passed since the last complete check."""
        with schema.refusing(self._folder):
            checked = schema.meta(self._hot, "checked_at")
        now = self._now()
        if checked is not None and 0 <= now - checked < WEEK:
            return
        if self._check_once():
            with schema.refusing(self._folder), schema.transaction(self._hot):
                self._hot.execute("INSERT OR REPLACE INTO meta VALUES('checked_at', ?)", (now,))

    def _check_once(self) -> bool:
        """Check some rows; return whether the check is complete."""
        try:
            return self._check.step()
        except YearDamaged as error:
            self.years.move_aside(error.number, str(error))
            return False

    def _mend(self, number: int, broken: list[Broken]) -> None:
        with suppress(StoreDamaged):  # it was moved aside, and is salvaged
            repair.mend(self.years, number, broken, self._all_names(), self._note_loss)

    def _sealing_is_due(self) -> bool:
        with schema.refusing(self._folder):
            first, last = self._hot.execute(
                "SELECT (SELECT min(seq) FROM frame), (SELECT max(seq) FROM frame)"
            ).fetchone()
            if first is None:
                return False
            sealed = schema.meta(self._hot, "sealed_at") or 0.0
        if last - first + 1 >= SEAL_FRAMES:
            return True
        now = self._now()
        return _boundary(now) != _boundary(sealed) if sealed <= now + 86_400 else True

    def _all_names(self) -> Names:
        """Return the names, with those that are not committed yet: they become durable."""
        with schema.refusing(self._folder):
            if self._names_of.commit():
                self.learn()
        return self._current_names()

    def _forget_year(self, number: int) -> None:
        with schema.refusing(self._folder):
            year_marks.forget(self._hot, number)
        self._inventory.forget_year(number)

    def _note_loss(self, what: str) -> None:
        self._inventory.note_loss(self._now(), what)

    def _current_names(self) -> Names:
        if self._names is None:
            with schema.refusing(self._folder):
                self._names = names.read(self._catalog)
        return self._names


def _boundary(seconds: float) -> int:
    return int((seconds - SEAL_DELAY) // SEAL_SECONDS)


def _whole_days(rows: list[hot.Row]) -> list[hot.Row]:
    """Return the rows before the newest day, if there are any: in a backlog, the rest of that day comes soon."""
    newest = max(map(itemgetter(2), rows)) // DAY
    cut = next(index for index, row in enumerate(rows) if row[2] // DAY == newest)
    return rows[:cut] or rows
