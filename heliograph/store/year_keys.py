"""The keys of the rows of a year, once more in an index: a damaged page hides the rows that it had, and SQLite does not notice."""

import sqlite3
from typing import Literal, get_args

from heliograph.store import blocks

TABLES = ("axis", "chunk", "r5m_month", "r1h_month", "r1h_year")  # with an index of their keys
ArrivalIndex = Literal["arrival", "keys_of_axis"]  # both have all axes, with smin and smax


class Keys:
    """Compares tables with their indexes; every method may raise sqlite3.Error.

    A year that an older Heliograph wrote last has no such indexes, and then nothing is missed.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._indexes: frozenset[str] | None = None

    def has(self, table: str) -> bool:
        """Whether the keys of a table have an index."""
        if self._indexes is None:
            rows = self._db.execute("SELECT name FROM sqlite_master WHERE type = 'index'")
            self._indexes = frozenset(name for (name,) in rows)
        return f"keys_of_{table}" in self._indexes

    def forget(self) -> None:
        """Look again which indexes there are: a writer may have made them."""
        self._indexes = None

    def refuse_missing(self, table: str, k: int, what: str) -> None:
        """Raise BlockDamaged if a row that was not found should be there."""
        if self.has(table):
            query = f"SELECT 1 FROM {table} INDEXED BY keys_of_{table} WHERE k = ?"
            if self._db.execute(query, (k,)).fetchone():
                raise blocks.BlockDamaged(f"{what} is missing")

    def compare_axes(self) -> None:
        """Raise BlockDamaged if the two indexes of the axes differ: one of them has lost some."""
        if self.has("axis"):
            one, other = (f"SELECT k, smin, smax FROM axis INDEXED BY {index}" for index in get_args(ArrivalIndex))
            self._refuse_other_rows(one, other, "the indexes of the axes differ")

    def compare(self) -> None:
        """Raise BlockDamaged if a table and its index differ: one of them has lost rows."""
        self.compare_axes()
        for table in filter(self.has, TABLES):
            rows = f"SELECT {'k, smin, smax' if table == 'axis' else 'k'} FROM {table}"
            self._refuse_other_rows(
                f"{rows} NOT INDEXED",
                f"{rows} INDEXED BY keys_of_{table}",
                f"{table} and the index of its keys differ",
            )

    def _refuse_other_rows(self, one: str, other: str, why: str) -> None:
        # compared by SQLite: damaged rows may have values that Python cannot sort, or decode
        for query, without in ((one, other), (other, one)):
            if self._db.execute(f"{query} EXCEPT {without} LIMIT 1").fetchone():
                raise blocks.BlockDamaged(why)


def are_whole(db: sqlite3.Connection) -> bool:
    """Whether no row of a year that its indexes know is hidden by a damaged page."""
    try:
        Keys(db).compare()
    except (sqlite3.Error, blocks.BlockDamaged):
        return False
    return True
