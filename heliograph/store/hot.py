"""`hot.db`, opened by the one process that writes it: readings that are not sealed yet."""

import logging
import shutil
import sqlite3
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from heliograph.errors import StoreDamaged
from heliograph.store import damaged_files, damaged_hot, row_types, schema, years
from heliograph.store.names import Names

Row = tuple[int, int, int, bytes]  # number of arrival, layout, ms UTC, payload

log = logging.getLogger(__name__)

ROOM = 1_024_000  # bytes after which SQLite starts its WAL from the beginning again
FREE = 64 * ROOM
JUMP = 10_000_000  # numbers of arrival: more than a damaged hot.db can have given without a trace


def opened(folder: Path, now: float, identity: str = "") -> sqlite3.Connection:
    """Open hot.db for the one connection that writes it; raise OSError. A new one gets the identity of the store, if it has one.

    A damaged file is moved aside and salvaged later: new readings must not wait for that.
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
        log.error("%s; moving it aside and salvaging readable data", error)
        schema.move_aside(path)
        db = schema.create(path, schema.HOT_PAGE, schema.HOT)
    with ExitStack() as unfinished:
        unfinished.callback(db.close)
        with schema.refusing(path):
            if not any(column[1] == "crc" for column in db.execute("PRAGMA table_info(frame)")):
                db.execute("ALTER TABLE frame ADD COLUMN crc INT")
            _take_over(db, folder, identity)
            db.execute("INSERT OR IGNORE INTO meta VALUES('sealed_at', ?)", (now,))
        _make_room(db, folder)
        unfinished.pop_all()
    return db


def next_number(db: sqlite3.Connection, folder: Path) -> int:
    """Return the next number of arrival, which no reading has had."""
    newest = int(schema.one(db, "SELECT coalesce(max(seq), 0) FROM frame"))
    sealed = years.newest_arrival(folder)
    last_sealed = db.execute("SELECT value FROM meta WHERE key='last'").fetchone()
    if last_sealed is not None and max(newest, int(last_sealed[0])) >= sealed:
        return max(newest, int(last_sealed[0])) + 1
    # this hot.db is new, or an older one was restored: another file may have given numbers without a trace
    last = max(newest, sealed)
    if sealed or any(folder.glob("hot.db.*-*")):
        last += JUMP
    db.execute("INSERT OR REPLACE INTO meta VALUES('last', ?)", (last,))
    return last + 1


class Oldest(NamedTuple):
    """The oldest readings in order of arrival, and the numbers of the rows among them that are not as they were written."""

    rows: list[Row]
    broken: list[int]


def oldest(db: sqlite3.Connection, limit: int, names: Names) -> Oldest:
    """Return at most `limit` readings."""
    typed = db.execute(
        f"SELECT seq, layout, ts, v, crc FROM frame WHERE {schema.TYPED_CRC} ORDER BY seq LIMIT ?", (limit,)
    ).fetchall()
    last = typed[-1][0] if len(typed) == limit else row_types.ARRIVALS
    broken = [
        number
        for (number,) in db.execute(f"SELECT seq FROM frame WHERE seq <= ? AND NOT ({schema.TYPED_CRC})", (last,))
    ]
    rows: list[Row] = []
    sizes = {number: 8 * len(layout.series) for number, layout in names.layouts.items()}
    crc_of, fits = schema.frame_crc, row_types.fits
    for row in typed:
        *frame, crc = row
        is_as_written = fits("frame", frame) if crc is None else crc == crc_of(*frame)
        if is_as_written and sizes.get(row[1]) == len(row[3]):
            rows.append(row[:4])
        else:
            broken.append(row[0])
    return Oldest(rows, broken)


def broken_rows(numbers: Collection[int]) -> str:
    """Return what to report of rows that are not as they were written."""
    return (
        f"hot.db was damaged: {len(numbers)} readings from number of arrival {min(numbers)} on are not as they were written; "
        "they are set aside in its table `damaged`"
    )


def set_aside(db: sqlite3.Connection, numbers: Collection[int]) -> None:
    """Move rows that are not as they were written into the table `damaged`."""
    with schema.transaction(db):
        for number in numbers:
            db.execute("INSERT INTO damaged SELECT seq, layout, ts, v, crc FROM frame WHERE seq = ?", (number,))
            db.execute("DELETE FROM frame WHERE seq = ?", (number,))


def _take_over(db: sqlite3.Connection, folder: Path, identity: str) -> None:
    """Copy progress and identity of the damaged file that a new one replaces, whenever it was moved aside."""
    if db.execute("SELECT 1 FROM meta WHERE key='identity'").fetchone():
        return
    aside = [path for path in damaged_files.damaged(folder) if damaged_files.kind(path) == "hot"]
    marks, theirs = damaged_hot.marks(aside[-1]) if aside else ([], "")
    with schema.transaction(db):
        db.executemany("INSERT OR REPLACE INTO progress VALUES(?, ?, ?, ?, ?)", marks)
        if identity or theirs:
            db.execute("INSERT INTO meta VALUES('identity', ?)", (identity or theirs,))


def _check(db: sqlite3.Connection, path: Path) -> None:
    with schema.refusing(path):
        verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise StoreDamaged(f"{path}: {verdict}")
        if why := row_types.wrong(db):
            raise StoreDamaged(f"{path}: {why}")


def _make_room(db: sqlite3.Connection, folder: Path) -> None:
    """Give the WAL its final size from the start: appending costs the card twice as much as overwriting."""
    wal = schema.hot_file(folder).with_name("hot.db-wal")
    if shutil.disk_usage(folder).free < FREE or (wal.exists() and wal.stat().st_size >= ROOM):
        return
    with schema.refusing(folder):
        db.execute("INSERT OR REPLACE INTO meta VALUES('room', zeroblob(?))", (ROOM,))
        db.execute("DELETE FROM meta WHERE key='room'")
