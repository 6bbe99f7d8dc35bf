"""Closes months and years that are over: one row for each series. A closed year is packed."""

from collections.abc import Callable, Iterable
from pathlib import Path

from heliograph.errors import StoreDamaged
from heliograph.store import history, months, packing, schema, tiers, year_file
from heliograph.store.names import Names
from heliograph.store.years import Years

AT_ONCE = 10  # months of series, or years


class Closing:
    """Closes months and years that are over, a piece at a time."""

    def __init__(self, folder: Path, years: Years) -> None:
        self._folder = folder
        self._years = years
        self._busy: set[int] = set()
        self._done_on: int | None = None  # the UTC day on which everything was closed
        self._unpacked: set[int] = set()  # years that could not be packed today: no room on the disk, or being read

    def touched(self, busy: Iterable[int]) -> None:
        """Note that months have changed; those that are `busy` may get more readings, and wait until the next call."""
        self._busy = set(busy)
        self._done_on = None

    def step(self, today: int, names: Callable[[], Names]) -> bool:
        """Close or pack one piece, as of a UTC day; return whether there was one. Raises OSError if the disk refuses."""
        if self._done_on == today:
            return False
        for number in history.files(self._folder):
            try:
                if self._close_some(number, today - months.CLOSE_DAYS, names):
                    return True
            except StoreDamaged as error:
                if history.file(self._folder, number).exists():
                    self._years.move_aside(number, str(error))
                return True
        self._done_on = today
        self._unpacked.clear()
        return False

    def _close_some(self, number: int, before: int, names: Callable[[], Names]) -> bool:
        path = history.file(self._folder, number)
        if not path.exists():
            return False
        over = history.first_day((number + 1) * 12) <= before
        with schema.reading(path) as db:
            open_year = year_file.Year(db)
            open_months = sorted(
                {
                    pair
                    for grain in tiers.GRAINS
                    for pair in open_year.open_days(grain, before)
                    if pair[1] not in self._busy
                }
            )[:AT_ONCE]
            busy = {month // 12 for month in self._busy}
            open_years = open_year.open_months(tiers.HOUR)[:AT_ONCE] if over and number not in busy else []
        if not open_months and not open_years:
            return over and number not in busy and self._pack(number, path)
        with self._years.writing(number) as year:
            for series, month in open_months:
                for grain, marked in months.made(year, names().series[series], month).items():
                    months.close(year, grain, series, month, marked)
            for series in [] if open_months else open_years:
                months.close_year(year, tiers.HOUR, series, number)
        self._years.tidy()
        return True

    def _pack(self, number: int, path: Path) -> bool:
        """Pack a closed year if it is not packed yet; return whether that was done."""
        if number in self._unpacked or packing.is_packed(path):
            return False
        if not packing.pack(path, number, self._years):
            self._unpacked.add(number)  # tried again tomorrow
            return False
        return True
