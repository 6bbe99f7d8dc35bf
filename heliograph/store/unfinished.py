"""A rename in all files of a store, which is finished whatever happens: it is noted in the catalog before it begins.

Each file is changed in a transaction, which also notes in that file that it is done; the catalog comes last, and loses the
note. A writer that finds a note when it opens the store does the rest first, so nothing ever sees half of the rename but
readers while it lasts.
"""

import logging
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from heliograph.errors import StoreDamaged
from heliograph.renames import Rename
from heliograph.store import history, renaming, schema

log = logging.getLogger(__name__)

KEY, DONE = "unfinished", "changed_by"  # in the table meta: of the catalog, and of every other file


class Change(msgspec.Struct, frozen=True):
    """What is noted: a rename, and what distinguishes it from every other one."""

    id: str
    rename: Rename


def begin(folder: Path, rename: Rename) -> None:
    """Note a rename in the catalog, durably; the caller has the store's lock. Raises OSError, StoreDamaged."""
    text = msgspec.json.encode(Change(uuid.uuid4().hex, rename)).decode()
    with _transaction(schema.catalog_file(folder)) as db:
        db.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (KEY, text))


def finish(folder: Path) -> bool:
    """Do what is left of the rename that is noted, if there is one; return whether there was. The caller has the store's lock.

    A damaged year is left out: what can be read of it is stored again by its names, as always. Raises OSError, StoreDamaged.
    """
    change = _noted(folder)
    if change is None:
        return False
    apply = renaming.prepared(folder, change.rename)
    for path in [*history.files(folder).values(), schema.hot_file(folder)]:
        if not path.exists():
            continue  # SQLite would make an empty one
        try:
            with _transaction(path) as db:
                if schema.meta(db, DONE) != change.id:
                    apply(db, path)
                    db.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (DONE, change.id))
        except StoreDamaged as error:
            log.error("%s is left out: %s", path.name, error)
    with _transaction(schema.catalog_file(folder)) as db:
        apply(db, schema.catalog_file(folder))
        db.execute("DELETE FROM meta WHERE key = ?", (KEY,))
    return True


def _noted(folder: Path) -> Change | None:
    path = schema.catalog_file(folder)
    if not path.exists() or not path.stat().st_size:
        return None
    try:
        with schema.reading(path) as db:
            text = schema.meta(db, KEY)
        return None if text is None else msgspec.json.decode(text, type=Change)
    except (StoreDamaged, msgspec.DecodeError):
        return None  # the catalog is made again from the names in the other files


@contextmanager
def _transaction(path: Path) -> Iterator[sqlite3.Connection]:
    with schema.refusing(path), closing(sqlite3.connect(path, isolation_level=None, factory=schema.Connection)) as db:
        db.execute("PRAGMA synchronous=FULL")
        with schema.transaction(db):
            yield db
