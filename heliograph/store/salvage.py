"""Reads what is still readable in a damaged file, so that it can be stored again: names, and the values of a year."""

import logging
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

from heliograph import topics
from heliograph.errors import StoreDamaged
from heliograph.store import blocks, copied_names, damaged_files, history, rescalings, row_types, year_keys
from heliograph.store.copied_names import CopiedNames
from heliograph.store.rescalings import Log
from heliograph.store.tiers import GRAINS, Grain

log = logging.getLogger(__name__)


def names(path: Path) -> CopiedNames:
    """Return the names that can be read in a damaged file."""
    db = damaged_files.opened(path)
    copies = CopiedNames(whole=False)
    if db is not None:
        with closing(db):
            copies = copied_names.read(db)
            if copies.whole and damaged_files.passes_check(db):
                return copies
    return _scanned_names(path, copies)


def _scanned_names(path: Path, copies: CopiedNames) -> CopiedNames:
    """Add the names in pages that SQLite does not reach: rows of series and layouts have a shape of their own.

    Devices and words look alike, but for the slash between node and device.
    """
    texts: list[tuple[int, str]] = []
    for number, row in damaged_files.rows_of_pages(path):
        for table in ("series", "layout") if damaged_files.kind(path) != "history" else ("series",):
            if row[0] is None and row_types.fits(table, (number, *row[1:])):
                copies.table(table).setdefault(number, row[1:])
        if row[0] is None and row_types.fits("word", (number, *row[1:])):
            texts.append((number, str(row[1])))
    owners = {row[0] for row in copies.series.values()}
    for number, text in texts:
        looks_like_a_device = text.count("/") == 1 and all(map(topics.is_name, text.split("/")))
        if looks_like_a_device and number in owners:
            copies.device.setdefault(number, (text,))
        elif not looks_like_a_device:
            copies.word.setdefault(number, (text,))
    return copies


def rescaled(path: Path) -> Log | None:
    """Return the rescalings that the values of a damaged file have had; None if that cannot be read."""
    db = damaged_files.opened(path)
    if db is None:
        return None
    with closing(db):
        try:
            return rescalings.read(db)
        except (sqlite3.Error, StoreDamaged) as error:
            log.error("%s: its rescalings cannot be read: %s", path.name, error)
            return None


def highest(path: Path) -> dict[str, int]:
    """Return the highest numbers that a file which was moved aside uses, by table of names."""
    used = used_numbers(names(path))
    db = damaged_files.opened(path)
    if db is not None:
        with closing(db):
            used = larger(used, history.highest(db))
            if damaged_files.passes_check(db):
                return used
    for number, row in damaged_files.rows_of_pages(path):
        match row:
            case (None, int(), int(), int() | float(), bytes()) | (None, bytes()):  # a chunk, or cells
                table, there = "series", number >> history.DAY_BITS
            case (None, int(), int(), bytes(), bytes()):
                table, there = "device", history.axis_owner(number)[0]
            case (None, int() as there, int(), bytes()) | (None, int() as there, int(), bytes(), int() | None):
                table = "layout"
            case _:
                continue
        if there <= row_types.LIMITS[table]:  # a key that is damaged leaves no number to be given
            used = larger(used, {table: there})
    return used


def used_numbers(copies: CopiedNames) -> dict[str, int]:
    """Return the highest number of each table of names."""
    return {table: max(copies.table(table), default=0) for table in copied_names.COLUMNS}


