"""Takes points out of the sealed years: chunks and axes without them, cells computed again."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from heliograph.store import history, months, schema, sealing, tiers
from heliograph.store.cells import DAY
from heliograph.store.names import Names
from heliograph.store.year_file import Year
from heliograph.store.years import WritableYear, Years

TABLES = ("chunk", "axis", "r5m_day", "r1h_day", "r5m_month", "r1h_month", "r1h_year")


def delete_all(
    folder: Path,
    years: Years,
    forget_year: Callable[[int], None],
    series: Sequence[int],
    begin: int,
    end: int,
    names: Names,
) -> int:
    """Delete the points of series in [begin, end) ms UTC from every year; return how many there were.

    A year of which nothing is left loses its file, after `forget_year` was called with it. Raises ValueError, before anything is
    deleted, for a part of a day of which only cells are kept; OSError, StoreDamaged.
    """
    chosen = {
        number: path
        for number, path in history.files(folder).items()
        if history.year_of(begin // DAY) <= number <= history.year_of((end - 1) // DAY)
    }
    for path in chosen.values():
        with schema.reading(path) as db:
            days = parts_of_days(Year(db), series, begin, end)
        if days:
            day = (history.EPOCH + days[0] * DAY * history.MILLISECOND).date()
            raise ValueError(
                f"of {day} only cells of 5 minutes are kept: delete whole days, from midnight to midnight in UTC"
            )
    deleted = 0
    for number, path in chosen.items():
        years.forget(number)
        year = WritableYear(path, number)
        with closing(year.db), schema.refusing(path):
            with schema.transaction(year.db):
                deleted += delete(year, series, begin, end, names)
                year.db.execute("UPDATE meta SET value = value + 1 WHERE key='version'")
            empty = is_empty(year)
        if empty:
            forget_year(number)
            schema.delete(path)
    return deleted


def parts_of_days(year: Year, series: Iterable[int], begin: int, end: int) -> list[int]:
    """Return the UTC days that have only cells, of which [begin, end) ms UTC has a part: points cannot be taken out of a cell."""
    edges = {time // DAY for time in (begin, end) if time % DAY}
    return sorted({day for sid in series for day, _ in _with_cells_only(year, sid, begin, end) if day in edges})


def delete(year: Year, series: Iterable[int], begin: int, end: int, names: Names) -> int:
    """Delete the points of series in [begin, end) ms UTC, and the cells of days without points, in the open transaction.

    Return how many there were. Raises sqlite3.Error if the disk refuses.
    """
    wanted = list(series)
    deleted = 0
    for sid in wanted:
        for day, count in list(_with_cells_only(year, sid, begin, end)):
            deleted += count
            for grain in tiers.GRAINS:
                months.drop(year, grain, sid, day)
    days: dict[tuple[int, int], list[int]] = {}
    for sid in wanted:
        for day in year.days(sid, begin // DAY, (end - 1) // DAY):
            days.setdefault((names.owners[sid], day), []).append(sid)
    for (device, day), sids in days.items():
        deleted += sealing.cut(year, device, day, sids, begin, end, names)
    year.db.execute("DELETE FROM meta WHERE key='packed'")
    return deleted


def is_empty(year: Year) -> bool:
    """Whether a year has neither points nor cells."""
    return not any(year.db.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() for table in TABLES)


def _with_cells_only(year: Year, series: int, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the UTC days of [begin, end) ms that have cells of a series and no points, and how many points the cells have."""
    first, last = begin // DAY, (end - 1) // DAY
    with_points = set(year.days(series, first, last))
    for month in range(history.month_of(first), history.month_of(last) + 1) if first <= last else ():
        blob = year.tier(tiers.FIVE_MINUTES, "month", series, month)
        rows = None if blob is None else blob.cells(())
        if rows is None:
            continue
        counts: dict[int, int] = {}
        for start, n in zip(rows.start.tolist(), rows.n.tolist(), strict=True):
            counts[start // DAY] = counts.get(start // DAY, 0) + n
        yield from ((day, n) for day, n in counts.items() if first <= day <= last and day not in with_points)
