"""Cells for an aggregate of one series: those of closed years and months, of single days, and of days that are computed now."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from heliograph.errors import StoreDamaged
from heliograph.store import cells, history
from heliograph.store.archive import Archive, tier_part
from heliograph.store.cells import DAY, Cells, DaySpan, Track
from heliograph.store.damage import Part
from heliograph.store.fall_review import FallReview
from heliograph.store.interface import Function, Series
from heliograph.store.tiers import Blob, Grain
from heliograph.store.totals import Folded, Totals
from heliograph.store.vectors import ops
from heliograph.store.year_file import Year

NEEDED: dict[Function, frozenset[str]] = {
    "n": frozenset(),
    "mean": frozenset({"sum"}),
    "min": frozenset({"min"}),
    "max": frozenset({"max"}),
    "sum": frozenset({"sum"}),
    "first": frozenset({"first"}),
    "last": frozenset({"last"}),
    "delta": frozenset({"first", "last", "at"}),
    "integral": frozenset({"first", "last", "area"}),
}


class CellQuery:
    """Finds the cells of one series; `hot` are its points that are not sealed, by UTC day, `track` returns those of any day."""

    def __init__(
        self,
        series: Series,
        archive: Archive,
        hot: Mapping[int, Track],
        track: Callable[[int], Track | None],
        review: FallReview | None,
    ) -> None:
        self._series = series
        self._archive = archive
        self._hot = hot
        self._track = track
        self._review = review

    def take(self, totals: Totals, grain: Grain, functions: Sequence[Function]) -> None:
        """Give the cells between the edges of `totals`, and the lines that cross midnight, to `totals`."""
        needed = frozenset({"n"}).union(*(NEEDED[name] for name in functions))
        if self._series.kind == "counter" and "delta" in functions:
            needed |= {"carry"}
        area = "area" in needed
        first, last = totals.start // DAY - area, (totals.end - 1) // DAY + area
        before: DaySpan | None = None
        replaced = () if self._review is None else self._review.replaced
        edges = hashlib.blake2b(totals.edges.tobytes(), digest_size=16).digest()
        for number in self._years(first, last):
            low = max(first, history.first_day(number * 12))
            high = min(last, history.first_day((number + 1) * 12) - 1)
            read = partial(self._folded, totals, grain, low, high, needed)
            if any(low <= day <= high for day in self._hot):
                (folded, spans), _ = read()
            else:
                key = (self._series, grain, low, high, needed, edges, replaced)
                folded, spans = self._archive.part(number, key, read)
            totals.take(folded)
            for span in spans:
                join(totals, before, span)
                before = span

    def _folded(
        self, totals: Totals, grain: Grain, first: int, last: int, needed: frozenset[str]
    ) -> tuple[tuple[Folded, list[DaySpan]], int]:
        """Return the reduced cells of the days from first to last of a year, the days' end points, and about their size in bytes."""
        parts, spans = self._year(grain, first, last, needed)
        folded = totals.folded(cells.concat(parts), grain.width) if parts else Folded(None, None)
        if self._review is not None:
            folded = folded.settled(self._review, first * DAY, (last + 1) * DAY)
        return (folded, spans), folded.size + 100 * len(spans)

    def _years(self, first: int, last: int) -> list[int]:
        """Return the years of the days from first to last that have readings."""
        hot = {history.year_of(day) for day in self._hot if first <= day <= last}
        return sorted(hot.union(self._archive.between(first, last)))

    def _year(self, grain: Grain, first: int, last: int, needed: frozenset[str]) -> tuple[list[Cells], list[DaySpan]]:
        """Return the cells of the days from first to last of a year in order, and if areas are needed the days' end points."""
        hot = {day for day in self._hot if first <= day <= last}
        sealed, bare = self._sealed(grain, first, last, needed)
        parts: list[tuple[int, Cells, list[DaySpan]]] = []
        for rows, spans in sealed:
            for begin, end in _gaps(first, last, hot | bare):
                low, high = ops.between(rows.start, begin * DAY, (end + 1) * DAY)
                if low < high:
                    inside = [span for span in spans if begin <= span.start // DAY <= end]
                    parts.append((int(rows.start[low]), rows.slice(low, high), inside))
        for day in hot | bare:
            track = self._track(day)
            if track is not None:
                made = cells.of_day(track, day, grain.width, self._series.kind, self._series.rollover)
                parts.append((day * DAY, made.only(needed), [cells.span(track)] if "area" in needed else []))
        parts.sort(key=lambda part: part[0])
        return [part for _, part, _ in parts], [span for _, _, spans in parts for span in spans]

    def _sealed(
        self, grain: Grain, first: int, last: int, needed: frozenset[str]
    ) -> tuple[list[tuple[Cells, list[DaySpan]]], set[int]]:
        """Return the sealed cells of a year, and its sealed days from first to last that have no cells."""
        number = history.year_of(first)
        if self._archive.year(number) is None:
            return [], set()
        whole = self._closed(grain, "year", number, needed) if "year" in grain.closed else None
        if whole is not None:
            rows, spans, bare = whole
            return [(rows, spans)], {day for day in bare if first <= day <= last}
        parts: list[tuple[Cells, list[DaySpan]]] = []
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
    ) -> tuple[Cells, list[DaySpan], frozenset[int]] | None:
        """Return the cells of a closed month or year and its bare days; None if it has no cells with the needed columns."""
        year = self._archive.year(number if level == "year" else number // 12)
        if year is None:
            return None
        with self._archive.damage.tolerated(*tier_part(year, grain, level, self._series.id, number)):
            return _opened(self._archive.tier(grain, level, self._series.id, number), needed)
        return None

    def _by_day(
        self,
        grain: Grain,
        first: int,
        last: int,
        needed: frozenset[str],
        parts: list[tuple[Cells, list[DaySpan]]],
        missing: set[int],
    ) -> None:
        """Add the cells of the days of an open month to `parts`, and the days without cells to `missing`."""
        year = self._archive.year(history.year_of(first))
        if year is None:
            return
        there = set(self._archive.days(self._series.id, first, last))
        part = Part(
            year.path.name, f"{grain.name} of series {self._series.id}, day {first}", self._series.id, first, last
        )
        with self._archive.damage.tolerated(part, partial(_whole_days, grain, self._series.id, first, last)):
            for day, blob in year.tiers_of_days(grain, self._series.id, first, last):
                if day not in there and not year.bare:
                    raise StoreDamaged(f"cells of day {day}, which has no points")
                opened = _opened(blob, needed)
                if opened is not None:
                    parts.append(opened[:2])
                    there.discard(day)
        missing |= there


def join(totals: Totals, before: DaySpan | None, span: DaySpan) -> None:
    """Give the line between the points before and after midnight to `totals`."""
    if before is not None:
        totals.line((before.end, before.last), (span.start, span.first))


def _whole_days(grain: Grain, series: int, first: int, last: int, year: Year) -> None:
    for _, blob in year.tiers_of_days(grain, series, first, last):
        blob.tier()


def _opened(blob: Blob | None, needed: frozenset[str]) -> tuple[Cells, list[DaySpan], frozenset[int]] | None:
    if blob is None or not all(blob.has(name) for name in ("carry", "area") if name in needed):
        return None
    rows = blob.cells(needed)
    return None if rows is None else (rows, blob.spans(rows) if "area" in needed else [], blob.bare())


def _gaps(first: int, last: int, without: set[int]) -> Iterator[tuple[int, int]]:
    """Yield the runs of consecutive days from first to last without some days."""
    for day in sorted(day for day in without if first <= day <= last):
        if first < day:
            yield first, day - 1
        first = day + 1
    if first <= last:
        yield first, last
