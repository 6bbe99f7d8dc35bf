"""Heliograph's store under measurement: filled as storage fills it."""

import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path

from benchmarks.store_data import EPOCH, NODE, Day, journal
from benchmarks.store_demands import tree_bytes
from heliograph.messages import Block, frames
from heliograph.store import folder, open_writer
from heliograph.store.interface import Progress
from services.storage.journal import COMMIT_FRAMES, COMMIT_READINGS

PRODUCER = (f"{NODE}/benchmark", EPOCH)


class Filling:
    """A store that is being filled; `cpu` counts the seconds of the store, without making the data."""

    def __init__(self, data: Path, now: Callable[[], float] = time.time) -> None:
        self._data = data
        self.writer = open_writer(data, now=now)
        self.cpu = 0.0
        self.values = 0
        self.sequence = 1
        self._declared: set[str] = set()
        self._frames = 0
        self._commits = 0

    def journal(self, days: Sequence[Day]) -> None:
        """Take a day of some devices as a backlog arrives: decode the frames, write, commit as storage does, do what is due."""
        for day in days:
            self._declare(day)
            self.values += day.values
        payloads, self.sequence = journal(days, self.sequence)
        begun = time.process_time()
        for payload in payloads:
            self.message(payload)
        self.commit()
        self.cpu += time.process_time() - begun

    def day(self, day: Day) -> None:
        """Take a day without encoding it as JSON."""
        self._declare(day)
        blocks = day.blocks(COMMIT_READINGS)
        begun = time.process_time()
        for block in blocks:
            self._write([block])
            self.commit()
        self.cpu += time.process_time() - begun
        self.values += day.values

    def message(self, payload: bytes, *, maintained: bool = True) -> None:
        """Take one message as storage does; commit when the interval is over."""
        for frame in frames(payload):
            self._write(frame.blocks)
            self._frames += 1
            if self._frames >= COMMIT_FRAMES or self.writer.pending >= COMMIT_READINGS:
                self.commit(maintained=maintained)

    def commit(self, *, maintained: bool = True) -> None:
        """Commit, and do the housekeeping that is due."""
        self._commits += 1
        self.writer.commit({PRODUCER: Progress(self._commits, 0)})
        self._frames = 0
        while maintained and self.writer.maintain():
            pass

    def settle(self) -> None:
        """Do the housekeeping that would be due some day, too."""
        begun = time.process_time()
        self.writer.settle()
        self.cpu += time.process_time() - begun

    def close(self) -> None:
        """Close the files."""
        self.writer.close()

    def bytes(self) -> int:
        """Return how many bytes the store has on disk, once it is closed."""
        return tree_bytes(folder(self._data))

    def sealed_bytes(self) -> int:
        """Return how many bytes its history has; the rest does not grow with the years."""
        return sum(path.stat().st_size for path in folder(self._data).glob("history-*.db*"))

    def chunk_bytes(self) -> int:
        """Return how many bytes the blocks of the values have, without times, tiers and SQLite's own."""
        size = 0
        for path in folder(self._data).glob("history-*.db"):
            with closing(sqlite3.connect(path)) as database:
                size += database.execute("SELECT coalesce(sum(length(v)), 0) FROM chunk").fetchone()[0]
        return size

    def _declare(self, day: Day) -> None:
        if day.device not in self._declared:
            self._declared.add(day.device)
            self.writer.declare(NODE, day.device, day.info())

    def _write(self, blocks: list[Block]) -> None:
        refusals = self.writer.write(NODE, blocks)
        if refusals:
            raise ValueError(f"the store refused {refusals[0]}")


def filled(data: Path, days: Iterable[Sequence[Day]]) -> Filling:
    """Return a store that has taken a backlog of these days, settled and closed."""
    filling = Filling(data)
    try:
        for devices in days:
            filling.journal(devices)
        filling.settle()
    finally:
        filling.close()
    return filling
