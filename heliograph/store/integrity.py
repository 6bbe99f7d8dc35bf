"""Reads all sealed years once a week, a little at a time, so that damage is known before the data is needed, and mended."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from heliograph.errors import StoreDamaged
from heliograph.store import blocks, history, schema, year_keys
from heliograph.store.tiers import GRAINS, Blob
from heliograph.store.year_keys import Keys

WEEK = 7 * 86_400.0
AT_ONCE = 100  # rows
DONE = object()


class Broken(NamedTuple):
    """A row of a year that cannot be read."""

    table: str
    k: int
    why: str


class IntegrityCheck:
    """Reads the years table by table, and calls `mend` with the broken rows of each year that has some."""

    def __init__(
        self, folder: Path, mend: Callable[[int, list[Broken]], None], index: Callable[[int, Path], None]
    ) -> None:
        """`index` makes the indexes of a sound year that an older Heliograph wrote."""
        self._folder = folder
        self._mend = mend
        self._index = index
        self._left: list[tuple[int, Path]] | None = None
        self._walk: Iterator[None] = iter(())

    def step(self) -> bool:
        """Read some rows; return whether the check is complete. Raises YearDamaged for a file that cannot be read."""
        if self._left is None:
            self._left = list(history.files(self._folder).items())
        if next(self._walk, DONE) is not DONE:
            return False
        if self._left:
            self._walk = self._year(*self._left.pop(0))
            return False
        self._left = None
        return True

    def _year(self, number: int, path: Path) -> Iterator[None]:
        broken: list[Broken] = []
        try:
            for rows in broken_rows(path):
                broken += rows
                yield
            is_indexed = _compared(path)
        except OSError:
            if path.exists():
                raise
            return  # retention has deleted it meanwhile
        except StoreDamaged as error:
            if path.exists():
                raise YearDamaged(number, str(error)) from None
            return
        if broken and (history.is_bare(path) or not _is_whole(path)):
            # there are no points to make cells from, or rows that are written into damaged pages would be lost
            raise YearDamaged(number, _sentence(path, broken[0]))
        if broken:
            self._mend(number, broken)
        elif not is_indexed:
            self._index(number, path)


class YearDamaged(StoreDamaged):
    """The file of a year cannot be read: move it aside, salvage it."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(why)
        self.number = number


def year(path: Path) -> Iterator[list[str]]:
    """Yield the damaged parts of a year, a sentence each, after every AT_ONCE rows; raise OSError, StoreDamaged."""
    for rows in broken_rows(path):
        yield [_sentence(path, row) for row in rows]
    _compared(path)


def broken_rows(path: Path) -> Iterator[list[Broken]]:
    """Yield the rows of a year that cannot be read, after every AT_ONCE rows; raise OSError, StoreDamaged."""
    yield from _table(path, "axis", "t", _block)
    yield from _table(path, "axis", "s", _block)
    yield from _table(path, "chunk", "v, axis, (SELECT substr(t, 1, 15) FROM axis WHERE axis.k = chunk.axis)", _chunk)
    for grain in GRAINS:
        for level in ("day", *grain.closed):
            yield from _table(path, f"{grain.name}_{level}", "b", partial(_tier, width=grain.width))


def _compared(path: Path) -> bool:
    """Compare the keys of a year with their indexes; return whether it has these. Raises OSError, StoreDamaged."""
    with schema.reading(path) as db:
        keys = Keys(db)
        keys.compare()
        return all(map(keys.has, year_keys.TABLES))


def _is_whole(path: Path) -> bool:
    """Whether the trees of a file are sound, whatever is in their rows."""
    try:
        with schema.reading(path) as db:
            return bool(schema.one(db, "PRAGMA quick_check(1)") == "ok")
    except StoreDamaged:
        return False


def _sentence(path: Path, row: Broken) -> str:
    return f"{path.name}: {row.table} {row.k}: {row.why}"


def _table(path: Path, table: str, columns: str, read: Callable[..., object]) -> Iterator[list[Broken]]:
    last = -1
    while True:
        with schema.reading(path) as db:
            rows = db.execute(
                f"SELECT k, {columns} FROM {table} WHERE k > ? ORDER BY k LIMIT ?", (last, AT_ONCE)
            ).fetchall()
        yield [Broken(table, row[0], why) for row in rows if (why := _wrong(read, row))]
        if len(rows) < AT_ONCE:
            return
        if rows[-1][0] <= last:
            raise StoreDamaged(f"{path}: the rows of {table} are not in order")
        last = rows[-1][0]


def _wrong(read: Callable[..., object], row: tuple[object, ...]) -> str:
    try:
        read(*row)
    except StoreDamaged as error:
        return str(error)
    return ""


def _block(_k: int, block: bytes) -> None:
    blocks.decode_ints(block)


def _chunk(k: int, block: bytes, axis: object, head: object) -> None:
    values = blocks.decode_floats(block)
    if type(axis) is not int or type(head) is not bytes:
        raise blocks.BlockDamaged("its times are missing")
    if len(values) != blocks.length(head) or history.axis_owner(axis)[1] != k & ((1 << history.DAY_BITS) - 1):
        raise blocks.BlockDamaged(f"its {len(values)} values are not those of its times")


def _tier(_k: int, blob: bytes, width: int) -> None:
    Blob(blob, 0, width).tier()
