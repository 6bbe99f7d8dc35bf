"""Converts the values of a series into another unit, in files: points, cells, and what its counter rolls over at.

Numbers of arrival stay: nothing is read, or uploaded, once more. Each file is changed in one transaction, which also notes in that
file that it is done (rescalings.py). The catalog comes first: from then on, the next writer that opens the store does the rest.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from heliograph.conversion import Conversion
from heliograph.errors import HeliographError, StoreDamaged
from heliograph.store import history, rescalings, schema, sealing, tiers, year_file
from heliograph.store import names as names_
from heliograph.store.cells import DAY, Cells, Track
from heliograph.store.names import Names
from heliograph.store.rescalings import Entry, Log, Rescaling
from heliograph.store.tiers import Blob, Grain, Tier
from heliograph.store.vectors import Vector, ops
from heliograph.store.year_file import Year

NO_AREA = (
    "of {} only cells are kept, and the time integral of their values cannot be converted with an offset: delete these days, or "
    "keep the old unit"
)


class CannotRescale(HeliographError):
    """A series has no numbers, or cells that cannot be converted."""


def check(folder: Path, change: Rescaling) -> None:
    """Raise CannotRescale if it cannot be done, StoreDamaged if a value or a cell cannot be read, OSError."""
    with schema.reading(schema.catalog_file(folder)) as db:
        series = names_.read(db).series[change.series]
    refuse_kind(series.kind, series.name)
    with schema.reading(schema.hot_file(folder)) as db:
        if db.execute("SELECT 1 FROM frame LIMIT 1").fetchone():
            raise CannotRescale("hot.db has readings that are not sealed: stop storage, and run this again")
    for path in history.files(folder).values():
        with schema.reading(path) as db:
            year = Year(db)
            for day in _days(year, change.series):
                year.track(change.series, day)
            if days := _cannot_be_converted(year, change, series.kind):
                raise CannotRescale(NO_AREA.format(f"{len(days)} days in {path.name}"))


def refuse_kind(kind: str, name: str) -> None:
    """Raise CannotRescale for a series without a unit."""
    if kind not in ("gauge", "counter"):
        raise CannotRescale(f"{name} is a {kind}: only gauges and counters have units")


def done_before(folder: Path, change: Rescaling) -> Entry | None:
    """Return the last rescaling of a series if it was this one, None otherwise. Raises OSError, StoreDamaged."""
    path = schema.catalog_file(folder)
    if not path.exists():
        return None
    with schema.reading(path) as db:
        return rescalings.done_before(rescalings.read(db), change)


def begin(folder: Path, change: Rescaling, at: float) -> None:
    """Note a rescaling in the catalog, durably; the caller has the store's lock. Raises OSError, StoreDamaged."""
    path = schema.catalog_file(folder)
    with schema.refusing(path), closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous=FULL")
        with schema.transaction(db):
            rename_unit(db, rescalings.with_one(rescalings.read(db), change, at, *_meaning(db, change.series)))


def rename_unit(db: sqlite3.Connection, log: Log) -> None:
    """Give series of the catalog, or of a hot.db without readings, the units of the rescalings that it did not have.

    That is in the open transaction, which notes the log, too.
    """
    for entry in rescalings.missing(log, rescalings.read(db)):
        _give_unit(db, entry)
    rescalings.put(db, log)


def bring(path: Path, log: Log, names: Names) -> None:
    """Convert what a year has not had of a log, in one transaction.

    `names` are those of the catalog. Raises StoreDamaged if it cannot be read or converted, OSError if the disk refuses.
    """
    with schema.refusing(path), closing(sqlite3.connect(path, isolation_level=None)) as db:
        # what is read page by page after damage must not find values of the old unit in pages that are free
        db.executescript("PRAGMA synchronous=FULL; PRAGMA secure_delete=ON")
        with schema.transaction(db):
            for entry in _not_had(db, log):
                _convert_year(Year(db), entry, names)
                _give_unit(db, entry)
            rescalings.put(db, log)
            db.execute("INSERT INTO meta VALUES('version', 1) ON CONFLICT(key) DO UPDATE SET value = value + 1")


def converted(tier: Tier, conversion: Conversion) -> Tier:
    """Return cells in another unit; without points, gauges have no offset (NO_AREA)."""
    return tier if tier.cells is None else Tier(_converted(tier.cells, conversion), tier.spans, tier.bare)


def _not_had(db: sqlite3.Connection, log: Log) -> Log:
    """Return the rescalings that the values of a year have not had; raise StoreDamaged if it does not tell."""
    theirs = rescalings.read(db)
    units = {sid: unit or "" for sid, unit in db.execute("SELECT id, unit FROM series")}
    rest: list[Entry] = []
    for series in {entry.change.series for entry in log} & units.keys():
        mine = rescalings.not_had(log, theirs, series, units[series])
        if mine is None:
            raise StoreDamaged(f"it does not tell which rescalings series {series} has had")
        rest += mine
    return rescalings.merged([rest])


def _meaning(db: sqlite3.Connection, series: int) -> tuple[str, float]:
    unit, rollover = db.execute("SELECT unit, rollover FROM series WHERE id = ?", (series,)).fetchone()
    return unit or "", float(rollover or 0)


def _give_unit(db: sqlite3.Connection, entry: Entry) -> None:
    db.execute(
        "UPDATE series SET unit = ?, rollover = ? WHERE id = ?",
        (entry.change.unit, entry.rollover or None, entry.change.series),
    )


def _cannot_be_converted(year: Year, change: Rescaling, kind: str) -> set[int]:
    """Return the days of which only cells are kept, if these cannot be converted."""
    return _without_points(year, change.series) if change.conversion.has_offset and kind != "counter" else set()


def _convert_year(year: Year, entry: Entry, names: Names) -> None:
    """Convert the cells of days without points, and points with their cells."""
    change = entry.change
    if change.series not in names.series:
        return
    series = names.series[change.series]
    meanwhile = {**names.series, change.series: series._replace(unit=change.unit, rollover=entry.rollover)}
    if days_ := _cannot_be_converted(year, change, series.kind):
        raise StoreDamaged(NO_AREA.format(f"{len(days_)} days"))
    days = _days(year, change.series)
    for grain, table, number, tier in list(_tiers(year, change.series)):
        if tier.cells is not None:
            # cells of days that have points are computed again below; without points there is no offset
            origin = history.origin(table.rpartition("_")[2], number)
            blob = tiers.encode(converted(tier, change.conversion), origin, grain.width)
            year.put_tier(table, change.series, number, blob)
    for day in days:
        chunk = year.chunk(change.series, day)
        if chunk is not None:
            track = year_file.track(year.times(chunk.axis), chunk)
            values = ops.floats([change.conversion.of(value) for value in track.values.tolist()])
            sealing.put(
                year,
                change.series,
                day,
                chunk.axis,
                Track(track.times, values),
                names._replace(series=meanwhile),
                over=False,
            )


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
