"""The embedded store, writing side: readings in order of arrival, one FULL commit at a time."""

import struct
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from heliograph.lock import Lock
from heliograph.messages import Block, Info
from heliograph.store import hot, readings, schema
from heliograph.store.catalog import Catalog
from heliograph.store.housekeeping import Housekeeping
from heliograph.store.interface import FOR_EVER, Keep, Progress, Refusal


class SqliteWriter:
    """Writes the files of a folder; `Writer` of interface.py says what it promises."""

    def __init__(
        self,
        folder: Path,
        believe_clock: Callable[[], bool],
        keep: Keep = FOR_EVER,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Open or make the store; raise OSError, or StoreDamaged if its catalog cannot be read."""
        self._folder = folder
        self._believe_clock = believe_clock
        self._rows: list[tuple[int, int, int, bytes]] = []
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as opened:
            self._lock = Lock(folder / "lock", "store")
            opened.callback(self._lock.release)
            self._catalog_db = schema.create(schema.catalog_file(folder), schema.CATALOG_PAGE, schema.CATALOG)
            opened.callback(self._catalog_db.close)
            self._hot = hot.opened(folder, now())
            opened.callback(self._hot.close)
            with schema.refusing(folder):
                self._catalog = Catalog(self._catalog_db)
                self._next = hot.next_number(self._hot, folder)
                self._seen = int(schema.one(self._hot, "SELECT coalesce(max(seen), 0) FROM progress"))
                self._hot.execute("INSERT OR IGNORE INTO meta VALUES('identity', ?)", (uuid.uuid4().hex[:16],))
                self.identity = str(schema.one(self._hot, "SELECT value FROM meta WHERE key='identity'"))
            self._care = Housekeeping(folder, self._hot, self._catalog_db, keep, now, self._take_again)
            opened.callback(self._care.close)
            opened.pop_all()

    @property
    def pending(self) -> int:
        """How many readings wait for the next commit."""
        return len(self._rows)

    def progress(self) -> Mapping[tuple[str, str], Progress]:
        """Return what is durable, per producer and epoch, the newest epoch last."""
        rows = self._hot.execute("SELECT producer, epoch, last, lost FROM progress ORDER BY seen")
        return {(producer, epoch): Progress(last, lost) for producer, epoch, last, lost in rows}

    def declare(self, node: str, device: str, info: Info) -> list[Refusal]:
        """Note units and kinds; return what contradicts what is stored already."""
        refused = readings.refused_info(device, info)
        if refused:
            return refused
        return [readings.refused_kind(device, name) for name in self._catalog.declare(node, device, info)]

    def write(self, node: str, blocks: list[Block]) -> list[Refusal]:
        """Take readings into the next commit; return what cannot be stored."""
        refusals: list[Refusal] = []
        latest = readings.latest_time(clock_is_right=self._believe_clock())
        let_go = self._care.let_go
        for block in blocks:
            pack = struct.Struct(f"<{len(block.channels)}d").pack
            for layout, moment, numbers in readings.rows(self._catalog, node, block, latest, refusals):
                if moment < let_go:
                    refusals.append(Refusal("older than what is kept", f"{block.device}: {moment / 1000}"))
                    continue
                self._rows.append((self._next, layout.id, moment, pack(*numbers)))
                self._next += 1
        return refusals

    def commit(self, progress: Mapping[tuple[str, str], Progress]) -> None:
        """Make readings and progress durable together; raise OSError if the disk refuses, and keep all for the next try."""
        # a clock that was set back must not make an old epoch look like the newest
        seen = max(round(time.time() * 1000), self._seen + 1)
        marks = [
            (producer, epoch, last, lost, seen + place)
            for place, ((producer, epoch), (last, lost)) in enumerate(progress.items())
        ]
        with schema.refusing(self._folder):
            if self._catalog.commit():
                self._care.learn()
            with schema.transaction(self._hot):
                self._hot.executemany("INSERT INTO frame VALUES(?, ?, ?, ?)", self._rows)
                self._hot.executemany("INSERT OR REPLACE INTO progress VALUES(?, ?, ?, ?, ?)", marks)
        self._rows.clear()
        self._seen = seen + len(marks)

    def replaced(self, series: int, time: float) -> None:
        """Note that the device behind a counter was replaced; durable at once."""
        with schema.refusing(self._folder), schema.transaction(self._catalog_db):
            if self._catalog_db.execute("SELECT 1 FROM series WHERE id=?", (series,)).fetchone() is None:
                raise KeyError(series)
            self._catalog_db.execute("INSERT OR IGNORE INTO replacement VALUES(?, ?)", (series, round(time * 1000)))
        self._care.learn()

    def maintain(self) -> bool:
        """Do one piece of the housekeeping that is due; return whether more is due."""
        let_go = self._care.let_go
        more = self._care.step()
        if self._care.let_go != let_go:  # what waits for the next commit came too late now
            self._rows = [row for row in self._rows if row[2] >= self._care.let_go]
        return more

    def settle(self) -> None:
        """Do all housekeeping that would be due some day."""
        self._care.settle()

    def problems(self) -> list[str]:
        """Return what is damaged."""
        return self._care.problems()

    def close(self) -> None:
        """Let go of the files; what is not committed is forgotten."""
        self._care.close()
        self._hot.close()
        self._catalog_db.close()
        self._lock.release()

    def _take_again(self, frames: list[tuple[int, int, bytes]]) -> bool:
        """Store salvaged frames under new numbers; return False if others are waiting, which have smaller ones."""
        if self._rows:
            return False
        kept = [frame for frame in frames if frame[1] >= self._care.let_go]
        rows = [(self._next + place, *frame) for place, frame in enumerate(kept)]
        with schema.refusing(self._folder), schema.transaction(self._hot):
            self._hot.executemany("INSERT INTO frame VALUES(?, ?, ?, ?)", rows)
        self._next += len(rows)
        return True
