"""A table of rows in SQLite: what one would write first."""

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.store_data import Day
from benchmarks.store_demands import tree_bytes


class Sqlite:
    """reading(sid, ts, v), primary key (sid, ts), WITHOUT ROWID; WAL, FULL."""

    def __init__(self, folder: Path) -> None:
        self.name = "SQLite rows"
        self.cpu = 0.0
        self._folder = folder
        self._ids: dict[tuple[str, str], int] = {}
        self._database = sqlite3.connect(folder / "rows.db", isolation_level=None)
        self._database.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
            "CREATE TABLE IF NOT EXISTS reading(sid INT, ts INT, v REAL, PRIMARY KEY(sid, ts)) WITHOUT ROWID;"
        )

    def load(self, day: Day) -> None:
        """Insert series after series, which is the order of the table: a transaction a day."""
        times = day.times.tolist()
        columns = [(self._id(day.device, name), column) for name, column in zip(day.channels, day.columns, strict=True)]
        begun = time.process_time()
        self._database.execute("BEGIN")
        for sid, column in columns:
            rows = [(sid, ts, value) for ts, value in zip(times, column.tolist(), strict=True)]
            self._database.executemany("INSERT OR REPLACE INTO reading VALUES(?, ?, ?)", rows)
        self._database.execute("COMMIT")
        self.cpu += time.process_time() - begun

    def live(self, days: Sequence[Day]) -> None:
        """Insert readings in order of time, in one transaction."""
        self._database.execute("BEGIN")
        for day in days:
            for name, column in zip(day.channels, day.columns, strict=True):
                sid = self._id(day.device, name)
                rows = [(sid, ts, value) for ts, value in zip(day.times.tolist(), column.tolist(), strict=True)]
                self._database.executemany("INSERT OR REPLACE INTO reading VALUES(?, ?, ?)", rows)
        self._database.execute("COMMIT")

    def settle(self) -> None:
        """Empty the write-ahead log."""
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def bytes(self) -> int:
        """Return the bytes of the file."""
        return tree_bytes(self._folder)

    def bucketed(self, channel: str, start: float, end: float, seconds: int) -> int:
        """Group by a division."""
        begun = time.process_time()
        rows = self._database.execute(
            "SELECT (ts - ?) / ?, count(*), avg(v), min(v), max(v) FROM reading WHERE sid=? AND ts >= ? AND ts < ? GROUP BY 1",
            (int(start * 1000), seconds * 1000, self._id("meter", channel), int(start * 1000), int(end * 1000)),
        ).fetchall()
        self.cpu += time.process_time() - begun
        return len(rows)

    def stop(self) -> None:
        """Close the file."""
        self._database.close()

    def _id(self, device: str, channel: str) -> int:
        return self._ids.setdefault((device, channel), len(self._ids) + 1)


def start(folder: Path) -> Sqlite:
    """Return the database, empty."""
    return Sqlite(folder)
