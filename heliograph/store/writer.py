"""The embedded store, writing side: readings in order of arrival, one FULL commit at a time."""

import math
import struct
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any

from heliograph import topics
from heliograph.lock import Lock
from heliograph.messages import Block, Info, Value, is_value
from heliograph.store import schema
from heliograph.store.catalog import Catalog, Layout
from heliograph.store.interface import Progress, Refusal

EARLIEST = 946_684_800.0  # 2000-01-01: before it there was none of the hardware
LATEST = 4_102_444_800.0  # 2100-01-01: for those who do not know what time it is
FUTURE_SECONDS = 86_400.0  # a clock this far ahead is wrong, whoever says so
MOST_CHANNELS = 1_000
NAN = math.nan
TIMES = (float, int)  # not bool, which is an int too


class SqliteWriter:
    """Writes hot.db and catalog.db of a folder; `Writer` of interface.py says what it promises."""

    def __init__(self, folder: Path, believe_clock: Callable[[], bool]) -> None:
        self._folder = folder
        self._believe_clock = believe_clock
        self._rows: list[tuple[int, int, int, bytes]] = []
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as opened:
            self._lock = Lock(folder / "lock", "store")
            opened.callback(self._lock.release)
            self._catalog_db = schema.create(schema.catalog_file(folder), schema.CATALOG_PAGE, schema.CATALOG)
            opened.callback(self._catalog_db.close)
            self._hot = schema.create(schema.hot_file(folder), schema.HOT_PAGE, schema.HOT)
            opened.callback(self._hot.close)
            with schema.refusing(folder):
                self._catalog = Catalog(self._catalog_db)
                self._next: int = self._one("SELECT coalesce(max(seq), 0) + 1 FROM frame")
                self._seen: int = self._one("SELECT coalesce(max(seen), 0) FROM progress")
                self._hot.execute("INSERT OR IGNORE INTO meta VALUES('identity', ?)", (uuid.uuid4().hex[:16],))
                self.identity: str = self._one("SELECT value FROM meta WHERE key='identity'")
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
        if not topics.is_name(device) or len(info.channels) > MOST_CHANNELS or not _are_channels(tuple(info.channels)):
            return [
                Refusal(
                    "not the info of a device",
                    f"{device[:80]}: {list(info.channels)[:5]}",
                )
            ]
        kept = self._catalog.declare(node, device, info)
        return [Refusal("a channel cannot change between text and number", f"{device}/{name}") for name in kept]

    def write(self, node: str, blocks: list[Block]) -> list[Refusal]:
        """Take readings into the next commit; return what cannot be stored."""
        refusals: list[Refusal] = []
        latest = time.time() + FUTURE_SECONDS if self._believe_clock() else LATEST
        for block in blocks:
            self._take(node, block, latest, refusals)
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
            if len(row) != wanted or type(row[0]) not in TIMES or not EARLIEST <= row[0] <= latest:
                refusals.append(Refusal("not a time and values", repr(row)[:200]))
                continue
            values = row[1:]
            if layout is None:
                layout = self._catalog.layout(node, block.device, channels, values)
            try:
                # finite numbers and booleans are packed as they are; anything else takes the careful way
                plain = not layout.texts and math.isfinite(sum(values))
                packed = pack(*(values if plain else self._numbers(layout, values, refusals)))
            except (TypeError, OverflowError):
                packed = pack(*self._numbers(layout, values, refusals))
            self._rows.append((self._next, layout.id, round(row[0] * 1000), packed))
            self._next += 1

    def commit(self, progress: Mapping[tuple[str, str], Progress]) -> None:
        """Make readings and progress durable together; raise OSError if the disk refuses, and keep all for the next try."""
        # a clock that was set back must not make an old epoch look like the newest
        seen = max(round(time.time() * 1000), self._seen + 1)
        marks = [
            (producer, epoch, last, lost, seen + place)
            for place, ((producer, epoch), (last, lost)) in enumerate(progress.items())
        ]
        with schema.refusing(self._folder):
            self._catalog.commit()
            with schema.transaction(self._hot):
                self._hot.executemany("INSERT INTO frame VALUES(?, ?, ?, ?)", self._rows)
                self._hot.executemany("INSERT OR REPLACE INTO progress VALUES(?, ?, ?, ?, ?)", marks)
        self._rows.clear()
        self._seen = seen + len(marks)

    def close(self) -> None:
        """Let go of the files; what is not committed is forgotten."""
        self._hot.close()
        self._catalog_db.close()
        self._lock.release()

    def _one(self, question: str) -> Any:
        return self._hot.execute(question).fetchone()[0]

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


@lru_cache(1024)
def _are_channels(channels: tuple[str, ...]) -> bool:
    return all(map(topics.is_channel, channels)) and len(set(channels)) == len(channels)
