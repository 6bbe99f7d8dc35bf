"""Reads the rows of a SQLite file page by page, without its schema and its trees, which damage may have cut.

File format: https://www.sqlite.org/fileformat2.html, sections 1.6 (b-tree pages), 2.1 (records), 4.1 (WAL).
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

Value: TypeAlias = int | float | str | bytes | None
Row = tuple[int, tuple[Value, ...]]  # rowid, columns; the column that is the rowid is None

MAGIC = b"SQLite format 3\0"
LEAF = 0x0D  # of a table with rowids
FIRST = 100  # bytes of the file's header, before the tree of the first page
WAL_HEAD, WAL_FRAME = struct.Struct(">8I"), struct.Struct(">6I")
WAL_MAGIC = 0x377F0682
INTEGERS = (0, 1, 2, 3, 4, 6, 8)  # bytes, by serial type
LARGEST = 1 << 30  # bytes of a row


class BadRow(ValueError):
    """These bytes are not a row."""


def pad(path: Path) -> int:
    """Make a file that was cut as long as its header says; return how many bytes were missing. Raises OSError.

    SQLite reads nothing of a file that is too short, and all that is there of one with zeros at its end.
    """
    with path.open("r+b") as file:
        head = file.read(FIRST)
        size = path.stat().st_size
        if len(head) < FIRST or not head.startswith(MAGIC):
            return 0
        page = _page_size(head)
        whole = page * int.from_bytes(head[28:32], "big")
        missing = min(whole - size, 10 * size)  # a header that cannot be believed makes no file of terabytes
        if missing > 0:
            file.truncate(size // page * page)  # half a page would be read as a whole one with zeros in it
            file.truncate(size + missing)
        return max(0, missing)


def rows(path: Path, page_size: int) -> Iterator[Row]:
    """Yield every row in an intact leaf page of a table, also of pages that the file no longer uses; raise OSError.

    `page_size` is that of the files of this kind; the header's is taken if there is a header.
    """
    content = path.read_bytes()
    head = content[:FIRST]
    if head.startswith(MAGIC) and _page_size(head) in {1 << bits for bits in range(9, 17)}:
        page_size = _page_size(head)
    file = _File(content, page_size, _wal_pages(path.with_name(path.name + "-wal"), page_size))
    for number in range(2, file.pages + 1):
        page = file.page(number)
        if page and page[0] == LEAF:
            yield from _rows_of(file, page)


class _File:
    """The pages of a file, those of its journal instead of the older ones."""

    def __init__(self, content: bytes, size: int, journal: dict[int, bytes]) -> None:
        self.size = size
        self.pages = max(len(content) // size, *journal.keys(), 0)
        self._content = content
        self._journal = journal

    def page(self, number: int) -> bytes:
        """Return a page, counted from 1; empty if there is no such page."""
        if number in self._journal:
            return self._journal[number]
        page = self._content[(number - 1) * self.size : number * self.size]
        return page if len(page) == self.size else b""


def _page_size(head: bytes) -> int:
    size = int.from_bytes(head[16:18], "big")
    return 65_536 if size == 1 else size


def _rows_of(file: _File, page: bytes) -> Iterator[Row]:
    cells = int.from_bytes(page[3:5], "big")
    if 8 + 2 * cells > file.size:
        return
    for index in range(cells):
        start = int.from_bytes(page[8 + 2 * index : 10 + 2 * index], "big")
        try:
            yield _row(file, page, start)
        except (BadRow, IndexError, struct.error, UnicodeDecodeError):
            continue


def _row(file: _File, page: bytes, start: int) -> Row:
    size, start = _varint(page, start)
    rowid, start = _varint(page, start)
    most = file.size - 35
    if size > LARGEST:
        raise BadRow
    if size <= most:
        payload = page[start : start + size]
    else:
        least = (file.size - 12) * 32 // 255 - 23
        local = least + (size - least) % (file.size - 4)
        local = local if local <= most else least
        payload = page[start : start + local]
        following = int.from_bytes(page[start + local : start + local + 4], "big")
        while following and len(payload) < size:
            more = file.page(following)
            if not more:
                raise BadRow
            following = int.from_bytes(more[:4], "big")
            payload += more[4:]
        payload = payload[:size]
    if len(payload) != size:
        raise BadRow
    return rowid if rowid < 1 << 63 else rowid - (1 << 64), tuple(_columns(payload))


def _columns(payload: bytes) -> Iterator[Value]:
    head, at = _varint(payload, 0)
    types = []
    while at < head:
        serial, at = _varint(payload, at)
        types.append(serial)
    if at != head:
        raise BadRow
    for serial in types:
        if serial == 0:
            yield None
        elif serial <= 6:
            end = at + INTEGERS[serial]
            yield int.from_bytes(payload[at:end], "big", signed=True)
            at = end
        elif serial == 7:
            yield float(struct.unpack_from(">d", payload, at)[0])
            at += 8
        elif serial in (8, 9):
            yield serial - 8
        elif serial >= 12:
            end = at + (serial - 12) // 2
            yield payload[at:end].decode() if serial % 2 else payload[at:end]
            at = end
        else:
            raise BadRow
    if at != len(payload):
        raise BadRow


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of one to nine bytes, and the position behind it."""
    number = 0
    for _ in range(8):
        byte = data[at]
        at += 1
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            return number, at
    return number << 8 | data[at], at + 1


def _wal_pages(path: Path, page_size: int) -> dict[int, bytes]:
    """Return the committed pages of a journal, the last one of each number."""
    content = path.read_bytes() if path.exists() else b""
    if len(content) < WAL_HEAD.size:
        return {}
    magic, _, size, _, *salts, one, two = WAL_HEAD.unpack_from(content)
    if magic & ~1 != WAL_MAGIC or size != page_size:
        return {}
    order = ">" if magic & 1 else "<"
    sums = _checksum(content[:24], order, 0, 0)
    committed: dict[int, bytes] = {}
    pending: dict[int, bytes] = {}
    at = WAL_HEAD.size
    while sums == (one, two) and at + WAL_FRAME.size + size <= len(content):
        number, pages, *theirs, one, two = WAL_FRAME.unpack_from(content, at)
        page = content[at + WAL_FRAME.size : at + WAL_FRAME.size + size]
        sums = _checksum(content[at : at + 8] + page, order, *sums)
        if theirs != salts or sums != (one, two):
            break
        pending[number] = page
        if pages:
            committed |= pending
            pending = {}
        at += WAL_FRAME.size + size
    return committed


def _checksum(data: bytes, order: str, one: int, two: int) -> tuple[int, int]:
    numbers = struct.unpack(f"{order}{len(data) // 4}I", data)
    for first, second in zip(numbers[::2], numbers[1::2], strict=True):
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + second + one) & 0xFFFFFFFF
    return one, two
