"""Files of a store that were moved aside because they are damaged: their names, and reading them with and without SQLite.

A damaged file is moved aside as NAME.damaged-WHEN. When everything readable is salvaged, it
is renamed to NAME.salvaged-WHEN, and may be deleted. What SQLite does not reach any more, because the first page
or a node of a tree is damaged, is read page by page (pages.py).
"""

import logging
import re
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from heliograph.store import history, pages, schema
from heliograph.store.copied_names import Rows

log = logging.getLogger(__name__)

_ASIDE = re.compile(r"(hot|catalog|history-([0-9]{4})(-tiers)?)\.db\.damaged-[^-]+-[0-9]+")


def damaged(folder: Path) -> list[Path]:
    """Return the files that were moved aside and are not salvaged, the oldest first."""
    return sorted(path for path in folder.glob("*.damaged-*") if _ASIDE.fullmatch(path.name))


def kind(path: Path) -> str:
    """Return what a damaged file was: `hot`, `catalog` or `history`."""
    match = _ASIDE.fullmatch(path.name)
    return match[1].partition("-")[0] if match else ""


def year_of(path: Path) -> int | None:
    """Return the year of a damaged file; None for hot.db and catalog.db."""
    match = _ASIDE.fullmatch(path.name)
    return int(match[2]) if match and match[2] else None


def is_bare(path: Path) -> bool:
    """Whether a damaged file was a year whose points were dropped."""
    return "-tiers.db." in path.name


def done_name(path: Path) -> str:
    """Return the name that a damaged file gets when it is salvaged."""
    return path.name.replace(".damaged-", ".salvaged-")


def done(path: Path) -> Path:
    """Note that a damaged file is salvaged; return its new path."""
    renamed = path.with_name(done_name(path))
    for suffix in ("-shm", "-wal", ""):
        there = path.with_name(path.name + suffix)
        if there.exists():
            there.rename(renamed.with_name(renamed.name + suffix))
    return renamed


def opened(path: Path) -> sqlite3.Connection | None:
    """Open a damaged file for reading; return None if SQLite cannot open it."""
    if not path.stat().st_size:
        return None  # SQLite would delete its journal, which may have everything
    try:
        if missing := pages.pad(path):
            log.error("%s: the last %d bytes are missing", path.name, missing)
        db = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, factory=schema.Connection
        )
        db.text_factory = _text
        try:
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error:
            db.close()
            raise
    except (sqlite3.Error, OSError) as error:
        log.error("SQLite reads nothing of %s: %s", path.name, error)
        return None
    return db


def _text(data: bytes) -> str | bytes:
    """Return a text, or the bytes that are not one: one such row must not end the reading of all."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def is_sound(path: Path) -> bool:
    """Whether SQLite reads all of a file that was moved aside, and it is what it is called: it only contradicted the catalog."""
    db = opened(path)
    try:
        return passes_check(db) and (kind(path) != "hot" or (db is not None and _has_frames(db)))
    finally:
        if db is not None:
            db.close()


def passes_check(db: sqlite3.Connection | None) -> bool:
    """Whether SQLite finds no mistake in a file; None, for one that it does not open, does not pass."""
    if db is None:
        return False
    with suppress(sqlite3.Error):
        return bool(db.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
    return False


def _has_frames(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM sqlite_master WHERE name='frame'").fetchone() is not None


def rows_of_table(db: sqlite3.Connection, table: str, columns: str, key: str) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a table that can be read; none if there is no such table."""
    with suppress(sqlite3.Error):
        db.execute(f"SELECT {key}, {columns} FROM {table} LIMIT 0")
        yield from Rows(db, table, columns, key)


def rows_of_pages(path: Path) -> Iterator[pages.Row]:
    """Yield the rows in the pages of a file, also of those that SQLite does not reach; a disk that does not answer ends them."""
    try:
        yield from pages.rows(path, schema.HOT_PAGE if kind(path) == "hot" else history.PAGE)
    except OSError as error:
        log.error("%s: %s", path.name, error)
