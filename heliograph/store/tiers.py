"""Stored cells: one blob for the cells of a series in a day, a month or a year; docs/store-format.md has it byte by byte.

A blob is a directory (the number of columns; for each its number and length), its checksum and
the columns, each a block. Only the columns that are needed are decoded.
"""

import struct
import zlib
from collections.abc import Collection, Iterator
from functools import cached_property
from typing import NamedTuple

from heliograph.errors import StoreDamaged
from heliograph.store import blocks
from heliograph.store.cells import DAY, FIVE_MINUTES_MS, HOUR_MS, Cells, DaySpan
from heliograph.store.vectors import Vector, ops

VERSION = 1
HEAD = struct.Struct("<BB")
ENTRY = struct.Struct("<BI")
CRC = struct.Struct("<I")
COLUMNS = ("start", "n", "sum", "min", "max", "first", "last", "carry", "area", "at")
NUMBERS = {name: number for number, name in enumerate(COLUMNS)} | {"at": 12}  # in a blob
START = 0
INTS = frozenset({START, NUMBERS["n"], NUMBERS["at"]})
DECODED = 10  # times the size of a blob, about
OPENED, CLOSED, BARE = 9, 10, 11  # of each day: ms in the day of its first and last point; days without cells


class Grain(NamedTuple):
    """The length of a cell in ms, and the number of points from which on a day gets cells."""

    name: str
    width: int
    least: int
    closed: tuple[str, ...]  # what its days are merged into, the longest first


FIVE_MINUTES = Grain("r5m", FIVE_MINUTES_MS, 2880, ("month",))  # below it, the points themselves are as small
HOUR = Grain("r1h", HOUR_MS, 240, ("year", "month"))
GRAINS = (FIVE_MINUTES, HOUR)


def of_edges(edges: Vector) -> Grain | None:
    """Return the coarsest grain whose cells no edge (ms UTC) cuts; None if points are needed."""
    for grain in reversed(GRAINS):
        if ops.are_multiples(edges, grain.width):
            return grain
    return None


class Tier(NamedTuple):
    """The cells of some days, and the end points that join them to their neighbours.

    `spans` has the first and the last point of each day that has cells (only where cells
    have areas), `bare` the days that have points but no cells.
    """

    cells: Cells | None
    spans: list[DaySpan]
    bare: frozenset[int]


EMPTY = Tier(None, [], frozenset())


def encode(tier: Tier, origin: int, width: int) -> bytes:
    """Return the blob of a tier whose cells are counted from `origin` (ms UTC) in steps of `width` ms."""
    columns: list[tuple[int, bytes]] = []
    if tier.cells is not None:
        buckets = ops.ints([(start - origin) // width for start in tier.cells.start.tolist()])
        columns.append((0, blocks.encode_ints(buckets)))
        for name, column in zip(COLUMNS[1:], tier.cells[1:], strict=True):
            if column is not None:
                number = NUMBERS[name]
                columns.append((number, (blocks.encode_ints if number in INTS else blocks.encode_floats)(column)))
    if tier.spans:
        columns.append((OPENED, blocks.encode_ints(ops.ints([span.start % DAY for span in tier.spans]))))
        columns.append((CLOSED, blocks.encode_ints(ops.ints([span.end % DAY for span in tier.spans]))))
    if tier.bare:
        columns.append((BARE, blocks.encode_ints(ops.ints(sorted(tier.bare)))))
    head = HEAD.pack(VERSION, len(columns))
    directory = b"".join(ENTRY.pack(number, len(block)) for number, block in columns)
    return head + directory + CRC.pack(zlib.crc32(head + directory)) + b"".join(block for _, block in columns)


MARK = encode(EMPTY, 0, 1)  # a day whose cells are not computed yet


class Blob:
    """A blob whose columns are decoded when they are needed; every method raises StoreDamaged if it cannot be decoded."""

    def __init__(self, blob: bytes, origin: int, width: int) -> None:
        """Keep the bytes; nothing is decoded yet."""
        if not isinstance(blob, bytes):
            blob = b""  # of a damaged row
        self._blob, self._origin, self._width = blob, origin, width
        self.size = len(blob) * DECODED
        self._columns: dict[int, Vector] = {}

    @cached_property
    def _blocks(self) -> dict[int, bytes]:
        blob, columns = self._blob, dict[int, bytes]()
        try:
            version, size = HEAD.unpack_from(blob)
            if version != VERSION:
                raise StoreDamaged(f"a tier of version {version}; this version of Heliograph reads {VERSION}")
            position = HEAD.size + size * ENTRY.size
            if CRC.unpack_from(blob, position)[0] != zlib.crc32(blob[:position]):
                raise StoreDamaged("the checksum of a tier's directory is wrong")
            position += CRC.size
            for entry in range(size):
                number, length = ENTRY.unpack_from(blob, HEAD.size + entry * ENTRY.size)
                columns[number] = blob[position : position + length]
                position += length
        except (struct.error, TypeError):
            raise StoreDamaged("a truncated tier") from None
        if position != len(blob):
            raise StoreDamaged(f"a tier of {len(blob)} bytes in place of {position}")
        return columns

    def has(self, name: str) -> bool:
        """Whether the cells have a column."""
        return NUMBERS[name] in self._blocks

    def cells(self, names: Collection[str] = COLUMNS) -> Cells | None:
        """Return the cells with those of the named columns that they have; None if there are no cells."""
        if 0 not in self._blocks:
            return None
        if START not in self._columns:
            self._columns[START] = ops.scaled(blocks.decode_ints(self._blocks[0]), self._width, self._origin)
        start = self._columns[START]
        columns = {name: self._column(NUMBERS[name]) for name in COLUMNS[1:] if name in names or name == "n"}
        if any(column is not None and len(column) != len(start) for column in columns.values()):
            raise StoreDamaged("a tier with columns of different lengths")
        return Cells(start, **columns)  # type: ignore[arg-type]

    def bare(self) -> frozenset[int]:
        """Return the days that have points but no cells here."""
        return frozenset(blocks.decode_ints(self._blocks[BARE]).tolist()) if BARE in self._blocks else frozenset()

    def spans(self, cells: Cells) -> list[DaySpan]:
        """Return the first and last point of each day of these cells, which have n, first and last."""
        if OPENED not in self._blocks or cells.first is None or cells.last is None:
            return []
        opened, closed = (blocks.decode_ints(self._blocks[number]).tolist() for number in (OPENED, CLOSED))
        runs = list(_days(cells))
        if not len(opened) == len(closed) == len(runs):
            raise StoreDamaged("a tier whose days do not match its cells")
        return [
            DaySpan(day * DAY + start, float(cells.first[low]), day * DAY + end, float(cells.last[high - 1]))
            for (day, low, high), start, end in zip(runs, opened, closed, strict=True)
        ]

    def tier(self) -> Tier:
        """Return the whole tier."""
        cells = self.cells()
        return Tier(cells, [] if cells is None else self.spans(cells), self.bare())

    def _column(self, number: int) -> Vector | None:
        if number not in self._columns:
            block = self._blocks.get(number)
            if block is None:
                return None
            self._columns[number] = (blocks.decode_ints if number in INTS else blocks.decode_floats)(block)
        return self._columns[number]


def _days(cells: Cells) -> Iterator[tuple[int, int, int]]:
    """Yield each UTC day of cells in order, with its rows."""
    days = [start // DAY for start in cells.start.tolist()]
    low = 0
    for row in range(1, len(days) + 1):
        if row == len(days) or days[row] != days[low]:
            yield days[low], low, row
            low = row
