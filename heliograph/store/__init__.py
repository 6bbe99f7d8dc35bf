"""The store: every reading, for ten years.

`open_writer` is for the one process that writes, `open_reader` for all others;
interface.py is the contract of both.
"""

import importlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from heliograph.errors import ConfigError
from heliograph.renames import Rename
from heliograph.store import renaming, whole_store
from heliograph.store.damage import Damage
from heliograph.store.interface import FOR_EVER, Keep, Reader, Writer
from heliograph.store.reader import SqliteReader
from heliograph.store.rename_plan import Renaming
from heliograph.store.rescalings import Entry, Rescaling
from heliograph.store.writer import SqliteWriter


def folder(data: Path) -> Path:
    """Return the folder of the store below a node's data folder."""
    return data / "store"


def open_writer(
    data: Path,
    clock_is_right: Callable[[], bool] = lambda: True,
    *,
    url: str = "",
    keep: Keep = FOR_EVER,
    now: Callable[[], float] = time.time,
    nodes: Sequence[str] = (),
) -> Writer:
    """Open a store for writing: the files of a data folder, or the database of a postgresql:// URL.

    Raises OSError, StoreDamaged or ConfigError. Readings from the future are refused only while `clock_is_right` returns True. `now` returns the time of the clock by
    which they are from the future, and by which housekeeping is due, in seconds UTC. Files have one writer at a time, a database one per node of `nodes`: another raises Taken.
    """
    if url:
        writer: Writer = _postgres().open_postgres_writer(url, clock_is_right, keep, now, nodes)
        return writer
    return SqliteWriter(folder(data), clock_is_right, keep, now)


def open_reader(data: Path, *, url: str = "", damage: Damage | None = None) -> Reader:
    """Return a reader of the store of a data folder, or of the database of a URL; the store may not exist yet.

    Readers of one folder that share `damage` report what any of them could not read.
    """
    if url:
        reader: Reader = _postgres().open_postgres_reader(url)
        return reader
    return SqliteReader(folder(data), damage)


def rename(data: Path, entry: Rename, *, url: str = "", dry_run: bool = False) -> Renaming:
    """Rename a node, a device or a channel in the store of a data folder or of a database; with `dry_run` only say what it would do.

    Raises CannotRename, with nothing changed, Taken while storage runs, StoreAway, StoreDamaged, OSError, ConfigError.
    """
    if url:
        done: Renaming = _postgres().rename_in_database(url, entry, dry_run=dry_run)
        return done
    if dry_run:
        return renaming.check(folder(data), entry.old, entry.new)
    return whole_store.rename(folder(data), entry)


def rescale(data: Path, change: Rescaling, *, url: str = "", again: int = 0) -> Entry | None:
    """Convert all values of a series in the store of a data folder or of a database; its name and its arrivals stay.

    Returns the rescaling, with nothing changed, if it was the last one of the series already, unless it has the number `again`. Raises CannotRescale, with nothing changed, Taken while storage runs, StoreAway, StoreDamaged, OSError, ConfigError.
    """
    if url:
        done: Entry | None = _postgres().rescale_in_database(url, change, again)
        return done
    return whole_store.rescale(folder(data), change, again)


def _postgres() -> ModuleType:
    """Import the PostgreSQL store only where it is used: it needs memory that a Pi has not."""
    try:
        return importlib.import_module("heliograph.store.postgres")
    except ImportError as error:
        raise ConfigError(f"a store on PostgreSQL needs psycopg and libpq: {error}") from None
