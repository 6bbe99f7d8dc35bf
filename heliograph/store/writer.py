"""The embedded store, writing side: readings in order of arrival, one FULL commit at a time."""

import struct
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from heliograph import durable, renames
from heliograph.lock import Lock
from heliograph.messages import Block, Info
from heliograph.renames import Renames
from heliograph.store import hot, readings, recovery, schema, unfinished
from heliograph.store.catalog import Catalog, CatalogLayout
from heliograph.store.housekeeping import Housekeeping
from heliograph.store.interface import FOR_EVER, Keep, Progress, Refusal
from heliograph.store.inventory import Inventory
from heliograph.store.retention import free_bytes

Checked = tuple[CatalogLayout, int, Sequence[float]]


class SqliteWriter:
    """Writes the files of a folder; `Writer` of interface.py is its contract."""

    def __init__(
        self,
        folder: Path,
        clock_is_right: Callable[[], bool],
        keep: Keep = FOR_EVER,
        now: Callable[[], float] = time.time,
        room: Callable[[Path], int] = free_bytes,
        *,
        joined: bool = False,
    ) -> None:
        """Open or create the store, and mend what is damaged; raise OSError, or StoreDamaged for a file of another format and a half restored store."""
        self._folder = folder
        self._clock_is_right = clock_is_right
        self._now = now
        self._rows: list[tuple[int, int, int, bytes, int]] = []
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as opened:
            self._lock = Lock(folder / schema.LOCK, "store")
            opened.callback(self._lock.release)
            schema.refuse_half_restored(folder)
            schema.roll_back(folder)
            joined |= unfinished.finish(folder)
            files = recovery.opened(folder, now(), joined=joined)
            self._catalog_db, self._hot = files.catalog, files.hot
            opened.callback(self._catalog_db.close)
            opened.callback(self._hot.close)
            with schema.refusing(folder):
                self._catalog = Catalog(self._catalog_db, files.highest)
                self._next = hot.next_number(self._hot, folder)
                self._seen = int(schema.one(self._hot, "SELECT coalesce(max(seen), 0) FROM progress"))
                self._hot.execute("INSERT OR IGNORE INTO meta VALUES('identity', ?)", (uuid.uuid4().hex[:16],))
                self.identity = str(schema.one(self._hot, "SELECT value FROM meta WHERE key='identity'"))
                self._catalog_db.execute("INSERT OR REPLACE INTO meta VALUES('identity', ?)", (self.identity,))
            recovery.copy_names(self._catalog_db, self._hot, folder)
            hot_file = schema.hot_file(folder)
            self._in_place = durable.InPlace(
                schema.catalog_file(folder), hot_file, hot_file.with_name(f"{hot_file.name}-wal")
            )
            self._inventory = Inventory(self._catalog_db, folder)
            for loss in files.losses:
                self._inventory.note_loss(now(), loss)
            self._housekeeping = Housekeeping(
                folder,
                self._hot,
                self._catalog,
                self._catalog_db,
                self._inventory,
                keep,
                now,
                clock_is_right,
                self._take_again,
                room,
            )
            opened.callback(self._housekeeping.close)
            opened.pop_all()

    @property
    def pending(self) -> int:
        """How many readings wait for the next commit."""
        return len(self._rows)

    def progress(self) -> Mapping[tuple[str, str], Progress]:
        """Return what is durable, per producer and epoch, the newest epoch last."""
        rows = self._hot.execute("SELECT producer, epoch, last, lost FROM progress ORDER BY seen")
        return {(producer, epoch): Progress(last, lost) for producer, epoch, last, lost in rows}

    def renames(self) -> Renames:
        """Return the renames that the catalog has."""
        return renames.decode(schema.meta(self._catalog_db, renames.KEY))

    def declare(self, node: str, device: str, info: Info) -> list[Refusal]:
        """Note units and kinds; return the changes that are refused."""
        refused = readings.refused_info(device, info)
        if refused:
            return refused
        return [readings.refused_kind(device, name) for name in self._catalog.declare(node, device, info)]

    def by_stored_names(self) -> None:
        """From now on, take channels under the names that they have in the store."""
        self._catalog.units.by_stored_names()

    def write(self, node: str, blocks: list[Block]) -> list[Refusal]:
        """Take readings into the next commit; return what cannot be stored."""
        refusals: list[Refusal] = []
        latest = readings.latest_time(self._now(), clock_is_right=self._clock_is_right())
        dropped_before = self._housekeeping.retention.dropped_before
        crc = schema.frame_crc
        for block in blocks:
            pack = struct.Struct(f"<{len(block.channels)}d").pack
            rows = readings.rows(self._catalog, node, block, latest, refusals)
            if dropped_before:
                rows = _kept(rows, dropped_before, block.device, refusals)
            self._rows += [
                (number, layout.id, moment, payload := pack(*numbers), crc(number, layout.id, moment, payload))
                for number, (layout, moment, numbers) in enumerate(rows, self._next)
            ]
            self._next += len(rows)
        return refusals

    def commit(self, progress: Mapping[tuple[str, str], Progress]) -> None:
        """Make readings and progress durable together; raise OSError if the disk refuses, with everything kept."""
        # a clock that was set back must not make an old epoch look like the newest
        seen = max(round(time.time() * 1000), self._seen + 1)
        marks = [
            (producer, epoch, last, lost, seen + index)
            for index, ((producer, epoch), (last, lost)) in enumerate(progress.items())
        ]
        with schema.refusing(self._folder):
            if self._catalog.commit():
                self._housekeeping.learn()
            with schema.transaction(self._hot):
                self._hot.executemany("INSERT INTO frame VALUES(?, ?, ?, ?, ?)", self._rows)
                self._hot.executemany("INSERT OR REPLACE INTO progress VALUES(?, ?, ?, ?, ?)", marks)
                copied = self._catalog.copy_into(self._hot)
                self._in_place.check()
            self._catalog.copied(copied)
        self._rows.clear()
        self._seen = seen + len(marks)

    def replaced(self, series: int, time: float) -> None:
        """Note that the device behind a counter was replaced; durable at once."""
        with schema.refusing(self._folder), schema.transaction(self._catalog_db):
            if self._catalog_db.execute("SELECT 1 FROM series WHERE id=?", (series,)).fetchone() is None:
                raise KeyError(series)
            self._catalog_db.execute("INSERT OR IGNORE INTO replacement VALUES(?, ?)", (series, round(time * 1000)))
        recovery.copy_names(self._catalog_db, self._hot, self._folder)
        self._housekeeping.learn()

    def delete(self, series: Sequence[int], start: float, end: float) -> int:
        """Delete the points of series in [start, end); return how many. Durable at once."""
        begin, stop = round(start * 1000), round(end * 1000)
        if self._rows:
            raise ValueError("readings wait for the commit")
        return self._housekeeping.delete(list(series), begin, stop) if begin < stop else 0

    def maintain(self) -> bool:
        """Do one piece of the housekeeping that is due; return whether more is due."""
        dropped_before = self._housekeeping.retention.dropped_before
        more = self._housekeeping.step()
        if (
            self._housekeeping.retention.dropped_before != dropped_before
        ):  # readings that wait for the commit may be too old now
            self._rows = [row for row in self._rows if row[2] >= self._housekeeping.retention.dropped_before]
        return more

    def settle(self) -> None:
        """Do all housekeeping now, also what is due later."""
        self._housekeeping.settle()

    def problems(self) -> list[str]:
        """Return what is damaged, a sentence each."""
        return self._housekeeping.problems()

    def mend(self) -> None:
        """Read everything at rest now, and mend what is damaged; raise OSError if the disk refuses."""
        self._housekeeping.mend()

    def dropped(self) -> list[str]:
        """Return what retention has dropped, a sentence each, the newest last."""
        return self._housekeeping.retention.dropped

    def acknowledge(self) -> list[str]:
        """Forget what was lost, missing years included; return what that was, a sentence each."""
        return self._inventory.acknowledge()

    def close(self) -> None:
        """Close the files; readings that are not committed are discarded."""
        self._housekeeping.close()
        self._hot.close()
        self._catalog_db.close()
        self._lock.release()

    def _take_again(self, frames: list[tuple[int, int, bytes]]) -> bool:
        """Store salvaged frames under new numbers; return False while readings with smaller numbers wait for the commit."""
        if self._rows:
            return False
        kept = [frame for frame in frames if frame[1] >= self._housekeeping.retention.dropped_before]
        rows = [(number, *frame, schema.frame_crc(number, *frame)) for number, frame in enumerate(kept, self._next)]
        with schema.refusing(self._folder), schema.transaction(self._hot):
            self._hot.executemany("INSERT INTO frame VALUES(?, ?, ?, ?, ?)", rows)
            copied = self._catalog.copy_into(self._hot)
        self._catalog.copied(copied)
        self._next += len(rows)
        return True


def _kept(rows: list[Checked], dropped_before: int, device: str, refusals: list[Refusal]) -> list[Checked]:
    """Return the rows from `dropped_before` on; add the others to the refusals."""
    refusals += [
        Refusal("older than what is kept", f"{device}: {row[1] / 1000}") for row in rows if row[1] < dropped_before
    ]
    return [row for row in rows if row[1] >= dropped_before]
