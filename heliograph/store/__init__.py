"""The store: every reading, for ten years.

`open_writer` for the one process that writes, `open_reader` for everyone else;
interface.py says what both promise.
"""

from collections.abc import Callable
from pathlib import Path

from heliograph.store.interface import Reader, Writer
from heliograph.store.reader import SqliteReader
from heliograph.store.writer import SqliteWriter


def folder(data: Path) -> Path:
    """Return where the store is below a node's data folder."""
    return data / "store"


def open_writer(data: Path, believe_clock: Callable[[], bool] = lambda: True) -> Writer:
    """Open the store of a data folder for writing; raise OSError or StoreDamaged.

    Readings from the future are refused only while `believe_clock()` says that the system clock is right.
    """
    return SqliteWriter(folder(data), believe_clock)


def open_reader(data: Path) -> Reader:
    """Return a reader of the store of a data folder, which need not be there yet."""
    return SqliteReader(folder(data))
