"""The names in a file of the store: each file but the catalog has copies of those that its numbers stand for.

So a catalog that is lost is made again from them, and a file whose copies contradict the catalog is found: its readings
are stored again by name, because its numbers would give them to other series.
"""

import logging
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from heliograph import renames
from heliograph.store import row_types, schema

log = logging.getLogger(__name__)

ROWS = 500
LARGEST = 1 << 62
COLUMNS = {  # of the tables with copies, the key first
    "device": "id, name",
    "series": "id, device, name, unit, kind, rollover",
    "layout": "id, device, sids",
    "word": "id, text",
}


@dataclass
class CopiedNames:
    """What the numbers of devices, series, layouts and words stand for, by the copies in one file."""

    device: dict[int, tuple[str]] = field(default_factory=dict)
    series: dict[int, tuple[int, str, str, str, float]] = field(
        default_factory=dict
    )  # device, channel, unit, kind, rollover
    layout: dict[int, tuple[int, bytes]] = field(default_factory=dict)  # device, sids
    word: dict[int, tuple[str]] = field(default_factory=dict)
    replacements: set[tuple[int, int]] = field(default_factory=set)  # series, ms UTC
    renames: str = ""  # as JSON, of hot.db and the catalog
    whole: bool = True  # whether every row could be read

    def table(self, name: str) -> dict[int, tuple[Any, ...]]:
        """Return the rows of a table of COLUMNS, by number."""
        rows: dict[int, tuple[Any, ...]] = getattr(self, name)
        return rows


def read(db: sqlite3.Connection) -> CopiedNames:
    """Return the names that can be read in a file, however damaged it is."""
    names = CopiedNames()
    try:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type='table'")}
    except sqlite3.Error:
        names.whole = False
        return names
    for table, columns in COLUMNS.items():
        if table not in tables:
            continue
        rows = Rows(db, table, columns.removeprefix("id, "), "id")
        for number, *row in rows:
            if row_types.fits(table, (number, *row)):
                names.table(table)[number] = tuple(row)
            else:
                names.whole = False
        names.whole &= rows.whole
    if "replacement" in tables:
        try:
            rows_ = db.execute("SELECT series, ts FROM replacement").fetchall()
            names.replacements.update(row for row in rows_ if row_types.fits("replacement", row))
        except sqlite3.Error as error:
            log.warning("replacement: %s", error)
    if "meta" in tables:
        try:
            text = schema.meta(db, renames.KEY)
        except sqlite3.Error as error:
            log.warning("the renames: %s", error)
        else:
            names.renames = text if row_types.META[renames.KEY](text) else ""
    return names


def contradiction(catalog: CopiedNames, copies: CopiedNames) -> str:
    """Return a name or number that copies and catalog give to different things, as a sentence; empty if there is none."""
    for table in COLUMNS:
        theirs = {number: _meaning(table, row) for number, row in copies.table(table).items()}
        ours = {number: _meaning(table, row) for number, row in catalog.table(table).items()}
        numbers = {meaning: number for number, meaning in ours.items()}
        for number, meaning in theirs.items():
            if ours.get(number, meaning) != meaning:
                return f"{table} {number} is {meaning}, and {ours[number]} in the catalog"
            if numbers.get(meaning, number) != number:
                return f"{table} {meaning} has the number {number}, and {numbers[meaning]} in the catalog"
    return ""


def _meaning(table: str, row: tuple[Any, ...]) -> tuple[Any, ...]:
    return row[:2] if table == "series" else row


def adopt(db: sqlite3.Connection, copies: CopiedNames) -> None:
    """Add names to a catalog, in the open transaction; series and layouts of a device that is not known are left out."""
    known = {number for (number,) in db.execute("SELECT id FROM device")} | copies.device.keys()
    for table, columns in COLUMNS.items():
        rows = [
            (number, *row)
            for number, row in copies.table(table).items()
            if table not in ("series", "layout") or row[0] in known
        ]
        db.executemany(f"INSERT OR IGNORE INTO {table}({columns}) VALUES({_marks(columns)})", rows)
    db.executemany("INSERT OR IGNORE INTO replacement VALUES(?, ?)", copies.replacements)
    if copies.renames:
        db.execute("INSERT OR IGNORE INTO meta VALUES(?, ?)", (renames.KEY, copies.renames))


