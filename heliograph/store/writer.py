"""The embedded store, writing side: readings in order of arrival, one FULL commit at a time."""

import math
import sqlite3
import struct
import time
import uuid
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from heliograph import topics
from heliograph.messages import Block, Info, Value, is_value
from heliograph.store import schema
from heliograph.store.catalog import Catalog, Layout
from heliograph.store.interface import Progress, Refusal

EARLIEST = 946_684_800.0  # 2000-01-01: before it there was none of the hardware
FUTURE_SECONDS = 86_400.0  # a clock this far ahead is wrong, whoever says so
MOST_CHANNELS = 1_000
NAN = math.nan


class SqliteWriter:
    """Writes hot.db and catalog.db of a folder; `Writer` of interface.py says what it promises."""

    def __init__(self, folder: Path) -> None:
        self._catalog_db = schema.create(schema.catalog_file(folder), schema.CATALOG_PAGE, schema.CATALOG)
        self._hot = schema.create(schema.hot_file(folder), schema.HOT_PAGE, schema.HOT)
        self._catalog = Catalog(self._catalog_db)
        self._rows: list[tuple[int, int, int, bytes]] = []
        self._next: int = self._hot.execute("SELECT coalesce(max(seq), 0) + 1 FROM frame").fetchone()[0]
        self._hot.execute("INSERT OR IGNORE INTO meta VALUES('identity', ?)", (uuid.uuid4().hex[:16],))
        self.identity: str = self._hot.execute("SELECT value FROM meta WHERE key='identity'").fetchone()[0]

    @property
    def pending(self) -> int:
        """How many readings wait for the next commit."""
        return len(self._rows)

    def progress(self) -> Mapping[tuple[str, str], Progress]:
        """Return what is durable, per producer and epoch, the newest epoch last."""
        rows = self._hot.execute("SELECT producer, epoch, last, lost FROM progress ORDER BY seen")
        return {(producer, epoch): Progress(last, lost) for producer, epoch, last, lost in rows}

    def declare(self, node: str, device: str, info: Info) -> list[Refusal]:
        """Note units and kinds; return what contradicts what is stored already; raise OSError if the disk refuses it."""
        if not topics.is_name(device) or len(info.channels) > MOST_CHANNELS or not _are_channels(tuple(info.channels)):
            return [
                Refusal(
                    "not the info of a device",
                    f"{device[:80]}: {list(info.channels)[:5]}",
                )
            ]
        try:
            kept = self._catalog.declare(node, device, info)
        except sqlite3.OperationalError as error:
            raise OSError(f"the catalog cannot be written: {error}") from None
        return [Refusal("a channel cannot change between text and number", f"{device}/{name}") for name in kept]

    def write(self, node: str, blocks: list[Block]) -> list[Refusal]:
        """Take readings into the next commit; return what cannot be stored; raise OSError, with none taken, if the disk refuses."""
        refusals: list[Refusal] = []
        before = len(self._rows), self._next
        latest = time.time() + FUTURE_SECONDS
        try:
            for block in blocks:
                self._take(node, block, latest, refusals)
        except sqlite3.OperationalError as error:
            del self._rows[before[0] :]
            self._next = before[1]
            raise OSError(f"the catalog cannot be written: {error}") from None
        return refusals

    def _take(self, node: str, block: Block, latest: float, refusals: list[Refusal]) -> None:
        channels = block.channels
        if not topics.is_name(block.device) or not 0 < len(channels) <= MOST_CHANNELS or not _are_channels(channels):
            refusals.append(
                Refusal(
                    "not the names of a device and its channels",
                    f"{block.device}: {channels}"[:200],
                )
            )
            return
        layout: Layout | None = None
        wanted = len(channels) + 1
        pack = struct.Struct(f"<{len(channels)}d").pack
        for row in block.rows:
            if len(row) != wanted or not _is_time(row[0], latest):
                refusals.append(Refusal("not a time and values", repr(row)[:200]))
                continue
            if layout is None:
                layout = self._catalog.layout(node, block.device, channels, row[1:])
            try:
                # numbers and booleans are packed as they are; anything else takes the careful way
                values = pack(*self._numbers(layout, row[1:], refusals)) if layout.texts else pack(*row[1:])
            except (struct.error, OverflowError):
                values = pack(*self._numbers(layout, row[1:], refusals))
            self._rows.append((self._next, layout.id, round(row[0] * 1000), values))
            self._next += 1

    def commit(self, progress: Mapping[tuple[str, str], Progress]) -> None:
        """Make readings and progress durable together; raise OSError if the disk refuses, and keep all for the next try."""
        now = round(time.time() * 1000)
        marks = [(producer, epoch, last, lost, now) for (producer, epoch), (last, lost) in progress.items()]
        try:
            self._catalog.commit()
            self._hot.execute("BEGIN IMMEDIATE")
            self._hot.executemany("INSERT INTO frame VALUES(?, ?, ?, ?)", self._rows)
            self._hot.executemany("INSERT OR REPLACE INTO progress VALUES(?, ?, ?, ?, ?)", marks)
            self._hot.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if self._hot.in_transaction:
                self._hot.execute("ROLLBACK")
            raise OSError(f"the store cannot be written: {error}") from None
        self._rows.clear()

    def close(self) -> None:
        """Let go of the files; what is not committed is forgotten."""
        self._hot.close()
        self._catalog_db.close()

    def _numbers(self, layout: Layout, values: list[Value], refusals: list[Refusal]) -> list[float]:
        numbers = []
        for value, kind in zip(values, layout.kinds, strict=True):
            if value is None:
                numbers.append(NAN)
            elif not is_value(value) or (isinstance(value, str) and kind != "text"):
                refusals.append(Refusal(f"not a value of kind {kind}", repr(value)[:200]))
                numbers.append(NAN)
            elif kind == "text":
                numbers.append(self._catalog.word(value if isinstance(value, str) else str(value)))
            else:
                numbers.append(float(value))
        return numbers


def _is_time(value: object, latest: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and EARLIEST <= value <= latest


@lru_cache(1024)
def _are_channels(channels: tuple[str, ...]) -> bool:
    return all(map(topics.is_channel, channels)) and len(set(channels)) == len(channels)
