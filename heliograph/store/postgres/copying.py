"""Readings on their way into tables, in COPY's binary format.

https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format"
"""

import math
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg

from heliograph.store.postgres.names import PostgresLayout, PostgresNames

COPY_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_TAIL = struct.pack(">h", -1)
READING = struct.Struct(">hiiiqidiq")  # fields, then each as length and value: series, ts, v, seq
ARRIVAL = struct.Struct(">hiqiiiq")  # seq, device, ts
COPY_BYTES = 1 << 18

Row = tuple[PostgresLayout, int, Any]  # layout, ms UTC, numbers


def readings(cursor: psycopg.Cursor[Any], rows: Sequence[Row], names: PostgresNames, last: int) -> None:
    """Copy the values of readings into the table `incoming`; `last` is the number of arrival before them."""
    _copy(cursor, "incoming", _packed_readings(rows, names, last))


def arrivals(cursor: psycopg.Cursor[Any], rows: Sequence[Row], last: int) -> None:
    """Copy the arrivals of readings into the table `arrival`."""
    _copy(cursor, "arrival", _packed_arrivals(rows, last))


def _packed_readings(rows: Sequence[Row], names: PostgresNames, last: int) -> Iterator[bytes]:
    pack_row, word_id, isnan = READING.pack, names.word_id, math.isnan
    for seq, (layout, ts, numbers) in enumerate(rows, last + 1):
        for slot, kind, number in zip(layout.slots, layout.kinds, numbers, strict=True):
            if not isnan(number):
                value = word_id(int(number)) if kind == "text" else number
                yield pack_row(4, 4, slot.id, 8, ts, 8, value, 8, seq)


def _packed_arrivals(rows: Sequence[Row], last: int) -> Iterator[bytes]:
    for seq, (layout, ts, _) in enumerate(rows, last + 1):
        yield ARRIVAL.pack(3, 8, seq, 4, layout.device.id, 8, ts)


def _copy(cursor: psycopg.Cursor[Any], table: str, rows: Iterator[bytes]) -> None:
    with cursor.copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy:
        parts, size = [COPY_HEAD], 0
        for row in rows:
            parts.append(row)
            size += len(row)
            if size > COPY_BYTES:
                copy.write(b"".join(parts))
                parts, size = [], 0
        copy.write(b"".join([*parts, COPY_TAIL]))
