"""The content of hot.db in a reader's memory: only new readings are read from the file."""

import math
import sqlite3
import struct
from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from heliograph.store import damaged_hot, schema
from heliograph.store.cells import DAY, Track, latest
from heliograph.store.names import Names
from heliograph.store.vectors import Vector, ops


class HotFrame(NamedTuple):
    """One reading as it arrived."""

    number: int
    layout: int
    time: int  # ms UTC
    payload: bytes


class HotCache:
    """The readings that are not sealed yet, in order of arrival."""

    def __init__(self) -> None:
        self.frames: list[HotFrame] = []
        self.last = 0  # the newest number of arrival that was ever read
        self.sealed = 0  # the number of arrival up to which all years are whole
        self._broken: set[int] = set()
        self._hidden: dict[int, int] = {}  # how many are missing before a number of arrival
        self._by_layout: dict[int, list[HotFrame]] = {}
        self._tracks: dict[int, dict[int, Track]] = {}

    def refresh(self, hot: sqlite3.Connection) -> list[HotFrame]:
        """Read new readings and discard sealed ones; return the new ones."""
        hot.execute("BEGIN")
        try:
            oldest = hot.execute("SELECT min(seq) FROM frame").fetchone()[0]
            # all columns: an older store has no checksums
            has_crc = any(column[1] == "crc" for column in hot.execute("PRAGMA table_info(frame)"))
            typed = schema.TYPED_CRC if has_crc else schema.TYPED
            rows = hot.execute(f"SELECT * FROM frame WHERE seq > ? AND {typed} ORDER BY seq", (self.last,)).fetchall()
            numbers = [row[0] for row in rows]
            if hot.execute("SELECT count(*) FROM frame WHERE seq > ?", (self.last,)).fetchone()[0] != len(rows):
                numbers = [number for (number,) in hot.execute("SELECT seq FROM frame WHERE seq > ?", (self.last,))]
            sealed = schema.meta(hot, "last")
        finally:
            hot.execute("COMMIT")
        self.sealed = oldest - 1 if oldest is not None else sealed if type(sealed) is int else 0
        kept = len(self.frames) if oldest is None else bisect_right(self.frames, (oldest - 1,), key=lambda f: f[:1])
        if kept:
            del self.frames[:kept]
        new = [HotFrame(*row[:4]) for row in rows if schema.is_whole_frame(row)]
        whole = {frame.number for frame in new}
        self._note_lost(set(numbers) - whole, new, sealed if type(sealed) is int else None)
        if new:
            self.frames += new
            self.last = new[-1].number
        if kept:
            self._by_layout = {}
            for frame in self.frames:
                self._by_layout.setdefault(frame.layout, []).append(frame)
        else:
            for frame in new:
                self._by_layout.setdefault(frame.layout, []).append(frame)
        if kept or new:
            self._tracks = {}
        return new

    @property
    def lost(self) -> int:
        """How many readings that are not sealed yet cannot be read, as far as their numbers of arrival tell."""
        return max(len(self._broken), sum(self._hidden.values()))

    def _note_lost(self, broken: Iterable[int], new: list[HotFrame], last_sealed: int | None) -> None:
        """Note rows that cannot be read, and numbers between those of good ones, which a damaged page hides."""
        numbers = [frame.number for frame in new]
        before = self.frames[-1].number if self.frames else last_sealed
        for one, following in pairwise(numbers if before is None else [before, *numbers]):
            if 1 < following - one < damaged_hot.JUMP:
                self._hidden[following] = following - one - 1
        self._broken = {number for number in {*self._broken, *broken} if number > self.sealed}
        self._hidden = {number: count for number, count in self._hidden.items() if number > self.sealed}

    def layouts(self) -> Iterable[int]:
        """Return the layouts of the readings."""
        return self._by_layout.keys()

    def newest(self, start: int, end: int) -> int:
        """Return the newest number of arrival of the readings in [start, end) ms UTC, 0 without readings."""
        return max((frame.number for frame in self.frames if start <= frame.time < end), default=0)

    def extent(self) -> list[int]:
        """Return the times (ms UTC) of the oldest and the newest reading that has a value."""
        ordered = sorted(self.frames, key=lambda frame: frame.time)
        ends = (next((frame.time for frame in way if _has_values(frame)), None) for way in (ordered, reversed(ordered)))
        return [time for time in ends if time is not None]

    def after(self, number: int) -> list[HotFrame]:
        """Return the readings that arrived after a number."""
        return self.frames[bisect_right(self.frames, (number,), key=lambda f: f[:1]) :]

    def days(self, series: int, names: Names) -> dict[int, Track]:
        """Return the points of a series by UTC day, in order of the days."""
        tracks = self._tracks.get(series)
        if tracks is None:
            self._fill(series, names)
            tracks = self._tracks[series]
        return tracks

    def _fill(self, series: int, names: Names) -> None:
        """Compute the tracks of all series that share a layout with this one: they are usually needed together."""
        layouts = [number for number in names.positions.get(series, {}) if number in self._by_layout]
        if not layouts:
            self._tracks[series] = {}
        opened = {
            number: ops.columns([frame.payload for frame in self._by_layout[number]], len(names.layouts[number].series))
            for number in layouts
        }
        for sid in {sid for number in layouts for sid in names.layouts[number].series}:
            theirs = [number for number in names.positions[sid] if number in self._by_layout]
            if sid != series and not set(theirs) <= opened.keys():
                continue
            self._tracks[sid] = _by_day(
                [(self._by_layout[number], opened[number][names.positions[sid][number]]) for number in theirs]
            )


def _has_values(frame: HotFrame) -> bool:
    return any(not math.isnan(number) for (number,) in struct.iter_unpack("<d", frame.payload))


def _by_day(parts: list[tuple[list[HotFrame], Vector]]) -> dict[int, Track]:
    """Return points by UTC day, from frames and their values: the last arrival of equal times, without absent values."""
    times, numbers, values = [], [], []
    for frames, column in parts:
        indexes = ops.present(column)
        chosen = frames if indexes is None else [frames[index] for index in indexes.tolist()]
        if chosen:
            times.append(ops.ints([frame.time for frame in chosen]))
            numbers.append(ops.ints([frame.number for frame in chosen]))
            values.append(column if indexes is None else ops.take(column, indexes))
    if not times:
        return {}
    indexes = latest(ops.concat(numbers), ops.concat(times))
    track = Track(
        *(column if indexes is None else ops.take(column, indexes) for column in map(ops.concat, (times, values)))
    )
    days: dict[int, Track] = {}
    for day in sorted({time // DAY for time in track.times.tolist()}):
        begin, end = ops.between(track.times, day * DAY, (day + 1) * DAY)
        days[day] = Track(track.times[begin:end], track.values[begin:end])
    return days
