"""What can be saved of an uploader.db that is damaged: it is moved aside, and read row by row."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

from heliograph.store import schema

TARGETS = "SELECT name, options, paused, state FROM target"
DEAD_LETTERS = "SELECT target, added, reason, row, retry FROM dead_letter ORDER BY id"


class Saved(NamedTuple):
    """Rows of the two tables that could be read, and where the damaged file is now."""

    targets: list[tuple[Any, ...]]
    dead_letters: list[tuple[Any, ...]]
    moved_to: Path


def is_damaged(path: Path) -> bool:
    """Whether a file is no sound database; raise sqlite3.OperationalError, OSError if it cannot be read now."""
    if not path.exists():
        return False
    wal = path.with_name(path.name + "-wal")
    if not path.stat().st_size:  # what a power cut leaves, unless everything is still in the log
        return not (wal.exists() and wal.stat().st_size)
    try:
        with closing(sqlite3.connect(path)) as db:
            return bool(db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",))
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        return True


def move_aside(path: Path) -> Saved:
    """Rename a damaged file, and return what can be read of it; raise OSError."""
    moved = schema.move_aside(path)
    with closing(sqlite3.connect(moved)) as db:
        return Saved(list(_rows(db, TARGETS)), list(_rows(db, DEAD_LETTERS)), moved)


def _rows(db: sqlite3.Connection, query: str) -> Iterator[tuple[Any, ...]]:
    """Yield rows until one cannot be read."""
    with suppress(sqlite3.Error, UnicodeError):
        yield from db.execute(query)
