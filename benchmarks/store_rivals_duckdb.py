"""A DuckDB file with a table per device, a column per channel."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.store_data import Day
from benchmarks.store_demands import tree_bytes
from benchmarks.store_rivals import library


class Duckdb:
    """A wide table of each device."""

    def __init__(self, folder: Path) -> None:
        module: Any = library("duckdb")
        self.name = "DuckDB file"
        self.cpu = 0.0
        self._folder = folder
        self._database = module.connect(str(folder / "wide.duckdb"))

    def load(self, day: Day) -> None:
        """Insert a day from arrays."""
        columns = {"ts": day.times, **dict(zip(day.channels, day.columns, strict=True))}
        begun = time.process_time()
        self._database.register("arrays", columns)
        self._database.execute(f"CREATE TABLE IF NOT EXISTS {day.device} AS SELECT * FROM arrays LIMIT 0")
        self._database.execute(f"INSERT INTO {day.device} SELECT * FROM arrays")
        self._database.unregister("arrays")
        self.cpu += time.process_time() - begun

    def live(self, days: Sequence[Day]) -> None:
        """Insert readings in order of time, in one transaction."""
        self._database.execute("BEGIN")
        for day in days:
            self.load(day)
        self._database.execute("COMMIT")

    def settle(self) -> None:
        """Write the file."""
        begun = time.process_time()
        self._database.execute("CHECKPOINT")
        self.cpu += time.process_time() - begun

    def bytes(self) -> int:
        """Return the bytes of the file."""
        return tree_bytes(self._folder)

    def bucketed(self, channel: str, start: float, end: float, seconds: int) -> int:
        """Group by a division."""
        begun = time.process_time()
        rows = self._database.execute(
            f"SELECT (ts - {int(start * 1000)}) // {seconds * 1000} AS b, count(*), avg({channel}), min({channel}), max({channel}) "
            f"FROM meter WHERE ts >= {int(start * 1000)} AND ts < {int(end * 1000)} GROUP BY b ORDER BY b"
        ).fetchall()
        self.cpu += time.process_time() - begun
        return len(rows)

    def stop(self) -> None:
        """Close the file."""
        self._database.close()


def start(folder: Path) -> Duckdb:
    """Return the database, empty; raise ModuleNotFoundError if there is none."""
    return Duckdb(folder)
