"""Reads what is still readable in a damaged file, so that it can be stored again.

A damaged file is moved aside as NAME.damaged-WHEN. When everything readable is salvaged, it
is renamed to NAME.salvaged-WHEN, and may be deleted. What SQLite does not reach any more, because the first page
or a node of a tree is damaged, is read page by page (pages.py).
"""

import logging
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, cast

from heliograph import topics
from heliograph.errors import StoreDamaged
from heliograph.store import blocks, copied_names, history, pages, rescalings, row_types, schema, year_keys
from heliograph.store.copied_names import CopiedNames, Rows
from heliograph.store.rescalings import Log
from heliograph.store.tiers import GRAINS, Grain

log = logging.getLogger(__name__)

ROWS = 500
JUMP = 1_000_000  # numbers of arrival: more than any hot.db has
_ASIDE = re.compile(r"(hot|catalog|history-([0-9]{4})(-tiers)?)\.db\.damaged-[^-]+-[0-9]+")

Frame = tuple[int, int, bytes]  # layout, ms UTC, payload


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
        return _is_sound(db) and (kind(path) != "hot" or (db is not None and _has_frames(db)))
    finally:
        if db is not None:
            db.close()


def _has_frames(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM sqlite_master WHERE name='frame'").fetchone() is not None


def _is_sound(db: sqlite3.Connection | None) -> bool:
    if db is None:
        return False
    with suppress(sqlite3.Error):
        return bool(db.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
    return False


def names(path: Path) -> CopiedNames:
    """Return the names that can be read in a damaged file."""
    db = opened(path)
    copies = CopiedNames(whole=False)
    if db is not None:
        with closing(db):
            copies = copied_names.read(db)
            if copies.whole and _is_sound(db):
                return copies
    return _scanned_names(path, copies)


def _scanned_names(path: Path, copies: CopiedNames) -> CopiedNames:
    """Add the names in pages that SQLite does not reach: rows of series and layouts have a shape of their own.

    Devices and words look alike, but for the slash between node and device.
    """
    texts: list[tuple[int, str]] = []
    for number, row in _rows(path):
        for table in ("series", "layout") if kind(path) != "history" else ("series",):
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


def _table(db: sqlite3.Connection, table: str, columns: str, key: str) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a table that can be read; none if there is no such table."""
    with suppress(sqlite3.Error):
        db.execute(f"SELECT {key}, {columns} FROM {table} LIMIT 0")
        yield from Rows(db, table, columns, key)


def _rows(path: Path) -> Iterator[pages.Row]:
    try:
        yield from pages.rows(path, schema.HOT_PAGE if kind(path) == "hot" else history.PAGE)
    except OSError as error:
        log.error("%s: %s", path.name, error)


def rescaled(path: Path) -> Log | None:
    """Return the rescalings that the values of a damaged file have had; None if that cannot be read."""
    db = opened(path)
    if db is None:
        return None
    with closing(db):
        try:
            return rescalings.read(db)
        except (sqlite3.Error, StoreDamaged) as error:
            log.error("%s: its rescalings cannot be read: %s", path.name, error)
            return None


def marks(path: Path) -> tuple[list[tuple[Any, ...]], str | None]:
    """Return the readable rows of `progress` of a damaged hot.db, and the store's identity, None if it cannot be read."""
    db = opened(path)
    if db is None:
        return [], None
    with closing(db):
        marks_: list[tuple[Any, ...]] = []
        identity = None
        try:
            rows = db.execute("SELECT producer, epoch, last, lost, seen FROM progress")
            marks_.extend(row for row in rows if row_types.fits("progress", row))
        except sqlite3.Error as error:
            log.error("%s: only %d rows of the producers' progress can be read: %s", path.name, len(marks_), error)
        try:
            value = schema.meta(db, "identity")
            identity = value if row_types.META["identity"](value) else None
        except sqlite3.Error as error:
            log.error("%s: %s", path.name, error)
        return marks_, identity


def frames(path: Path, sealed: Callable[[int], int]) -> dict[int, Frame]:
    """Return the readable readings of a damaged hot.db by number of arrival.

    Pages that the file no longer uses may have readings that are in the years: those up to the number that `sealed` returns,
    given the newest that the file has. Later ones in the years are of another hot.db, perhaps these readings, stored again.
    """
    frames_: dict[int, Frame] = {}
    db = opened(path)
    if db is not None:
        with closing(db):
            frames_ = {row[0]: row[1:4] for row in _frame_rows(db) if _is_frame(*row)}
            if _is_sound(db):
                return frames_
    scanned: dict[int, Frame] = {}
    for number, row in _rows(path):
        if row[0] is None and _is_frame(number, *row[1:]):
            scanned[number] = cast(Frame, row[1:4])
    last = sealed(max((*frames_, *scanned), default=0))
    return {number: frame for number, frame in scanned.items() if number > last} | frames_


def batches(frames_: dict[int, Frame]) -> Iterator[list[Frame]]:
    """Yield readings in order of arrival, at most ROWS at a time."""
    numbers = sorted(frames_)
    for begin in range(0, len(numbers), ROWS):
        yield [frames_[number] for number in numbers[begin : begin + ROWS]]


def broken_frames(path: Path) -> int:
    """Return how many rows of a damaged hot.db can be reached, and are not as they were written."""
    db = opened(path)
    if db is None:
        return 0
    with closing(db):
        return sum(not _is_frame(*row) for row in _frame_rows(db))


def gaps(frames_: dict[int, Frame]) -> int:
    """Return how many numbers of arrival between those of these readings are missing; jumps are no gaps."""
    steps = (after - before - 1 for before, after in pairwise(sorted(frames_)))
    return sum(step for step in steps if step < JUMP)


def _frame_rows(db: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    with suppress(sqlite3.Error):
        has_crc = any(column[1] == "crc" for column in db.execute("PRAGMA table_info(frame)"))
        yield from _table(db, "frame", "layout, ts, v, crc" if has_crc else "layout, ts, v", "seq")


def _is_frame(number: int, *row: Any) -> bool:
    if not row_types.fits("frame", (number, *row[:3])):
        return False
    return len(row) < 4 or row[3] is None or row[3] == schema.frame_crc(number, *row[:3])


class Part(NamedTuple):
    """The readable values of one series in a UTC day: key of their axis, block."""

    axis: int
    block: bytes


class DamagedYear:
    """What can be read of a damaged year."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = opened(path)
        self._parts: dict[int, Part] = {}  # those that SQLite does not reach
        self._axes: dict[int, tuple[bytes, bytes]] = {}
        self.names = names(path)
        self.lost: dict[int, int] = {}  # values of the chunks that cannot be read, by key; -1: unknown how many
        self.sound = self._db is not None and _is_sound(self._db) and year_keys.are_whole(self._db)
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
                (k, blob) for k, blob in _table(self._db, f"{grain.name}_{level}", "b", "k") if isinstance(blob, bytes)
            )

    def _listed(self) -> dict[int, int]:
        """Return the key of the axis of each chunk, by the chunk's key."""
        if self._db is None:
            return {}
        return {k: axis for k, axis in _table(self._db, "chunk", "axis", "k") if isinstance(axis, int)}

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
        for number, row in _rows(self._path):
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


def highest(path: Path) -> dict[str, int]:
    """Return the highest numbers that a file which was moved aside uses, by table of names."""
    used = used_numbers(names(path))
    db = opened(path)
    if db is not None:
        with closing(db):
            used = larger(used, history.highest(db))
            if _is_sound(db):
                return used
    for number, row in _rows(path):
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
