"""One sealed year: `history-YYYY.db`, the queries and statements of its readers and its writer.

A chunk holds the values of one series in one UTC day. Series that were always measured
together share an axis, which has the times and, for `since`, the number of arrival of each
reading. docs/store-format.md has the format byte by byte.
"""

import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

from heliograph.store import blocks, row_types, schema
from heliograph.store.cells import DAY, Track
from heliograph.store.tiers import HOUR, MARK, Blob, Grain
from heliograph.store.vectors import Vector, ops
from heliograph.store.year_keys import ArrivalIndex, Keys

PAGE = 4096
DAY_BITS, SLOT_BITS = 20, 16
SLOTS = 1 << SLOT_BITS
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

SCHEMA = """
CREATE TABLE IF NOT EXISTS axis(
    k INTEGER PRIMARY KEY,  -- device << 36 | UTC day << 16 | slot
    smin INT NOT NULL, smax INT NOT NULL,  -- of the numbers of arrival
    t BLOB NOT NULL,        -- block: ms in the day, rising
    s BLOB NOT NULL         -- block: numbers of arrival
);
CREATE INDEX IF NOT EXISTS arrival ON axis(smax, smin);
CREATE TABLE IF NOT EXISTS chunk(
    k INTEGER PRIMARY KEY,  -- series << 20 | UTC day
    axis INT NOT NULL,      -- k of its axis
    tmax INT NOT NULL, vlast REAL NOT NULL,  -- the newest point: ms UTC and value
    v BLOB NOT NULL         -- block: values
);
CREATE TABLE IF NOT EXISTS r5m_day(k INTEGER PRIMARY KEY, b BLOB NOT NULL);    -- series << 20 | UTC day
CREATE TABLE IF NOT EXISTS r1h_day(k INTEGER PRIMARY KEY, b BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS r5m_month(k INTEGER PRIMARY KEY, b BLOB NOT NULL);  -- series << 20 | month: year * 12 + 0…11
CREATE TABLE IF NOT EXISTS r1h_month(k INTEGER PRIMARY KEY, b BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS r1h_year(k INTEGER PRIMARY KEY, b BLOB NOT NULL);   -- series << 20 | year
-- which rows there are, once more: a damaged page hides those that it had, and SQLite does not notice
CREATE INDEX IF NOT EXISTS keys_of_axis ON axis(k, smin, smax);
CREATE INDEX IF NOT EXISTS keys_of_chunk ON chunk(k);
CREATE INDEX IF NOT EXISTS keys_of_r5m_month ON r5m_month(k);
CREATE INDEX IF NOT EXISTS keys_of_r1h_month ON r1h_month(k);
CREATE INDEX IF NOT EXISTS keys_of_r1h_year ON r1h_year(k);
CREATE TABLE IF NOT EXISTS device(id INTEGER PRIMARY KEY, name TEXT NOT NULL);  -- copies of the catalog's rows of those above
CREATE TABLE IF NOT EXISTS series(
    id INTEGER PRIMARY KEY, device INT NOT NULL, name TEXT NOT NULL, unit TEXT, kind TEXT, rollover REAL
);
CREATE TABLE IF NOT EXISTS word(id INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS damaged(k INTEGER NOT NULL, axis INT, v BLOB);  -- chunks that could not be read
CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""
_NAME = re.compile(r"history-([0-9]{4})(-tiers)?\.db")


Source = Literal["chunk", "index"]  # of the keys of chunks
_SOURCES: dict[Source, str] = {"chunk": "NOT INDEXED", "index": "INDEXED BY keys_of_chunk"}


class Chunk(NamedTuple):
    """The values of a series in a day; `axis` is the key of its times."""

    day: int
    axis: int
    values: bytes


def year_of(day: int) -> int:
    """Return the year of a UTC day, counted from 1970-01-01."""
    return (EPOCH + timedelta(days=day)).year


def month_of(day: int) -> int:
    """Return the month of a UTC day: year * 12 + 0 … 11."""
    moment = EPOCH + timedelta(days=day)
    return moment.year * 12 + moment.month - 1


def first_day(month: int) -> int:
    """Return the first UTC day of a month; raise StoreDamaged for one that no calendar has, of a damaged key."""
    if not 12 <= month < 120_000:
        raise blocks.BlockDamaged(f"there is no month {month}")
    return (datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC) - EPOCH).days


def file(folder: Path, year: int, *, tiers: bool = False) -> Path:
    """Return the path of a year; with `tiers` that of one whose points were dropped."""
    return folder / f"history-{year:04d}{'-tiers' if tiers else ''}.db"


def files(folder: Path) -> dict[int, Path]:
    """Return the file of each year that exists; of two files, the one without points is complete.

    A link that leads nowhere, perhaps only for now, is no file; there is no year 0 or 9999.
    """
    paths: dict[int, Path] = {}
    for path in sorted(folder.glob("history-*.db"), reverse=True):
        if (
            (match := _NAME.fullmatch(path.name))
            and 0 < int(match[1]) < 9999
            and not (path.is_symlink() and not path.exists())
        ):
            paths[int(match[1])] = path
    return dict(sorted(paths.items()))


def is_bare(path: Path) -> bool:
    """Whether the points of a year were dropped, and only its cells kept."""
    return path.name.endswith("-tiers.db")


def origin(level: str, number: int) -> int:
    """Return the time from which the cells of a day, month or year are counted, in ms UTC."""
    if level == "day":
        return number * DAY
    return first_day(number if level == "month" else number * 12) * DAY


def key(series: int, number: int) -> int:
    """Return the key of a series' day or month."""
    return series << DAY_BITS | number


