"""Leaves of a closed year what takes less room: where there are cells of 5 minutes and of 1 hour, the points go.

A day has cells of 5 minutes only if they are smaller than its points (tiers.py), so nothing is computed here, and the
new file has a part of the rows of the old one. The newest day of each series keeps its points: they are its newest
value, and what the next rise is counted from.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from heliograph import durable
from heliograph.errors import StoreDamaged
from heliograph.messages import Kind
from heliograph.store import cells, history, schema, tiers
from heliograph.store.cells import DAY
from heliograph.store.names import Names
from heliograph.store.tiers import Blob, Grain
from heliograph.store.year_file import Year

COPIED = ("r5m_day", "r1h_day", "r5m_month", "r1h_month", "r1h_year", "device", "series", "word")


class Spare(NamedTuple):
    """The keys of the chunks that a year can do without, and the bytes of their values."""

    chunks: list[int]
    bytes: int


def spare(path: Path, number: int, names: Names) -> Spare:
    """Return the chunks of a year whose days have closed cells of every grain; raise OSError, StoreDamaged."""
    chunks: list[int] = []
    with schema.reading(path) as db:
        year = Year(db)
        year.keys.compare()  # a row that a damaged page hides would be gone for good
        first, last = history.first_day(number * 12), history.first_day((number + 1) * 12) - 1
        for (sid,) in db.execute("SELECT id FROM series ORDER BY id").fetchall():
            if sid in names.series:
                there = year.days(sid, first, last)[:-1]
                covered = _covered(year, sid, names.series[sid].kind, number)
                chunks += [history.key(sid, day) for day in there if day in covered]
        size = sum(db.execute("SELECT length(v) FROM chunk WHERE k=?", (k,)).fetchone()[0] for k in chunks)
    return Spare(chunks, size)


def rewrite(path: Path, bare: Path, chunks: Iterable[int]) -> bool:
    """Make `bare` the year of `path` without some chunks; return False, with nothing changed, if it would not be smaller.

    The connection that writes `path` must be closed. Raises OSError if the disk refuses, StoreDamaged if the file
    cannot be read; then nothing is changed.
    """
    new = bare.with_name(bare.name + ".new")
    schema.delete(new)
    try:
        with schema.refusing(path):
            _copy(path, new, chunks)
        durable.sync(new)
        if new.stat().st_size >= path.stat().st_size:
            return False
        new.rename(bare)
    finally:
        schema.delete(new)
    durable.sync(bare.parent)
    schema.delete(path)
    return True


def _covered(year: Year, series: int, kind: Kind, number: int) -> set[int]:
    """Return the days for which the cells of every grain answer all that cells can."""
    return set.intersection(*(_days_with_cells(year, grain, series, kind, number) for grain in tiers.GRAINS))


def _days_with_cells(year: Year, grain: Grain, series: int, kind: Kind, number: int) -> set[int]:
    numbers = {"year": [number], "month": list(range(number * 12, number * 12 + 12))}
    blobs = [year.tier(grain, level, series, one) for level in grain.closed for one in numbers[level]]
    return {day for blob in blobs if blob is not None for day in _days(blob, kind)}


def _days(blob: Blob, kind: Kind) -> set[int]:
    """Return the days of cells; none if the cells cannot be read, or are those of another kind of series."""
    needed = {"counter": "carry", "text": "last"}.get(kind, "area")
    try:
        rows = blob.cells() if blob.has(needed) else None
    except StoreDamaged:
        return set()
    if rows is None:
        return set()
    days = [start // DAY for start in rows.start.tolist()]
    if kind == "text":
        return set(days)
    # where cells do not tell whether a point is exactly at their start, their points do
    flags = cells.at(rows).tolist()
    return set(days) - {day for day, flag in zip(days, flags, strict=True) if flag == cells.UNKNOWN}


def _copy(path: Path, new: Path, chunks: Iterable[int]) -> None:
    """Write the rows that stay; without a journal, so that it takes no more room than the file itself."""
    with closing(sqlite3.connect(f"{new.absolute().as_uri()}", uri=True, isolation_level=None)) as db:
        for pragma in (f"page_size={history.PAGE}", "journal_mode=OFF", "synchronous=OFF", "temp_store=MEMORY"):
            db.execute(f"PRAGMA {pragma}").fetchall()
        db.executescript(history.SCHEMA)
        db.execute("ATTACH ? AS whole", (f"{path.absolute().as_uri()}?mode=ro",))
        db.execute("CREATE TEMP TABLE spare(k INTEGER PRIMARY KEY)")
        db.execute("BEGIN")
        db.executemany("INSERT INTO spare VALUES(?)", ((k,) for k in chunks))
        for table in COPIED:
            db.execute(f"INSERT INTO main.{table} SELECT * FROM whole.{table}")
        db.execute("INSERT INTO main.chunk SELECT * FROM whole.chunk WHERE k NOT IN (SELECT k FROM spare) ORDER BY k")
        db.execute("INSERT INTO main.axis SELECT * FROM whole.axis WHERE k IN (SELECT axis FROM main.chunk) ORDER BY k")
        db.execute("INSERT INTO main.meta SELECT * FROM whole.meta")
        db.execute("UPDATE main.meta SET value = value + 1 WHERE key='version'")
        db.execute("INSERT OR REPLACE INTO main.meta VALUES('packed', 1)")
        db.execute("COMMIT")
        db.execute("DETACH whole")
        db.execute("PRAGMA journal_mode=WAL").fetchall()
