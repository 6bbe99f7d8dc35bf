"""The embedded store, reading side: answers from hot.db while another process writes it."""

import array
import math
import sqlite3
import struct
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from heliograph.errors import StoreAway, StoreDamaged
from heliograph.messages import Kind, Value
from heliograph.store import schema, totals
from heliograph.store.interface import Arrival, Function, Point, RawPage, Series
from heliograph.store.zones import Zones

DAY = 86_400_000  # ms
SCAN = 10_000  # rows at a time, so that nobody holds a read transaction for long


class SqliteReader:
    """Reads the store in a folder; `Reader` of interface.py says what it promises."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        self._files: tuple[schema.ReadOnly, schema.ReadOnly] | None = None  # catalog.db and hot.db
        self._forget()

    def _forget(self) -> None:
        """Know nothing: the next store may be another one."""
        self._version = -1
        self._series: dict[int, Series] = {}
        self._layouts: dict[int, tuple[str, str, array.array[int]]] = {}
        self._places: dict[int, dict[int, int]] = {}  # series → layout → place of its value in the payload
        self._words: dict[int, str] = {}
        self._zones = Zones()
        self._latest: dict[int, tuple[int, float]] = {}
        self._latest_seq = 0

    def close(self) -> None:
        """Let go of the files."""
        with self._lock:
            for file in self._files or ():
                file.close()
            self._files = None
            self._forget()

    def series(self) -> list[Series]:
        """Return all series, in order of their ids."""
        with self._reading():
            return list(self._series.values())

    def latest(self, ids: Sequence[int]) -> dict[int, Point]:
        """Return the newest point of each of these series that has one."""
        with self._reading() as hot:
            while rows := hot.execute(
                "SELECT seq, layout, ts, v FROM frame WHERE seq > ? ORDER BY seq LIMIT ?",
                (self._latest_seq, SCAN),
            ).fetchall():
                for _, layout, ts, payload in rows:
                    self._remember(layout, ts, payload)
                self._latest_seq = rows[-1][0]
            return {
                sid: Point(found[0] / 1000, self._value(self._series[sid].kind, found[1]))
                for sid in ids
                if (found := self._latest.get(sid)) and sid in self._series
            }

    def raw(
        self,
        series: int,
        start: float,
        end: float,
        *,
        limit: int,
        after: float | None = None,
    ) -> RawPage:
        """Return the points of [start, end), at most `limit` of them, starting at `after`."""
        page = RawPage([], [], None)
        with self._reading() as hot:
            kind = self._series[series].kind
            for ts, number in self._points(hot, series, _ms(start if after is None else max(after, start)), _ms(end)):
                if len(page.times) == limit:
                    return page._replace(next=ts / 1000)
                page.times.append(ts / 1000)
                page.values.append(self._value(kind, number))
        return page

    def aggregate(
        self, series: int, edges: Sequence[float], functions: Sequence[Function]
    ) -> dict[str, list[Value | None]]:
        """Return one value per function and bucket; None for a bucket without points."""
        start, end, gap = _ms(edges[0]), _ms(edges[-1]), _ms(totals.GAP_SECONDS)
        with self._reading() as hot:
            kind = self._series[series].kind
            before: list[tuple[int, float]] = []
            if "delta" in functions or "integral" in functions:  # they reach across the edges
                before = self._last_before(hot, series, start, None if "delta" in functions else start - gap)
                end += gap
            points = chain(before, self._points(hot, series, start, end))
            buckets = totals.aggregate(((ts / 1000, number) for ts, number in points), edges)
            columns = {function: totals.column(buckets, function) for function in functions}
            return {name: self._told(kind, name, column) for name, column in columns.items()}

    def export(self, ids: Sequence[int], start: float, end: float) -> Iterator[tuple[float, int, Value]]:
        """Yield (time, series, value) of [start, end) in order of time, a day at a time."""
        begin, stop = _ms(start), _ms(end)
        while begin < stop:
            until = min(stop, (begin // DAY + 1) * DAY)
            with self._reading() as hot:
                found = [
                    (ts, sid, self._value(self._series[sid].kind, number))
                    for sid in ids
                    for ts, number in self._points(hot, sid, begin, until)
                ]
                begin = self._zones.next_start(until) if not found else until
            found.sort(key=lambda item: item[:2])
            yield from ((ts / 1000, sid, value) for ts, sid, value in found)

    def since(self, cursor: int, limit: int) -> list[Arrival]:
        """Return at most `limit` readings that arrived after a cursor, oldest arrival first."""
        with self._reading() as hot:
            rows = hot.execute(
                "SELECT seq, layout, ts, v FROM frame WHERE seq > ? ORDER BY seq LIMIT ?",
                (cursor, limit),
            ).fetchall()
            arrivals = []
            for seq, layout, ts, payload in rows:
                node, device, sids = self._layout(layout)
                values = {
                    self._series[sid].channel: self._value(self._series[sid].kind, number)
                    for sid, number in zip(sids, struct.unpack(f"<{len(sids)}d", payload), strict=True)
                    if not math.isnan(number)
                }
                arrivals.append(Arrival(seq, node, device, ts / 1000, values))
            return arrivals

    def _last_before(
        self, hot: sqlite3.Connection, series: int, end: int, reach: int | None
    ) -> list[tuple[int, float]]:
        """Return the newest (ms, number) before `end`, and not before `reach`; none if there is none."""
        self._zones.refresh(hot)
        earliest = self._zones.earliest()
        if earliest is None:
            return []
        reach = earliest if reach is None else max(reach, earliest)
        width = DAY
        while reach < end:
            start = max(reach, end - width)
            if found := deque(self._points(hot, series, start, end), maxlen=1):
                return list(found)
            end, width = start, width * 2
        return []

    def _points(self, hot: sqlite3.Connection, series: int, start: int, end: int) -> Iterator[tuple[int, float]]:
        """Yield (ms, number) of [start, end) in order of time; of equal times the last arrival."""
        places = self._places.get(series)
        if not places or end <= start:
            return
        self._zones.refresh(hot)
        layouts = ",".join(map(str, places))
        for begin, until in self._zones.steps(start, end, DAY):
            rows: list[tuple[int, int, int, bytes]] = []
            for first, last in self._zones.overlapping(begin, until):
                rows += hot.execute(
                    f"SELECT ts, seq, layout, v FROM frame WHERE seq BETWEEN ? AND ? AND ts >= ? AND ts < ? "
                    f"AND layout IN ({layouts})",
                    (first, last, begin, until),
                )
            rows.sort(key=lambda row: row[:2])
            kept_ts, kept = None, 0.0
            for ts, _, layout, payload in rows:
                number: float = struct.unpack_from("<d", payload, places[layout] * 8)[0]
                if math.isnan(number):
                    continue
                if kept_ts is not None and ts != kept_ts:
                    yield kept_ts, kept
                kept_ts, kept = ts, number
            if kept_ts is not None:
                yield kept_ts, kept

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Hold hot.db, with all names known that it refers to; raise StoreAway or StoreDamaged."""
        with self._lock:
            try:
                catalog, hot = self._open()
                version = catalog.execute("PRAGMA data_version").fetchone()[0]
                if version != self._version:
                    self._learn()
                    self._version = version
                yield hot
            except sqlite3.OperationalError as error:
                self.close()
                raise StoreAway(f"the store in {self._folder} does not answer: {error}") from None
            except sqlite3.DatabaseError as error:
                self.close()
                raise StoreDamaged(f"{self._folder}: {error}; move it aside, or restore a backup") from None

    def _open(self) -> tuple[sqlite3.Connection, sqlite3.Connection]:
        """Return the connections to catalog.db and hot.db, which may have been replaced."""
        if self._files and not all(file.is_current() for file in self._files):
            self.close()
        if self._files is None:
            catalog = schema.ReadOnly(schema.catalog_file(self._folder))
            try:
                self._files = catalog, schema.ReadOnly(schema.hot_file(self._folder))
            except (StoreAway, StoreDamaged):
                catalog.close()
                raise
        return self._files[0].connection, self._files[1].connection

    def _learn(self) -> None:
        """Learn all names, as they are at one moment."""
        catalog, _ = self._open()
        catalog.execute("BEGIN")
        try:
            self._read_names(catalog)
        finally:
            catalog.execute("COMMIT")

    def _read_names(self, catalog: sqlite3.Connection) -> None:
        devices: dict[int, tuple[str, str]] = {}
        for number, full_name in catalog.execute("SELECT id, name FROM device"):
            node, _, device = full_name.partition("/")
            devices[number] = (node, device)
        self._series = {
            number: Series(number, *devices[owner], name, unit or "", kind or "gauge")
            for number, owner, name, unit, kind in catalog.execute(
                "SELECT id, device, name, unit, kind FROM series ORDER BY id"
            )
        }
        for number, owner, blob in catalog.execute("SELECT id, device, sids FROM layout"):
            sids = array.array("I", blob)
            if sys.byteorder == "big":
                sids.byteswap()
            self._layouts[number] = (*devices[owner], sids)
            for place, sid in enumerate(sids):
                self._places.setdefault(sid, {})[number] = place
        self._words = dict(catalog.execute("SELECT id, text FROM word"))

    def _layout(self, number: int) -> tuple[str, str, "array.array[int]"]:
        """Return a layout that a frame refers to: the catalog has it, at the latest by now."""
        if number not in self._layouts:
            self._learn()
        return self._layouts[number]

    def _remember(self, layout: int, ts: int, payload: bytes) -> None:
        _, _, sids = self._layout(layout)
        for sid, number in zip(sids, struct.unpack(f"<{len(sids)}d", payload), strict=True):
            if not math.isnan(number) and (sid not in self._latest or self._latest[sid][0] <= ts):
                self._latest[sid] = (ts, number)

    def _value(self, kind: Kind, number: float) -> Value:
        if kind == "text":
            if int(number) not in self._words:
                self._learn()
            return self._words[int(number)]
        return bool(number) if kind == "state" and number in (0.0, 1.0) else number

    def _told(self, kind: Kind, function: str, column: list[Value | None]) -> list[Value | None]:
        """A text has a first and a last, and a number of them, but no mean."""
        if kind != "text" or function == "n":
            return column
        if function not in ("first", "last"):
            return [None] * len(column)
        return [self._value(kind, float(value)) if value is not None else None for value in column]


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
