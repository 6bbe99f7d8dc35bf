"""Rewrites a closed year once, in order: rows that are read together are then stored together, without free pages.

Before, cells are in whatever page was free when a day or month was complete: a cold year of hours takes 291
requests to the card, and 20 when it is packed (benchmarks/store_cold.py).
"""

import logging
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from heliograph import durable
from heliograph.store import history, schema
from heliograph.store.year_keys import Keys
from heliograph.store.years import Years

log = logging.getLogger(__name__)


def is_packed(path: Path) -> bool:
    """Whether a year was packed, or has only cells."""
    with schema.reading(path) as db:
        return db.execute("SELECT 1 FROM meta WHERE key='packed'").fetchone() is not None


def pack(path: Path, number: int, years: Years) -> bool:
    """Rewrite a year; return False if the disk has no room for it, or another process reads the year now.

    Raises OSError if the disk refuses, StoreDamaged if the file cannot be read.
    """
    if shutil.disk_usage(path.parent).free < 2 * path.stat().st_size:
        return False
    years.forget(number)
    new = path.with_name(path.name + ".new")
    schema.delete(new)
    with schema.refusing(path), closing(sqlite3.connect(path, isolation_level=None, factory=schema.Connection)) as old:
        # The WAL belongs to the old file; the new one must not use it.
        busy = old.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            return False
        Keys(old).compare()  # a row that a damaged page hides would be gone for good
        old.execute("VACUUM INTO ?", (str(new),))
    with closing(schema.create(new, history.PAGE, history.SCHEMA)) as packed, schema.refusing(new):
        packed.execute("INSERT OR REPLACE INTO meta VALUES('packed', 1)")
    new.rename(path)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    durable.sync(path.parent)
    log.info("the year %d is packed: %.1f MB", number, path.stat().st_size / 1e6)
    return True
