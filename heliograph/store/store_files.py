"""catalog.db and hot.db, opened by a reader, and the values that names and words make of the store's numbers."""

import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from heliograph import renames
from heliograph.errors import StoreAway, StoreDamaged
from heliograph.messages import Value
from heliograph.renames import Renames
from heliograph.store import damaged_files, inventory, names, rescalings, schema
from heliograph.store.hot_cache import HotFrame
from heliograph.store.names import Names
from heliograph.store.rises import Column

MENDING = "start storage, or run `heliograph store salvage`, which mend it"


class StoreFiles:
    """The two files, opened when they are needed; `names` are those of the last `refresh_names`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: tuple[schema.ReadOnly, schema.ReadOnly] | None = None  # catalog.db and hot.db
        self._version = -1  # of the names
        self.names: Names = names.EMPTY
        self.rescaled: frozenset[str] = frozenset()  # the rescalings that the catalog has

    def close(self) -> None:
        """Close the files and forget the names."""
        for file in self._files or ():
            file.close()
        self._files = None
        self._version, self.names = -1, names.EMPTY

    def are_current(self) -> bool:
        """Whether no open file was replaced by another one."""
        return self._files is None or all(file.is_current() for file in self._files)

    def hot(self) -> sqlite3.Connection:
        """Return the connection to hot.db; raise StoreAway or StoreDamaged."""
        if self._files is None:
            catalog = schema.ReadOnly(schema.catalog_file(self._folder))
            try:
                self._files = catalog, schema.ReadOnly(schema.hot_file(self._folder))
            except (StoreAway, StoreDamaged):
                catalog.close()
                raise
            self._refuse_strangers()
            self._refuse_other_units()
        return self._files[1].connection

    def refuse_unknown(self, layouts: Iterable[int], new: Iterable[HotFrame]) -> None:
        """Raise StoreDamaged if a layout is not among the names, or a new reading is not as long as its layout says."""
        if set(layouts) - self.names.layouts.keys():
            raise StoreDamaged(
                f"catalog.db in {self._folder} does not have the names of the readings in hot.db: {MENDING}"
            )
        if any(len(frame.payload) != 8 * self.names.width(frame.layout) for frame in new):
            raise StoreDamaged(
                f"hot.db in {self._folder} has readings of another length than their layout says: {MENDING}"
            )

    def problems(self) -> list[str]:
        """Return what the catalog and the folder tell of missing, damaged and lost files, a sentence each."""
        aside = [
            f"{path.name} is damaged and not salvaged yet"
            for path in damaged_files.damaged(self._folder)
            if damaged_files.kind(path) != "catalog"
        ]
        return aside + (inventory.problems(self._files[0].connection, self._folder, time.time()) if self._files else [])

    def renames(self) -> Renames:
        """Return the renames that the catalog has."""
        return renames.decode(schema.meta(self._files[0].connection, renames.KEY) if self._files else None)

    def _refuse_strangers(self) -> None:
        """Raise StoreDamaged if catalog.db and hot.db were made by different stores."""
        query = "SELECT value FROM meta WHERE key='identity'"
        rows = [file.connection.execute(query).fetchone() for file in self._files or ()]
        if all(rows) and len(set(rows)) > 1:
            self.close()
            raise StoreDamaged(f"catalog.db and hot.db in {self._folder} are those of different stores: {MENDING}")

    def _refuse_other_units(self) -> None:
        """Raise StoreDamaged if hot.db has readings that have not had the same rescalings as the catalog."""
        logs = [rescalings.ids(rescalings.read(file.connection)) for file in self._files or ()]
        if (
            len(set(logs)) > 1
            and self._files
            and self._files[1].connection.execute("SELECT 1 FROM frame LIMIT 1").fetchone()
        ):
            self.close()
            raise StoreDamaged(
                f"the readings in hot.db in {self._folder} have not had the same rescalings as catalog.db: {MENDING}"
            )

    def refresh_names(self) -> bool:
        """Read the names again if they have changed; return whether they have."""
        if self._files is None:
            return False
        catalog = self._files[0].connection
        version = catalog.execute("PRAGMA data_version").fetchone()[0]
        if version == self._version:
            return False
        catalog.execute("BEGIN")
        try:
            self.names = names.read(catalog)
            self.rescaled = rescalings.ids(rescalings.read(catalog))
        finally:
            catalog.execute("COMMIT")
        self._version = version
        return True

    def value(self, sid: int, number: float) -> Value:
        """Return the value that a number of a series stands for."""
        kind = self.names.series[sid].kind
        if kind == "text":
            return self._word(int(number))
        return bool(number) if kind == "state" and number in (0.0, 1.0) else number

    def values(self, sid: int, numbers: list[float]) -> list[Value]:
        """Return the values that numbers of a series stand for."""
        if self.names.series[sid].kind in ("text", "state"):
            return [self.value(sid, number) for number in numbers]
        return cast(list[Value], numbers)

    def column(self, sid: int, function: str, column: Column) -> Column:
        """Return the results of a function as values: texts have n, first and last, but no mean."""
        if self.names.series[sid].kind != "text" or function == "n":
            return column
        if function not in ("first", "last"):
            return [None] * len(column)
        return [None if value is None else self.value(sid, float(value)) for value in column]

    def _word(self, number: int) -> str:
        """Return a text; a year that is read after the names may have newer words."""
        if number not in self.names.words and self._files:
            self.names.words.update(names.words(self._files[0].connection))
        return self.names.words.get(number, f"unknown text {number}")  # the catalog is damaged, and not mended yet