def larger(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """Return the larger number of each table."""
    return {table: max(one.get(table, 0), other.get(table, 0)) for table in {*one, *other}}


class Part(NamedTuple):
    """The readable values of one series in a UTC day: key of their axis, block."""

    axis: int
    block: bytes


class DamagedYear:
    """What can be read of a damaged year."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = damaged_files.opened(path)
        self._parts: dict[int, Part] = {}  # those that SQLite does not reach
        self._axes: dict[int, tuple[bytes, bytes]] = {}
        self.names = names(path)
        self.lost: dict[int, int] = {}  # values of the chunks that cannot be read, by key; -1: unknown how many
        self.sound = self._db is not None and damaged_files.passes_check(self._db) and year_keys.are_whole(self._db)
        self._members = self._listed()
        if not self.sound:
            self._scan()

    def close(self) -> None:
        """Close the file."""
        if self._db is not None:
            self._db.close()

    def axes(self) -> Iterator[tuple[int, list[tuple[int, bytes]]]]:
        """Yield the key of each axis, with series and block of its readable chunks."""
        members: dict[int, list[int]] = {}
        for k, axis in self._members.items():
            members.setdefault(axis, []).append(k)
        for axis in sorted(members):
            device_day = history.axis_owner(axis)[1]
            chunks = [
                (k >> history.DAY_BITS, block)
                for k in members[axis]
                if k & ((1 << history.DAY_BITS) - 1) == device_day and (block := self._block(k)) is not None
            ]
            if chunks:
                yield axis, chunks

    def axis(self, k: int) -> tuple[bytes, bytes] | None:
        """Return the blocks of times and of numbers of arrival of an axis; None if they cannot be read."""
        row: tuple[bytes, bytes] | None = None
        if self._db is not None:
            with suppress(sqlite3.Error):
                row = self._db.execute("SELECT t, s FROM axis WHERE k=?", (k,)).fetchone()
        return row if row is not None and all(map(_is_column, row)) else self._axes.get(k)

    def cells(self, grain: Grain, level: str) -> Iterator[tuple[int, bytes]]:
        """Yield key and blob of the rows of cells that can be read."""
        if self._db is not None:
            yield from (
                (k, blob)
                for k, blob in damaged_files.rows_of_table(self._db, f"{grain.name}_{level}", "b", "k")
                if isinstance(blob, bytes)
            )

    def _listed(self) -> dict[int, int]:
        """Return the key of the axis of each chunk, by the chunk's key."""
        if self._db is None:
            return {}
        return {
            k: axis for k, axis in damaged_files.rows_of_table(self._db, "chunk", "axis", "k") if isinstance(axis, int)
        }

    def _block(self, k: int) -> bytes | None:
        block = None
        if self._db is not None:
            with suppress(sqlite3.Error):
                row = self._db.execute("SELECT v FROM chunk WHERE k=?", (k,)).fetchone()
                block = row[0] if row else None
        if not _is_column(block, blocks.decode_floats):
            self.lost[k] = blocks.length(block) if isinstance(block, bytes) else -1
            block = self._parts[k].block if k in self._parts else None
        if block is not None:
            self.lost.pop(k, None)
        return block

    def _scan(self) -> None:
        for number, row in damaged_files.rows_of_pages(self._path):
            match row:
                case (None, int() as axis, int(), int() | float(), bytes() as block):
                    if _is_column(block, blocks.decode_floats) and self._is_better(number, block):
                        self._parts[number] = Part(axis, block)
                        self._members.setdefault(number, axis)
                case (None, int(), int(), bytes() as times, bytes() as numbers):
                    if _is_column(times) and _is_column(numbers):
                        self._axes[number] = (times, numbers)

    def _is_better(self, k: int, block: bytes) -> bool:
        """Whether a block replaces the one before: a page that is not used any more has fewer values."""
        return k not in self._parts or blocks.length(block) >= blocks.length(self._parts[k].block)


def _is_column(block: object, decode: Any = blocks.decode_ints) -> bool:
    if not isinstance(block, bytes):
        return False
    try:
        decode(block)
    except StoreDamaged:
        return False
    return True


def levels() -> Iterator[tuple[Grain, str]]:
    """Yield the tables of cells."""
    for grain in GRAINS:
        for level in ("day", *reversed(grain.closed)):
            yield grain, level