def axis_key(device: int, day: int, slot: int = 0) -> int:
    """Return the key of an axis."""
    return (device << DAY_BITS | day) << SLOT_BITS | slot


def axis_owner(k: int) -> tuple[int, int]:
    """Return the device and the UTC day of an axis."""
    return k >> (DAY_BITS + SLOT_BITS), k >> SLOT_BITS & ((1 << DAY_BITS) - 1)


def highest(db: sqlite3.Connection) -> dict[str, int]:
    """Return the highest numbers of devices, series and layouts that the rows of a file use, as far as they can be read."""
    queries = {
        "device": [_highest("axis", "k", DAY_BITS + SLOT_BITS, row_types.DEVICES)],
        "series": [
            _highest(table, "k", DAY_BITS, row_types.SERIES)
            for table in ("chunk", "r5m_day", "r1h_day", "r5m_month", "r1h_month", "r1h_year")
        ],
        "layout": [_highest("frame", "layout", 0, row_types.NAMES)],
    }
    largest: dict[str, int] = {}
    for name, questions in queries.items():
        for question in questions:
            with suppress(sqlite3.Error):
                largest[name] = max(largest.get(name, 0), int(db.execute(question).fetchone()[0] or 0))
    return largest


def _highest(table: str, column: str, bits: int, most: int) -> str:
    """Return the query of a highest number; larger ones than can be are damage, and would leave none for new names."""
    return (
        f"SELECT max({column}) >> {bits} FROM {table} "
        f"WHERE typeof({column}) = 'integer' AND {column} BETWEEN 0 AND {(most + 1 << bits) - 1}"
    )


