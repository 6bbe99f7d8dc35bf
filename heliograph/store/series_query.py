"""Queries about one series, answered from hot and sealed readings: the planner.

Hot is read first and the years after it: readings that have left hot.db are in a year by then,
and readings in both are equal. A day with hot points is read point by point, all others from
the coarsest cells that no edge cuts.
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from heliograph.store import cells, exact, history, tiers
from heliograph.store.archive import Archive
from heliograph.store.cells import DAY, Cells, Span, Track
from heliograph.store.hot_cache import HotCache
from heliograph.store.interface import Function, Series
from heliograph.store.names import Names
from heliograph.store.tiers import Blob, Grain
from heliograph.store.totals import Column, Folded, Totals
from heliograph.store.vectors import Vector, ops

NEEDED: dict[Function, frozenset[str]] = {
    "n": frozenset(),
    "mean": frozenset({"sum"}),
    "min": frozenset({"min"}),
    "max": frozenset({"max"}),
    "sum": frozenset({"sum"}),
    "first": frozenset({"first"}),
    "last": frozenset({"last"}),
    "delta": frozenset({"first", "last"}),
    "integral": frozenset({"first", "last", "area"}),
}


class SeriesQuery:
    """Answers queries about one series, within one snapshot of the archive."""

    def __init__(self, series: Series, names: Names, hot_cache: HotCache, archive: Archive) -> None:
        self._series = series
        self._names = names
        self._archive = archive
        self._hot = hot_cache.days(series.id, names)

    def track(self, day: int) -> Track | None:
        """Return the points of a UTC day; None for a day without points."""
        sealed, hot = self._archive.track(self._series.id, day), self._hot.get(day)
        if sealed is None or hot is None:
            return hot if sealed is None else sealed
        times, values = (ops.concat(pair) for pair in zip(sealed, hot, strict=True))
        kept = ops.last_of_equals(times)
        return Track(times, values) if kept is None else Track(ops.take(times, kept), ops.take(values, kept))

    def days(self, first: int, last: int) -> list[int]:
        """Return the UTC days from first to last that have points."""
        sealed = self._archive.days(self._series.id, first, last)
        return sorted({*sealed, *(day for day in self._hot if first <= day <= last)})

    def points(self, start: int, end: int) -> Iterator[Track]:
        """Yield the points of [start, end) ms UTC in order, a day at a time."""
        for day in self.days(start // DAY, (end - 1) // DAY) if start < end else ():
            if track := self.track(day):
                begin, stop = ops.between(track.times, start, end)
                if begin < stop:
                    yield Track(track.times[begin:stop], track.values[begin:stop])

    def newest(self) -> tuple[int, float] | None:
        """Return the newest sealed point: ms UTC and value."""
        return self._archive.newest(self._series.id)

    def aggregate(self, edges: Vector, functions: Sequence[Function]) -> dict[str, Column]:
        """Return one value per function and bucket between edges in ms UTC."""
        counter = self._series.kind == "counter"
        totals = Totals(edges, counter=counter, rollover=self._series.rollover)
        self._archive.hold(totals.start // DAY, totals.end // DAY)
        if "delta" in functions:
            before = self._last_before(totals.start)
            if before is not None:
                totals.follow(before)
            if counter:
                self._replace(totals, totals.start, totals.end)
        area = "integral" in functions
        grain = None if area and counter else tiers.of_edges(edges)  # cells of counters have no areas
        if grain is None:
            self._take_points(totals, area=area)
        else:
            needed = frozenset({"n"}).union(*(NEEDED[name] for name in functions))
            self._take_cells(totals, grain, needed | {"carry"} if counter and "delta" in functions else needed)
        return totals.columns(functions)

    def _take_points(self, totals: Totals, *, area: bool) -> None:
        first, last = totals.start // DAY, (totals.end - 1) // DAY
        before: Span | None = None
        for day in self.days(first - area, last + area):
            track = self.track(day)
            if track is None:
                continue
            totals.points(track, area=area)
            if area:
                span = cells.span(track)
                _join(totals, before, span)
                before = span

    def _take_cells(self, totals: Totals, grain: Grain, needed: frozenset[str]) -> None:
        area = "area" in needed
        first, last = totals.start // DAY - area, (totals.end - 1) // DAY + area
        before: Span | None = None
        edges = hashlib.blake2b(totals.edges.tobytes(), digest_size=16).digest()
        for number in self._years(first, last):
            low = max(first, history.first_day(number * 12))
            high = min(last, history.first_day((number + 1) * 12) - 1)
            read = partial(self._folded, totals, grain, low, high, needed)
            if any(low <= day <= high for day in self._hot):
                (folded, spans), _ = read()
            else:
                folded, spans = self._archive.part(number, (self._series, grain, low, high, needed, edges), read)
            totals.take(folded)
            for span in spans:
                _join(totals, before, span)
                before = span

    def _folded(
        self, totals: Totals, grain: Grain, first: int, last: int, needed: frozenset[str]
    ) -> tuple[tuple[Folded, list[Span]], int]:
        """Return the reduced cells of the days from first to last of a year, the days' end points, and about their size in bytes."""
        parts, spans = self._year(grain, first, last, needed)
        folded = totals.folded(cells.concat(parts)) if parts else Folded(None, None)
        return (folded, spans), folded.size + 100 * len(spans)

    def _years(self, first: int, last: int) -> list[int]:
        """Return the years of the days from first to last that have readings."""
        hot = {history.year_of(day) for day in self._hot if first <= day <= last}
        return sorted(hot.union(self._archive.between(first, last)))

    def _year(self, grain: Grain, first: int, last: int, needed: frozenset[str]) -> tuple[list[Cells], list[Span]]:
        """Return the cells of the days from first to last of a year in order, and if areas are needed the days' end points."""
        hot = {day for day in self._hot if first <= day <= last}
        sealed, bare = self._sealed(grain, first, last, needed)
        parts: list[tuple[int, Cells, list[Span]]] = []
        for rows, spans in sealed:
            for begin, end in _gaps(first, last, hot | bare):
                low, high = ops.between(rows.start, begin * DAY, (end + 1) * DAY)
                if low < high:
                    inside = [span for span in spans if begin <= span.start // DAY <= end]
                    parts.append((int(rows.start[low]), rows.slice(low, high), inside))
        for day in hot | bare:
            track = self.track(day)
            if track is not None:
                made = cells.of_day(track, day, grain.width, self._series.kind, self._series.rollover)
                parts.append((day * DAY, made.only(needed), [cells.span(track)] if "area" in needed else []))
        parts.sort(key=lambda part: part[0])
        return [part for _, part, _ in parts], [span for _, _, spans in parts for span in spans]

    def _sealed(
        self, grain: Grain, first: int, last: int, needed: frozenset[str]
    ) -> tuple[list[tuple[Cells, list[Span]]], set[int]]:
        """Return the sealed cells of a year, and its sealed days from first to last that have no cells."""
        number = history.year_of(first)
        if self._archive.year(number) is None:
            return [], set()
        whole = self._closed(grain, "year", number, needed) if "year" in grain.closed else None
        if whole is not None:
            rows, spans, bare = whole
            return [(rows, spans)], {day for day in bare if first <= day <= last}
        parts: list[tuple[Cells, list[Span]]] = []
        missing: set[int] = set()
        for month in range(history.month_of(first), history.month_of(last) + 1):
            closed = self._closed(grain, "month", month, needed)
            low, high = max(first, history.first_day(month)), min(last, history.first_day(month + 1) - 1)
            if closed is not None:
                parts.append(closed[:2])
                missing.update(day for day in closed[2] if low <= day <= high)
            else:
                self._by_day(grain, low, high, needed, parts, missing)
        return parts, missing

    def _closed(
        self, grain: Grain, level: str, number: int, needed: frozenset[str]
    ) -> tuple[Cells, list[Span], frozenset[int]] | None:
        """Return the cells of a closed month or year and its bare days; None if it has no cells with the needed columns."""
        name = history.file(Path(), number if level == "year" else number // 12).name
        with self._archive.tolerating(f"{name}: {grain.name} of series {self._series.id}, {level} {number}"):
            return _opened(self._archive.tier(grain, level, self._series.id, number), needed)
        return None

    def _by_day(
        self,
        grain: Grain,
        first: int,
        last: int,
        needed: frozenset[str],
        parts: list[tuple[Cells, list[Span]]],
        missing: set[int],
    ) -> None:
        """Add the cells of the days of an open month to `parts`, and the days without cells to `missing`."""
        year = self._archive.year(history.year_of(first))
        if year is None:
            return
        there = set(self._archive.days(self._series.id, first, last))
        with self._archive.tolerating(f"{year.path.name}: {grain.name} of series {self._series.id}, day {first}"):
            for day, blob in year.tiers_of_days(grain, self._series.id, first, last):
                opened = _opened(blob, needed)
                if opened is not None:
                    parts.append(opened[:2])
                    there.discard(day)
        missing |= there

    def _last_before(self, time: int) -> float | None:
        """Return the last value before a time in ms UTC; None if there is none."""
        today = time // DAY
        for day in (today, *self._earlier(today)):
            track = self.track(day)
            if track is not None and int(track.times[0]) < time:
                return float(track.values[ops.between(track.times, time, time)[0] - 1])
        return self._last_in_cells(time)

    def _last_in_cells(self, time: int) -> float | None:
        """Return the last value before a time in the years without points, as precisely as cells allow."""
        for number in reversed(self._archive.between(0, time // DAY)):
            year = self._archive.year(number)
            if year is None or not year.bare:
                continue
            for month in reversed(range(number * 12, number * 12 + 12)):
                blob = self._archive.tier(tiers.FIVE_MINUTES, "month", self._series.id, month)
                rows = None if blob is None else blob.cells({"last"})
                if rows is not None and rows.last is not None:
                    row = ops.between(rows.start, 0, time)[1]
                    if row:
                        return float(rows.last[row - 1])
        return None

    def _earlier(self, today: int) -> list[int]:
        """Return the newest hot and the newest sealed day before today, the newer one first."""
        hot = [day for day in self._hot if day < today][-1:]
        sealed = self._archive.newest_day(self._series.id, today)
        return sorted({*hot, *([] if sealed is None else [sealed])}, reverse=True)

    def _replace(self, totals: Totals, start: int, end: int) -> None:
        """Subtract from a counter's rise its jumps when its device was replaced."""
        done = set[int]()
        for time in self._names.replacements.get(self._series.id, ()):
            following = next(self.points(time, max(end, time)), None)
            if following is None:
                continue
            moment, value = int(following.times[0]), float(following.values[0])
            before = self._last_before(time)
            if before is not None and start <= moment < end and moment not in done:
                done.add(moment)
                counted = exact.total([value, -before, exact.correction(before, value, self._series.rollover)])
                totals.adjust(moment, -counted)


def _opened(blob: Blob | None, needed: frozenset[str]) -> tuple[Cells, list[Span], frozenset[int]] | None:
    if blob is None or not all(blob.has(name) for name in ("carry", "area") if name in needed):
        return None
    rows = blob.cells(needed)
    return None if rows is None else (rows, blob.spans(rows) if "area" in needed else [], blob.bare())


def _join(totals: Totals, before: Span | None, span: Span) -> None:
    if before is not None:
        totals.line((before.end, before.last), (span.start, span.first))


def _gaps(first: int, last: int, without: set[int]) -> Iterator[tuple[int, int]]:
    """Yield the runs of consecutive days from first to last without some days."""
    for day in sorted(day for day in without if first <= day <= last):
        if first < day:
            yield first, day - 1
        first = day + 1
    if first <= last:
        yield first, last
