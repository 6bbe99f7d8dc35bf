"""Reads what is still readable in a damaged file, a little at a time, so that it can be stored again.

A damaged file is moved aside as NAME.damaged-WHEN. When everything readable is salvaged, it
is renamed to NAME.salvaged-WHEN, and may be deleted.
"""

import logging
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from heliograph.errors import StoreDamaged
from heliograph.store import blocks, history, schema
from heliograph.store.history import Year

log = logging.getLogger(__name__)

ROWS = 500
LARGEST = 1 << 62
_ASIDE = re.compile(r"(hot|history-([0-9]{4}))\.db\.damaged-[^-]+-[0-9]+")

Frame = tuple[int, int, bytes]  # layout, ms UTC, payload
Axis = tuple[int, list[tuple[int, bytes]]]  # key; series and values of its chunks


def damaged(folder: Path) -> list[Path]:
    """Return the files that were moved aside and are not salvaged, the oldest first."""
    return sorted(path for path in folder.glob("*.damaged-*") if _ASIDE.fullmatch(path.name))


def year_of(path: Path) -> int | None:
    """Return the year of a damaged file; None for hot.db."""
    match = _ASIDE.fullmatch(path.name)
    return int(match[2]) if match and match[2] else None


def done(path: Path) -> Path:
    """Note that a damaged file is salvaged; return its new path."""
    renamed = path.with_name(path.name.replace(".damaged-", ".salvaged-"))
    for suffix in ("-shm", "-wal", ""):
        there = path.with_name(path.name + suffix)
        if there.exists():
            there.rename(renamed.with_name(renamed.name + suffix))
    return renamed


def opened(path: Path) -> sqlite3.Connection | None:
    """Open a damaged file for reading; return None if SQLite cannot open it."""
    try:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        try:
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error:
            db.close()
            raise
    except sqlite3.Error as error:
        log.error("nothing can be read of %s: %s", path.name, error)
        return None
    return db


def rows(db: sqlite3.Connection, table: str, columns: str, key: str = "rowid") -> Iterator[tuple[Any, ...]]:
    """Yield (key, columns …) of all rows that can be read, in order of an integer key."""
    last = -1
    while last < LARGEST:
        batch, whole = _some(db, f"SELECT {key}, {columns} FROM {table} WHERE {key} > ? ORDER BY {key} LIMIT ?", last)
        yield from batch
        if batch:
            last = batch[-1][0]
        if whole and len(batch) < ROWS:
            return
        if not whole and not batch:
            last = _behind(db, table, key, last)


def _some(db: sqlite3.Connection, query: str, last: int) -> tuple[list[tuple[Any, ...]], bool]:
    """Return the readable rows after a key, and whether all requested rows were readable."""
    for limit in (ROWS, 1):
        try:
            return db.execute(query, (last, limit)).fetchall(), limit == ROWS
        except sqlite3.Error:
            continue
    return [], False


def _behind(db: sqlite3.Connection, table: str, key: str, last: int) -> int:
    """Return the smallest key from which on rows can be read again."""

    def fails(start: int) -> bool:
        try:
            db.execute(f"SELECT * FROM {table} WHERE {key} > ? ORDER BY {key} LIMIT 1", (start,)).fetchone()
        except sqlite3.Error:
            return True
        return False

    step = 1
    while last + step < LARGEST and fails(last + step):
        step *= 2
    low, high = last + step // 2, min(last + step, LARGEST)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if fails(middle) else (low, middle)
    log.warning("the rows between %d and %d of %s cannot be read", last, high, table)
    return high


def marks(path: Path) -> tuple[list[tuple[Any, ...]], str | None]:
    """Return the readable rows of `progress` of a damaged hot.db, and the store's identity, None if it cannot be read."""
    db = opened(path)
    if db is None:
        return [], None
    with closing(db):
        marks_: list[tuple[Any, ...]] = []
        identity = None
        try:
            marks_.extend(db.execute("SELECT producer, epoch, last, lost, seen FROM progress"))
        except sqlite3.Error as error:
            log.error("%s: only %d rows of the producers' progress can be read: %s", path.name, len(marks_), error)
        try:
            row = db.execute("SELECT value FROM meta WHERE key='identity'").fetchone()
            identity = str(row[0]) if row else None
        except sqlite3.Error as error:
            log.error("%s: %s", path.name, error)
        return marks_, identity


def frames(path: Path) -> Iterator[list[Frame]]:
    """Yield the readable readings of a damaged hot.db in order of arrival, at most ROWS at a time."""
    db = opened(path)
    if db is None:
        return
    with closing(db):
        batch: list[Frame] = []
        for _, layout, time, payload in rows(db, "frame", "layout, ts, v", "seq"):
            batch.append((layout, time, payload))
            if len(batch) == ROWS:
                yield batch
                batch = []
        if batch:
            yield batch


def axes(path: Path) -> Iterator[tuple[Year, Axis]]:
    """Yield each axis of a damaged year with its readable chunks."""
    db = opened(path)
    if db is None:
        return
    with closing(db):
        members: dict[int, list[int]] = {}
        for k, axis in rows(db, "chunk", "axis", "k"):
            members.setdefault(axis, []).append(k)
        year = Year(db)
        for axis in sorted(members):
            chunks = [(k >> history.DAY_BITS, block) for k in members[axis] if (block := _block(db, k)) is not None]
            if chunks:
                yield year, (axis, chunks)


def _block(db: sqlite3.Connection, k: int) -> bytes | None:
    try:
        row = db.execute("SELECT v FROM chunk WHERE k=?", (k,)).fetchone()
        if row is None:
            return None
        blocks.decode_floats(row[0])
    except (sqlite3.Error, StoreDamaged) as error:
        log.warning("chunk %d cannot be read: %s", k, error)
        return None
    block: bytes = row[0]
    return block


def catalog(folder: Path) -> Path | None:
    """Recreate a damaged catalog from its readable rows and the copies in the years; return the path of the old one.

    No other process may write the store meanwhile. Raises OSError if the disk refuses.
    """
    path = schema.catalog_file(folder)
    aside = schema.move_aside(path) if path.exists() else None
    new = schema.create(path, schema.CATALOG_PAGE, schema.CATALOG)
    with closing(new), schema.refusing(path), schema.transaction(new):
        sources = [aside] if aside else []
        for source in [*sources, *reversed(history.files(folder).values())]:
            db = opened(source)
            if db is not None:
                with closing(db):
                    _copy_names(db, new)
    return aside


def _copy_names(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    for table, columns in (
        ("device", "id, name"),
        ("series", "id, device, name, unit, kind, rollover"),
        ("layout", "id, device, sids"),
        ("word", "id, text"),
        ("replacement", "series, ts"),
    ):
        marks_ = ", ".join("?" * (columns.count(",") + 1))
        try:
            for row in old.execute(f"SELECT {columns} FROM {table}"):
                new.execute(f"INSERT OR IGNORE INTO {table}({columns}) VALUES({marks_})", row)
        except sqlite3.Error as error:
            log.warning("%s: %s", table, error)
