"""Retention: drops the points of whole years, then whole years, never the current one; limits by age and by size."""

import logging
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from heliograph import durable
from heliograph.errors import StoreDamaged
from heliograph.store import cells, history, months, schema, tiers
from heliograph.store.cells import DAY
from heliograph.store.history import Year
from heliograph.store.integrity import YearDamaged
from heliograph.store.interface import Keep
from heliograph.store.names import Names
from heliograph.store.tiers import Grain
from heliograph.store.years import Years

log = logging.getLogger(__name__)

AT_ONCE = 20  # series, and days of each, whose cells are completed in one step
GIGABYTE = 1_000_000_000
KEPT_TABLES = ("r5m_day", "r1h_day", "r5m_month", "r1h_month", "r1h_year", "device", "series", "word")


class Retention:
    """Drops what is older or larger than `keep` allows; before `dropped_before` (ms UTC) only cells are kept."""

    def __init__(
        self,
        folder: Path,
        years: Years,
        keep: Keep,
        seal_before: Callable[[int], bool],
        forget_year: Callable[[int], None],
    ) -> None:
        """Finish an interrupted drop; `seal_before` seals late readings from before a time in ms UTC, if there are any.

        `forget_year` takes a year off the list of those that must be there.
        """
        self._forget_year = forget_year
        self._folder = folder
        self._seal_before = seal_before
        self._years = years
        self._keep = keep
        self.dropped_before = self._dropped_on_disk()
        self.problem = ""

    def step(self, now: float, names: Callable[[], Names]) -> bool:
        """Do one piece of work; return whether there was any. Raises OSError, YearDamaged."""
        there = history.files(self._folder)
        if not there:
            return False
        # A clock that is far ahead must not drop everything: the newest stored year is a limit, too.
        this_year = min(datetime.fromtimestamp(now, UTC).year, max(there))
        for number, path in there.items():
            if self._keep.years and number < this_year - self._keep.years:
                self._unlink(number, path)
                return True
            if self._keep.raw_years and number < this_year - self._keep.raw_years and not history.is_bare(path):
                self._thin(number, path, names())
                return True
        return self._shrink(there, this_year, names)

    def _shrink(self, there: dict[int, Path], this_year: int, names: Callable[[], Names]) -> bool:
        size = sum(path.stat().st_size for path in self._folder.iterdir() if path.is_file())
        self.problem = ""
        if not self._keep.gigabytes or size <= self._keep.gigabytes * GIGABYTE:
            return False
        older = [(number, path) for number, path in there.items() if number < this_year]
        for number, path in older:
            if not history.is_bare(path):
                self._thin(number, path, names())
                return True
        if older:
            self._unlink(*older[0])
            return True
        self.problem = f"{size / GIGABYTE:.1f} GB are more than keep_gigabytes, and this year alone fills them"
        return False

    def _unlink(self, number: int, path: Path) -> None:
        log.warning(
            "deleting the year %d: it is older than keep_years, or the store is larger than keep_gigabytes", number
        )
        self._years.forget(number)
        self._forget_year(number)
        schema.delete(path)
        self._note_dropped(number)

    def _thin(self, number: int, path: Path, names: Names) -> None:
        """Complete the cells of a year, some at a time; then drop its points."""
        self._note_dropped(number)  # no further point may arrive for a completed cell
        if self._seal_before(self.dropped_before):
            return
        try:
            if not self._complete(number, names):
                self._leave_cells(number, path)
        except StoreDamaged as error:
            raise YearDamaged(number, str(error)) from None

    def _leave_cells(self, number: int, path: Path) -> None:
        log.warning("dropping the points of %d, keeping its cells of 5 minutes and 1 hour", number)
        self._years.forget(number)
        bare = history.file(self._folder, number, tiers=True)
        new = bare.with_name(bare.name + ".new")
        schema.delete(new)
        with closing(schema.create(new, history.PAGE, history.SCHEMA)) as db, schema.refusing(new):
            db.execute("ATTACH ? AS whole", (str(path),))
            with schema.transaction(db):
                for table in KEPT_TABLES:
                    db.execute(f"INSERT INTO {table} SELECT * FROM whole.{table}")
                db.execute("INSERT OR REPLACE INTO meta SELECT * FROM whole.meta")
                db.execute("UPDATE meta SET value = value + 1 WHERE key='version'")
            db.execute("DETACH whole")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        new.rename(bare)
        durable.sync(self._folder)
        schema.delete(path)

    def _complete(self, number: int, names: Names) -> bool:
        """Compute cells for some days that have no cells; return whether there were any."""
        with schema.reading(history.file(self._folder, number)) as db:
            missing = _without_cells(Year(db), number, AT_ONCE)
        if missing:
            with self._years.writing(number) as year:
                for series, days in missing:
                    _give_cells(year, series, days, names)
        return bool(missing)

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


def _without_cells(year: Year, number: int, most: int) -> list[tuple[int, list[int]]]:
    """Return at most `most` series with at most `most` of their days that have points but no cells."""
    result: list[tuple[int, list[int]]] = []
    first, last = history.first_day(number * 12), history.first_day((number + 1) * 12) - 1
    for (series,) in year.db.execute("SELECT id FROM series ORDER BY id").fetchall():
        missing = set(year.days(series, first, last))
        for grain in tiers.GRAINS:
            missing_here = sorted(missing - _days_with_cells(year, grain, series, number))[:most]
            if missing_here:
                result.append((series, missing_here))
                break
        if len(result) == most:
            break
    return result


def _days_with_cells(year: Year, grain: Grain, series: int, number: int) -> set[int]:
    first, last = history.first_day(number * 12), history.first_day((number + 1) * 12) - 1
    blobs = [blob for _, blob in year.tiers_of_days(grain, series, first, last)]
    numbers = {"year": [number], "month": list(range(number * 12, number * 12 + 12))}
    for level in grain.closed:
        blobs += [blob for one in numbers[level] if (blob := year.tier(grain, level, series, one)) is not None]
    tiers_rows = [rows for blob in blobs if (rows := blob.cells(())) is not None]
    return {start // DAY for rows in tiers_rows for start in rows.start.tolist()}


def _give_cells(year: Year, series: int, days: list[int], names: Names) -> None:
    """Compute and write the cells of a series' days, however few points they have."""
    one = names.series[series]
    for day in days:
        track = year.track(series, day)
        for grain in tiers.GRAINS:
            rows = cells.of_day(track, day, grain.width, one.kind, one.rollover)
            months.put(year, grain, series, day, rows, cells.span(track))
