"""One sealed year, opened: the queries and statements of its readers and its writer."""

import sqlite3
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Literal, NamedTuple

from heliograph.store import blocks, history, row_types, schema
from heliograph.store.cells import DAY, Track
from heliograph.store.history import DAY_BITS, SLOT_BITS, SLOTS, axis_key, axis_owner, key
from heliograph.store.tiers import HOUR, MARK, Blob, Grain
from heliograph.store.vectors import Vector, ops
from heliograph.store.year_keys import ArrivalIndex, Keys

Source = Literal["chunk", "index"]  # of the keys of chunks
_SOURCES: dict[Source, str] = {"chunk": "NOT INDEXED", "index": "INDEXED BY keys_of_chunk"}


class Chunk(NamedTuple):
    """The values of a series in a day; `axis` is the key of its times."""

    day: int
    axis: int
    values: bytes


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
        return Blob(row[0], history.origin(level, number), grain.width)

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
            (k >> DAY_BITS, history.month_of(k & mask))
            for (k,) in self.db.execute(f"SELECT k FROM {grain.name}_day WHERE k & {mask} < ?", (before,))
        }
        return sorted((series, month) for series, month in months if history.first_day(month + 1) <= before)

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
                rows = Blob(blob, history.origin(level, k & mask), HOUR.width).cells(())
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