def put(db: sqlite3.Connection, names: CopiedNames) -> None:
    """Write copies of names into hot.db, in place of older ones, in the open transaction."""
    for table, columns in COLUMNS.items():
        rows = [(number, *row) for number, row in names.table(table).items()]
        db.executemany(f"INSERT OR REPLACE INTO {table}({columns}) VALUES({_marks(columns)})", rows)
    db.executemany("INSERT OR IGNORE INTO replacement VALUES(?, ?)", names.replacements)
    if names.renames:
        db.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (renames.KEY, names.renames))


def missing(theirs: CopiedNames, wanted: CopiedNames) -> CopiedNames:
    """Return what of the wanted names is not there."""
    rest = CopiedNames(
        replacements=wanted.replacements - theirs.replacements, renames="" if theirs.renames else wanted.renames
    )
    for table in COLUMNS:
        there = theirs.table(table)
        rest.table(table).update({number: row for number, row in wanted.table(table).items() if number not in there})
    return rest


def changed(theirs: CopiedNames, wanted: CopiedNames) -> CopiedNames:
    """Return what of the wanted names is not there, or is another one there."""
    rest = CopiedNames(
        replacements=wanted.replacements - theirs.replacements,
        renames="" if theirs.renames == wanted.renames else wanted.renames,
    )
    for table in COLUMNS:
        there = theirs.table(table)
        rest.table(table).update(
            {number: row for number, row in wanted.table(table).items() if there.get(number) != row}
        )
    return rest


def _marks(columns: str) -> str:
    return ", ".join("?" * (columns.count(",") + 1))


class Rows:
    """The rows (key, columns …) of a table that can be read, in order of an integer key; `whole` says whether it was all."""

    def __init__(self, db: sqlite3.Connection, table: str, columns: str, key: str = "rowid") -> None:
        self._db, self._table, self._columns, self._key = db, table, columns, key
        self.whole = True

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        last = -1
        while last < LARGEST:
            batch, whole = self._some(last)
            yield from batch
            if batch:
                last = batch[-1][0]
            if whole and len(batch) < ROWS:
                return
            if not whole and not batch:
                self.whole = False
                last = self._behind(last)

    def _some(self, last: int) -> tuple[list[tuple[Any, ...]], bool]:
        """Return the readable rows after a key, and whether all requested rows were readable."""
        query = (
            f"SELECT {self._key}, {self._columns} FROM {self._table} WHERE {self._key} > ? ORDER BY {self._key} LIMIT ?"
        )
        for limit in (ROWS, 20, 1):
            try:
                rows = self._db.execute(query, (last, limit)).fetchall()
            except sqlite3.Error:
                continue
            keys = [row[0] for row in rows]
            if all(before < after for before, after in pairwise([last, *keys])):  # a damaged page may lead back
                return rows, limit == ROWS
        return [], False

    def _behind(self, last: int) -> int:
        """Return the largest key of those that cannot be read; behind it, rows can be read again."""
        step = 1
        while last + step < LARGEST and self._fails(last + step):
            step *= 2
        low, high = last + step // 2, min(last + step, LARGEST)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self._fails(middle) else (low, middle)
        log.warning("the rows between %d and %d of %s cannot be read", last, high, self._table)
        return high

    def _fails(self, start: int) -> bool:
        try:
            row = self._db.execute(
                f"SELECT {self._key}, {self._columns} FROM {self._table} WHERE {self._key} > ? ORDER BY {self._key} LIMIT 1",
                (start,),
            ).fetchone()
        except sqlite3.Error:
            return True
        return row is not None and row[0] <= start
