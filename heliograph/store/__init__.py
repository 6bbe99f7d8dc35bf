"""The store: every reading, for ten years.

`open_writer` for the one process that writes, `open_reader` for everyone else;
interface.py says what both promise.
"""

import importlib
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from heliograph.errors import ConfigError
from heliograph.store.interface import FOR_EVER, Keep, Reader, Writer
from heliograph.store.reader import SqliteReader
from heliograph.store.writer import SqliteWriter


def folder(data: Path) -> Path:
    """Return where the store is below a node's data folder."""
    return data / "store"


def open_writer(
    data: Path,
    believe_clock: Callable[[], bool] = lambda: True,
    *,
    url: str = "",
    keep: Keep = FOR_EVER,
    now: Callable[[], float] = time.time,
) -> Writer:
    """Open the store of a data folder, or the one that a postgresql:// URL names, for writing; raise OSError, StoreDamaged or ConfigError.

    Readings from the future are refused only while `believe_clock()` says that the system clock
    is right. `now` says when housekeeping is due, in seconds UTC.
    """
    if url:
        writer: Writer = _postgres().open_postgres_writer(url, believe_clock, keep, now)
        return writer
    return SqliteWriter(folder(data), believe_clock, keep, now)


def open_reader(data: Path, *, url: str = "") -> Reader:
    """Return a reader of the store of a data folder, or of the one that a URL names; it need not be there yet."""
    if url:
        reader: Reader = _postgres().open_postgres_reader(url)
        return reader
    return SqliteReader(folder(data))


def _postgres() -> ModuleType:
    """Return what is imported only where it is used: a Pi has better things to do with the memory."""
    try:
        return importlib.import_module("heliograph.store.postgres")
    except ImportError as error:
        raise ConfigError(f"a store on PostgreSQL needs psycopg and libpq: {error}") from None