class Year:
    """One connection to a year; every method may raise sqlite3.Error, and StoreDamaged for a blob that cannot be decoded."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.db = connection
        self.keys = Keys(connection)

    def chunk(self, series: int, day: int) -> Chunk | None:
        """Return the chunk of a series in a day, still encoded."""
        row = self.db.execute("SELECT axis, v FROM chunk WHERE k=?", (key(series, day),)).fetchone()
        if row is None:
            self.keys.refuse_missing("chunk", key(series, day), f"the chunk of series {series}, day {day}")
            return None
        if type(row[0]) is not int or axis_owner(row[0])[1] != day:
            raise blocks.BlockDamaged(f"the chunk of series {series}, day {day} has no times of that day")
        return Chunk(day, *row)

    def days(self, series: int, first: int, last: int) -> list[int]:
        """Return the days from first to last that have points of a series; raise BlockDamaged if chunks are missing."""
        days = self.listed_days(series, first, last, "chunk")
        if self.keys.has("chunk") and days != self.listed_days(series, first, last, "index"):
            raise blocks.BlockDamaged(f"of series {series}, days {first} to {last}, chunks are missing")
        return days

    def listed_days(self, series: int, first: int, last: int, source: Source) -> list[int]:
        """Return the days from first to last that have points of a series, as the chunks or their index know."""
        if source == "index" and not self.keys.has("chunk"):
            return []
        low, high = key(series, first), key(series, last)
        query = f"SELECT k FROM chunk {_SOURCES[source]} WHERE k BETWEEN ? AND ? ORDER BY k"
        keys = [k for (k,) in self.db.execute(query, (low, high))]
        return _days_in_order(keys, low, high)

    def newest_day(self, series: int, before: int, source: Source) -> int | None:
        """Return the newest UTC day before one that has points of a series, as the chunks or their index know."""
        if source == "index" and not self.keys.has("chunk"):
            return None
        low, high = key(series, 0), key(series, before)
        query = f"SELECT max(k) FROM chunk {_SOURCES[source]} WHERE k >= ? AND k < ?"
        k = schema.one(self.db, query, (low, high))
        return None if k is None else _days_in_order([k], low, high - 1)[0]

    def axis(self, k: int) -> tuple[Vector, Vector]:
        """Return the times (ms UTC) and the numbers of arrival of an axis."""
        row = self.db.execute("SELECT t, s FROM axis WHERE k=?", (k,)).fetchone()
        if row is None:
            raise blocks.BlockDamaged(f"axis {k} is missing")
        return decoded_times(k, row[0]), blocks.decode_ints(row[1])

    def times(self, k: int) -> Vector:
        """Return the times (ms UTC) of an axis."""
        row = self.db.execute("SELECT t FROM axis WHERE k=?", (k,)).fetchone()
        if row is None:
            raise blocks.BlockDamaged(f"axis {k} is missing")
        return decoded_times(k, row[0])

    def tiers_of_days(self, grain: Grain, series: int, first: int, last: int) -> Iterator[tuple[int, Blob]]:
        """Yield the days from first to last that have cells of their own."""
        before = first - 1
        for k, blob in self.db.execute(
            f"SELECT k, b FROM {grain.name}_day WHERE k BETWEEN ? AND ? ORDER BY k",
            (key(series, first), key(series, last)),
        ):
            day = k & ((1 << DAY_BITS) - 1)
            if not before < day <= last or k >> DAY_BITS != series:
                raise blocks.BlockDamaged(f"the days of {grain.name} of series {series} are not in order")
            before = day
            yield day, Blob(blob, day * DAY, grain.width)

    def tier(self, grain: Grain, level: str, series: int, number: int) -> Blob | None:
        """Return the cells of a closed month or year."""
        table = f"{grain.name}_{level}"
        row = self.db.execute(f"SELECT b FROM {table} WHERE k=?", (key(series, number),)).fetchone()
        if row is None:
            self.keys.refuse_missing(table, key(series, number), f"the row {number} of series {series} in {table}")
            return None
        return Blob(row[0], origin(level, number), grain.width)

    def axes(self, device: int, day: int) -> list[int]:
        """Return the keys of a device's axes of a day."""
        first = axis_key(device, day)
        return [k for (k,) in self.db.execute("SELECT k FROM axis WHERE k BETWEEN ? AND ?", (first, first + SLOTS - 1))]

    def put_axis(self, k: int, smin: int, smax: int, times: bytes, numbers: bytes) -> None:
        """Write an axis: its smallest and largest number of arrival, its blocks."""
        self.db.execute(
            "INSERT INTO axis VALUES(?, ?, ?, ?, ?) ON CONFLICT(k) DO UPDATE "
            "SET smin = excluded.smin, smax = excluded.smax, t = excluded.t, s = excluded.s",
            (k, smin, smax, times, numbers),
        )

    def drop_axes(self, keys: Iterable[int]) -> None:
        """Delete axes."""
        self.db.executemany("DELETE FROM axis WHERE k=?", [(k,) for k in keys])

    def put_chunk(self, series: int, day: int, axis: int, newest: tuple[int, float], values: bytes) -> None:
        """Write the chunk of a series in a day: key of its axis, newest point, block."""
        self.db.execute(  # the index of the keys does not change with a row that is there
            "INSERT INTO chunk VALUES(?, ?, ?, ?, ?) ON CONFLICT(k) DO UPDATE "
            "SET axis = excluded.axis, tmax = excluded.tmax, vlast = excluded.vlast, v = excluded.v",
            (key(series, day), axis, *newest, values),
        )

    def drop_chunk(self, series: int, day: int) -> None:
        """Delete the chunk of a series in a day."""
        self.db.execute("DELETE FROM chunk WHERE k=?", (key(series, day),))

    def set_aside(self, series: int, day: int) -> bytes:
        """Move a chunk that cannot be read into the table `damaged`; return its block, empty if there is none."""
        k = key(series, day)
        row = self.db.execute("SELECT v FROM chunk WHERE k=?", (k,)).fetchone()
        self.db.execute("INSERT INTO damaged SELECT k, axis, v FROM chunk WHERE k=?", (k,))
        self.db.execute("DELETE FROM chunk WHERE k=?", (k,))
        return row[0] if row and isinstance(row[0], bytes) else b""

    def put_tier(self, table: str, series: int, number: int, blob: bytes) -> None:
        """Write the cells of a day or a month."""
        self.db.execute(
            f"INSERT INTO {table} VALUES(?, ?) ON CONFLICT(k) DO UPDATE SET b = excluded.b", (key(series, number), blob)
        )

    def drop_tiers(self, table: str, series: int, first: int, last: int) -> None:
        """Delete the cells of the days or months from first to last."""
        self.db.execute(f"DELETE FROM {table} WHERE k BETWEEN ? AND ?", (key(series, first), key(series, last)))

    def track(self, series: int, day: int) -> Track:
        """Return the points of a series' day; raise BlockDamaged if there are no points."""
        chunk = self.chunk(series, day)
        if chunk is None:
            raise blocks.BlockDamaged(f"the chunk of series {series}, day {day} is missing")
        return track(self.times(chunk.axis), chunk)

    def has_tier(self, grain: Grain, level: str, series: int, number: int) -> bool:
        """Whether a month or year has a row."""
        row = self.db.execute(f"SELECT 1 FROM {grain.name}_{level} WHERE k=?", (key(series, number),))
        return row.fetchone() is not None

    def marked(self, grain: Grain, series: int, first: int, last: int) -> list[int]:
        """Return the days from first to last whose cells are not computed yet."""
        rows = self.db.execute(
            f"SELECT k FROM {grain.name}_day WHERE k BETWEEN ? AND ? AND b = ?",
            (key(series, first), key(series, last), MARK),
        )
        return [k & ((1 << DAY_BITS) - 1) for (k,) in rows]

    def open_days(self, grain: Grain, before: int) -> list[tuple[int, int]]:
        """Return the pairs (series, month) that have cells by the day, of months that end before a UTC day."""
        mask = (1 << DAY_BITS) - 1
        months = {
            (k >> DAY_BITS, month_of(k & mask))
            for (k,) in self.db.execute(f"SELECT k FROM {grain.name}_day WHERE k & {mask} < ?", (before,))
        }
        return sorted((series, month) for series, month in months if first_day(month + 1) <= before)

    def open_months(self, grain: Grain) -> list[int]:
        """Return the series that have cells by the month but not by the day."""
        series = f"SELECT DISTINCT k >> {DAY_BITS} FROM {grain.name}"
        return [sid for (sid,) in self.db.execute(f"{series}_month EXCEPT {series}_day ORDER BY 1")]

    def arrivals(self, after: int, upto: int, index: ArrivalIndex = "arrival") -> list[int]:
        """Return the key of each axis that may have readings with numbers of arrival in (after, upto]."""
        query = f"SELECT k FROM axis INDEXED BY {index} WHERE smax > ? AND smin <= ?"
        return [k for (k,) in self.db.execute(query, (after, upto))]

    def next_arrivals(self, after: int, index: ArrivalIndex = "arrival") -> list[int]:
        """Return the lowest smin after a number of arrival in a list, which is empty if there is no such axis."""
        query = f"SELECT min(smin) FROM axis INDEXED BY {index} WHERE smin > ? AND smin <= ?"
        return [number for (number,) in self.db.execute(query, (after, row_types.ARRIVALS)) if type(number) is int]

    def extent(self, index: ArrivalIndex = "arrival") -> list[int]:
        """Return times (ms UTC) that include those of the oldest and the newest point."""
        mask = (1 << DAY_BITS) - 1
        times: list[int] = []
        for which in ("min", "max"):
            query = f"SELECT {which}(k >> {SLOT_BITS} & {mask}) FROM axis INDEXED BY {index}"
            day = self.db.execute(query).fetchone()[0]
            if day is not None:
                query = f"SELECT k FROM axis INDEXED BY {index} WHERE k >> {SLOT_BITS} & {mask} = ?"
                for (k,) in self.db.execute(query, (day,)).fetchall():
                    axis = self.times(k)
                    times += int(axis[0]), int(axis[-1])
        return times

    def extent_of_cells(self) -> list[int]:
        """Return the starts (ms UTC) of the oldest and the newest closed cells of an hour."""
        mask = (1 << DAY_BITS) - 1
        times: list[int] = []
        for level in HOUR.closed:
            for k, blob in self.db.execute(f"SELECT k, b FROM {HOUR.name}_{level}"):
                rows = Blob(blob, origin(level, k & mask), HOUR.width).cells(())
                if rows is not None:
                    times += int(rows.start[0]), int(rows.start[-1])
        return times

    def version(self) -> int:
        """Return the version of the year, which rises with every change."""
        version = schema.meta(self.db, "version")
        return version if type(version) is int else 0


def _days_in_order(keys: list[int], low: int, high: int) -> list[int]:
    """Return the days of rising keys from low to high; raise BlockDamaged for others, to which a damaged page may lead."""
    if keys and not (low <= keys[0] and keys[-1] <= high and all(k < other for k, other in pairwise(keys))):
        raise blocks.BlockDamaged(f"the days of series {low >> DAY_BITS} are not in order")
    return [k & ((1 << DAY_BITS) - 1) for k in keys]


def decoded_times(k: int, block: bytes) -> Vector:
    """Return the times (ms UTC) of an axis from its block."""
    shifted: Vector = ops.shifted(blocks.decode_ints(block), axis_owner(k)[1] * DAY)
    return shifted


def track(times: Vector, chunk: Chunk) -> Track:
    """Return the points of a chunk on an axis with these times; raise StoreDamaged if their numbers differ."""
    values: Vector = blocks.decode_floats(chunk.values)
    if len(values) != len(times):
        raise blocks.BlockDamaged(f"a chunk of {len(values)} values on an axis of {len(times)} times")
    return Track(times, values)
