"""Months that are over become one row for each series, years too; a year that is closed is packed."""

from collections.abc import Callable, Iterable
from pathlib import Path

from heliograph.errors import StoreDamaged
from heliograph.store import history, months, packing, schema, tiers
from heliograph.store.names import Names
from heliograph.store.years import Years

AT_ONCE = 10  # months of series, or years


class Closing:
    """Finds what is over and not closed, a piece at a time."""

    def __init__(self, folder: Path, years: Years) -> None:
        self._folder = folder
        self._years = years
        self._busy: set[int] = set()
        self._looked: int | None = None  # the day on which nothing was left to close
        self._unpacked: set[int] = set()  # years for which there was no room, or no peace

    def touched(self, busy: Iterable[int]) -> None:
        """Note that something has changed; more may be on its way for these months, which wait for the next time."""
        self._busy = set(busy)
        self._looked = None

    def step(self, today: int, names: Callable[[], Names]) -> bool:
        """Close or pack something, as of a UTC day; return whether there was anything. Raises OSError if the disk refuses."""
        if self._looked == today:
            return False
        for number in history.files(self._folder):
            try:
                if self._close_some(number, today - months.CLOSE_DAYS, names):
                    return True
            except StoreDamaged as error:
                if history.file(self._folder, number).exists():
                    self._years.move_aside(number, str(error))
                return True
        self._looked = today
        self._unpacked.clear()
        return False

    def _close_some(self, number: int, before: int, names: Callable[[], Names]) -> bool:
        path = history.file(self._folder, number)
        if not path.exists():
            return False
        over = history.first_day((number + 1) * 12) <= before
        with schema.reading(path) as db:
            found = history.Year(db)
            open_months = sorted(
                {
                    place
                    for grain in tiers.GRAINS
                    for place in found.open_days(grain, before)
                    if place[1] not in self._busy
                }
            )[:AT_ONCE]
            busy = {month // 12 for month in self._busy}
            open_years = found.open_months(tiers.HOUR)[:AT_ONCE] if over and number not in busy else []
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
        """Pack a year that is closed, once; return whether it was."""
        if number in self._unpacked or packing.is_packed(path):
            return False
        if not packing.pack(path, number, self._years):
            self._unpacked.add(number)  # tomorrow, perhaps
            return False
        return True
