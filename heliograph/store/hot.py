"""`hot.db`: what arrived and is not sealed yet, for the one process that writes it."""

import logging
import shutil
import sqlite3
from pathlib import Path

from heliograph.errors import StoreDamaged
from heliograph.store import salvage, schema, years

log = logging.getLogger(__name__)

ROOM = 1_024_000  # bytes: where SQLite begins to write its WAL from the start again
FREE = 64 * ROOM
JUMP = 10_000_000  # numbers of arrival: more than a damaged hot.db can have given that nobody knows of


def opened(folder: Path, now: float) -> sqlite3.Connection:
    """Open hot.db for the one connection that writes it; raise OSError.

    A damaged one is moved aside, to be salvaged: what arrives must not wait for it.
    """
    path = schema.hot_file(folder)
    try:
        db = schema.create(path, schema.HOT_PAGE, schema.HOT)
        try:
            _check(db, path)
        except StoreDamaged:
            db.close()
            raise
    except StoreDamaged as error:
        if path.stat().st_size and schema.is_of_other_format(path):
            raise
        log.error("%s; it is moved aside, and what can be read is salvaged", error)
        schema.move_aside(path)
        db = schema.create(path, schema.HOT_PAGE, schema.HOT)
    with schema.refusing(path):
        _take_over(db, folder)
        db.execute("INSERT OR IGNORE INTO meta VALUES('sealed_at', ?)", (now,))
    _make_room(db, folder)
    return db


def next_number(db: sqlite3.Connection, folder: Path) -> int:
    """Return the next number of arrival, which nothing ever had."""
    newest = int(schema.one(db, "SELECT coalesce(max(seq), 0) FROM frame"))
    sealed = years.newest_arrival(folder)
    found = db.execute("SELECT value FROM meta WHERE key='last'").fetchone()
    if found is not None and max(newest, int(found[0])) >= sealed:
        return max(newest, int(found[0])) + 1
    # this hot.db is new, or an older one was put back: others may have given numbers that nobody knows of
    last = max(newest, sealed)
    if sealed or any(folder.glob("hot.db.*-*")):
        last += JUMP
    db.execute("INSERT OR REPLACE INTO meta VALUES('last', ?)", (last,))
    return last + 1


def _take_over(db: sqlite3.Connection, folder: Path) -> None:
    """Let a new file begin with the progress and identity of the damaged one that it replaces, whenever that was moved aside."""
    aside = [path for path in salvage.damaged(folder) if salvage.year_of(path) is None]
    if not aside or db.execute("SELECT 1 FROM meta WHERE key='identity'").fetchone():
        return
    marks, identity = salvage.marks(aside[-1])
    with schema.transaction(db):
        db.executemany("INSERT OR REPLACE INTO progress VALUES(?, ?, ?, ?, ?)", marks)
        if identity:
            db.execute("INSERT INTO meta VALUES('identity', ?)", (identity,))


def _check(db: sqlite3.Connection, path: Path) -> None:
    with schema.refusing(path):
        found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise StoreDamaged(f"{path}: {found}")


def _make_room(db: sqlite3.Connection, folder: Path) -> None:
    """Let the WAL have its final size from the start: appending costs the card twice what overwriting does (storage.md 3.2)."""
    wal = schema.hot_file(folder).with_name("hot.db-wal")
    if shutil.disk_usage(folder).free < FREE or (wal.exists() and wal.stat().st_size >= ROOM):
        return
    with schema.refusing(folder):
        db.execute("INSERT OR REPLACE INTO meta VALUES('room', zeroblob(?))", (ROOM,))
        db.execute("DELETE FROM meta WHERE key='room'")
