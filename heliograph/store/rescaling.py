"""Converts all values of a series into another unit: points, cells, and what its counter rolls over at.

Numbers of arrival stay: nothing is read, or uploaded, once more. unfinished.py brings the change to all files.
"""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from heliograph.conversion import Conversion
from heliograph.errors import HeliographError
from heliograph.store import history, schema, sealing, tiers
from heliograph.store import names as names_
from heliograph.store.cells import DAY, Cells, Track
from heliograph.store.history import Year
from heliograph.store.names import Names
from heliograph.store.tiers import Blob, Grain, Tier
from heliograph.store.vectors import Vector, ops

NO_AREA = (
    "of {} only cells are kept, and the time integral of their values cannot be converted with an offset: delete these days, or "
    "keep the old unit"
)


class CannotRescale(HeliographError):
    """A series has no numbers, or cells that cannot be converted."""


class Rescaling(msgspec.Struct, frozen=True):
    """A series (its number) gets another unit."""

    series: int
    unit: str
    conversion: Conversion


def check(folder: Path, change: Rescaling) -> None:
    """Raise CannotRescale if it cannot be done, StoreDamaged if a value or a cell cannot be read, OSError."""
    series = _names(folder).series[change.series]
    refuse_kind(series.kind, series.name)
    with schema.reading(schema.hot_file(folder)) as db:
        if db.execute("SELECT 1 FROM frame LIMIT 1").fetchone():
            raise CannotRescale("hot.db has readings that are not sealed: stop storage, and run this again")
    for path in history.files(folder).values():
        with schema.reading(path) as db:
            year = Year(db)
            for day in _days(year, change.series):
                year.track(change.series, day)
            days = _without_points(year, change.series)
            if days and change.conversion.has_offset and series.kind != "counter":
                raise CannotRescale(NO_AREA.format(f"{len(days)} days in {path.name}"))


def refuse_kind(kind: str, name: str) -> None:
    """Raise CannotRescale for a series without a unit."""
    if kind not in ("gauge", "counter"):
        raise CannotRescale(f"{name} is a {kind}: only gauges and counters have units")


def prepared(folder: Path, change: Rescaling) -> Callable[[sqlite3.Connection, Path], None]:
    """Return what converts the series in one file, in the transaction that is open; the catalog has to be the last one."""
    names = _names(folder)
    series = names.series[change.series]
    rollover = change.conversion.of_rise(series.rollover)
    names.series[change.series] = series._replace(unit=change.unit, rollover=rollover)

    def apply(db: sqlite3.Connection, path: Path) -> None:
        db.execute(
            "UPDATE series SET unit = ?, rollover = ? WHERE id = ?", (change.unit, rollover or None, change.series)
        )
        if path.name.startswith("history-"):
            _convert_year(Year(db), change, names)
            db.execute("UPDATE meta SET value = value + 1 WHERE key='version'")

    return apply


def _names(folder: Path) -> Names:
    with schema.reading(schema.catalog_file(folder)) as db:
        return names_.read(db)


def _convert_year(year: Year, change: Rescaling, names: Names) -> None:
    """Convert the cells of days without points, and points with their cells."""
    days = _days(year, change.series)
    for grain, table, number, tier in list(_tiers(year, change.series)):
        if tier.cells is not None:
            # cells of days that have points are computed again below; without points there is no offset (check)
            converted = Tier(_converted(tier.cells, change.conversion), tier.spans, tier.bare)
            level = table.rpartition("_")[2]
            year.put_tier(
                table, change.series, number, tiers.encode(converted, history.origin(level, number), grain.width)
            )
    for day in days:
        chunk = year.chunk(change.series, day)
        if chunk is not None:
            track = history.track(year.times(chunk.axis), chunk)
            values = ops.floats([change.conversion.of(value) for value in track.values.tolist()])
            sealing.put(year, change.series, day, chunk.axis, Track(track.times, values), names, over=False)


def _days(year: Year, series: int) -> list[int]:
    first, last = history.key(series, 0), history.key(series + 1, 0) - 1
    rows = year.db.execute("SELECT k FROM chunk WHERE k BETWEEN ? AND ? ORDER BY k", (first, last))
    return [k - first for (k,) in rows]


def _tiers(year: Year, series: int) -> Iterator[tuple[Grain, str, int, Tier]]:
    """Yield the rows of cells of a series: grain, table, number of the day, month or year, and the cells."""
    first, last = history.key(series, 0), history.key(series + 1, 0) - 1
    for grain in tiers.GRAINS:
        for level in ("day", *grain.closed):
            table = f"{grain.name}_{level}"
            for k, blob in year.db.execute(
                f"SELECT k, b FROM {table} WHERE k BETWEEN ? AND ?", (first, last)
            ).fetchall():
                number = k - first
                yield grain, table, number, Blob(blob, history.origin(level, number), grain.width).tier()


def _without_points(year: Year, series: int) -> set[int]:
    """Return the days of a series that have cells only."""
    with_cells = {
        start // DAY
        for _, _, _, tier in _tiers(year, series)
        if tier.cells is not None
        for start in tier.cells.start.tolist()
    }
    return with_cells - set(_days(year, series))


def _converted(rows: Cells, conversion: Conversion) -> Cells:
    counts = rows.n.tolist()
    sums = None if rows.sum is None else ops.floats(map(conversion.of_sum, rows.sum.tolist(), counts))
    least, most, first, last = (_each(column, conversion.of) for column in (rows.min, rows.max, rows.first, rows.last))
    carry, area = (_each(column, conversion.of_rise) for column in (rows.carry, rows.area))
    return Cells(rows.start, rows.n, sums, least, most, first, last, carry, area, rows.at)


def _each(column: Vector | None, convert: Callable[[float], float]) -> Vector | None:
    return None if column is None else ops.floats([convert(value) for value in column.tolist()])
