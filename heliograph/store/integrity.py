"""Reads all sealed years once a week, a little at a time, so that damage is known before the data is needed."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from heliograph.errors import StoreDamaged
from heliograph.store import blocks, history, schema
from heliograph.store.tiers import GRAINS, Blob

WEEK = 7 * 86_400.0
AT_ONCE = 100  # rows


class IntegrityCheck:
    """Reads the years table by table; `problems` are those of the last complete check."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._left: list[tuple[int, Path]] | None = None
        self._walk: Iterator[list[str]] = iter(())
        self._problems_so_far: list[str] = []
        self.problems: list[str] = []

    def step(self) -> bool:
        """Read some rows; return whether the check is complete. Raises YearDamaged for a file that cannot be read."""
        if self._left is None:
            self._left = list(history.files(self._folder).items())
            self._problems_so_far = []
        problems = next(self._walk, None)
        if problems is not None:
            self._problems_so_far += problems
            return False
        if self._left:
            self._walk = self._year(*self._left.pop(0))
            return False
        self._left = None
        self.problems = self._problems_so_far
        return True

    def _year(self, number: int, path: Path) -> Iterator[list[str]]:
        try:
            yield from year(path)
        except OSError:
            if path.exists():
                raise  # otherwise retention has deleted it meanwhile
        except StoreDamaged as error:
            if path.exists() and not history.is_bare(path):
                raise YearDamaged(number, str(error)) from None
            yield [f"{path.name}: {error}"]


class YearDamaged(StoreDamaged):
    """The file of a year cannot be read: move it aside, salvage it."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(why)
        self.number = number


def year(path: Path) -> Iterator[list[str]]:
    """Yield the damaged parts of a year, a sentence each, after every AT_ONCE rows; raise OSError, StoreDamaged."""
    for table, column in (("axis", "t"), ("axis", "s"), ("chunk", "v")):
        yield from _table(path, table, column, blocks.decode_floats if table == "chunk" else blocks.decode_ints)
    for grain in GRAINS:
        for level in ("day", *grain.closed):
            yield from _table(path, f"{grain.name}_{level}", "b", partial(_tier, width=grain.width))


def _table(path: Path, table: str, column: str, read: Callable[[bytes], object]) -> Iterator[list[str]]:
    last = -1
    while True:
        with schema.reading(path) as db:
            rows = db.execute(
                f"SELECT k, {column} FROM {table} WHERE k > ? ORDER BY k LIMIT ?", (last, AT_ONCE)
            ).fetchall()
        yield [f"{path.name}: {table} {k}: {why}" for k, blob in rows if (why := _wrong(read, blob))]
        if len(rows) < AT_ONCE:
            return
        last = rows[-1][0]


def _wrong(read: Callable[[bytes], object], blob: bytes) -> str:
    try:
        read(blob)
    except StoreDamaged as error:
        return str(error)
    return ""


def _tier(blob: bytes, width: int) -> None:
    Blob(blob, 0, width).tier()
