"""Queries about one series, answered from hot and sealed readings: the planner.

Hot is read first and the years after it: readings that have left hot.db are in a year by then,
and readings in both are equal. A day with hot points is read point by point, all others from
the coarsest cells that no edge cuts.
"""

from collections.abc import Iterator, Sequence, Set

from heliograph.store import cells, exact, history, tiers
from heliograph.store.archive import Archive, ReadableYear, tier_part
from heliograph.store.cell_query import CellQuery, join
from heliograph.store.cells import DAY, GAP, Cells, DaySpan, Track
from heliograph.store.fall_review import AFTER, BEFORE, FallReview
from heliograph.store.hot_cache import HotCache
from heliograph.store.interface import Function, Series
from heliograph.store.names import Names
from heliograph.store.rises import Column
from heliograph.store.totals import Totals
from heliograph.store.vectors import Vector, ops


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

    def newest_before(self, time: int) -> tuple[int, float] | None:
        """Return the newest point before a time in ms UTC: ms UTC and value; None if there is none."""
        newest = self._newest_two(time)
        return None if newest is None else (int(newest.times[-1]), float(newest.values[-1]))

    def aggregate(self, edges: Vector, functions: Sequence[Function]) -> dict[str, Column]:
        """Return one value per function and bucket between edges in ms UTC."""
        counter = self._series.kind == "counter"
        review: FallReview | None = None
        if counter and "delta" in functions:
            replaced = self._names.replacements.get(self._series.id, ())
            review = FallReview(self._around, self._series.rollover, sorted(replaced))
        totals = Totals(
            edges, counter=counter, rollover=self._series.rollover, has_point=self._has_point, review=review
        )
        self._archive.hold((totals.start - BEFORE) // DAY, (totals.end + GAP + AFTER) // DAY)
        if "delta" in functions:
            newest = self._newest_two(totals.start)
            before = self._last_of(newest, totals.start)
            if before is not None:
                totals.follow(before)
            following = self._around(totals.end, totals.end + (1 if review is None else AFTER))
            after = self._value_at_in_cells(totals.end) if following is None else None
            if following is not None and int(following.times[0]) == totals.end:
                after = float(following.values[0])
            if after is not None:
                totals.reach(after)
            if review is not None:
                review.before(self._with_earlier(newest))
                review.after(following)
                self._replace(totals, totals.start, totals.end)
        area = "integral" in functions
        grain = None if area and counter else tiers.of_edges(edges)  # cells of counters have no areas
        if grain is None:
            self._take_points(totals, area=area)
        else:
            CellQuery(self._series, self._archive, self._hot, self.track, review).take(totals, grain, functions)
        return totals.columns(functions)

    def _take_points(self, totals: Totals, *, area: bool) -> None:
        first, last = totals.start // DAY, (totals.end - 1) // DAY
        before: DaySpan | None = None
        for day in self.days(first - area, last + area):
            track = self.track(day)
            if track is None:
                continue
            totals.points(track, area=area)
            if area:
                span = cells.span(track)
                join(totals, before, span)
                before = span

    def _newest_two(self, time: int) -> Track | None:
        """Return the newest point before a time in ms UTC, and the one before if it is of the same day; None if there is none."""
        today = time // DAY
        for day in (today, *self._earlier(today)):
            track = self.track(day)
            if track is not None and int(track.times[0]) < time:
                row = ops.between(track.times, time, time)[0]
                return Track(track.times[max(0, row - 2) : row], track.values[max(0, row - 2) : row])
        return None

    def _with_earlier(self, newest: Track | None) -> Track | None:
        """Return the newest points, with those before midnight if they begin soon after it."""
        if newest is None or len(newest.times) > 1 or int(newest.times[0]) % DAY >= GAP:
            return newest
        return self._around(int(newest.times[0]) - GAP, int(newest.times[0]) + 1)

    def _last_before(self, time: int) -> float | None:
        """Return the last value before a time in ms UTC; None if there is none."""
        return self._last_of(self._newest_two(time), time)

    def _last_of(self, newest: Track | None, time: int) -> float | None:
        """Return the last value before a time in ms UTC, of the newest points before it or of cells without points."""
        in_cells = self._last_in_cells(-1 if newest is None else int(newest.times[-1]) // DAY, time)
        if in_cells is not None:
            return in_cells
        return None if newest is None else float(newest.values[-1])

    def _value_at(self, time: int) -> float | None:
        """Return the value of a point exactly at a time in ms UTC; None if there is none."""
        track = self.track(time // DAY)
        if track is None:
            return self._value_at_in_cells(time)
        begin, end = ops.between(track.times, time, time + 1)
        return float(track.values[begin]) if begin < end else None

    def _around(self, start: int, end: int) -> Track | None:
        """Return the points of [start, end) ms UTC; None if there is none."""
        tracks = list(self.points(start, end))
        return Track(*map(ops.concat, zip(*tracks, strict=True))) if tracks else None

    def _has_point(self, time: int) -> bool:
        return self._value_at(time) is not None

    def _value_at_in_cells(self, time: int) -> float | None:
        """Return the value at a time in the years without points, if a cell begins with it."""
        if time % tiers.FIVE_MINUTES.width:
            return None
        for number in self._archive.between(time // DAY, time // DAY):
            year = self._archive.year(number)
            if year is None or not year.bare:
                continue
            rows = self._month(year, history.month_of(time // DAY), {"first", "at"})
            if rows is not None and rows.first is not None and rows.at is not None:
                begin, end = ops.between(rows.start, time, time + 1)
                if begin < end and rows.n[begin] and rows.at[begin] == 1:
                    return float(rows.first[begin])
        return None

    def _last_in_cells(self, day: int, time: int) -> float | None:
        """Return the last value after a UTC day and before a time, as precisely as cells allow, where points were dropped."""
        for number in reversed(self._archive.between(day + 1, time // DAY)):
            year = self._archive.year(number)
            if year is None or not year.bare:
                continue
            for month in reversed(range(number * 12, number * 12 + 12)):
                rows = self._month(year, month, {"last"})
                if rows is not None and rows.last is not None:
                    row = ops.between(rows.start, 0, time)[1]
                    if row:
                        return float(rows.last[row - 1]) if int(rows.start[row - 1]) // DAY > day else None
        return None

    def _month(self, year: ReadableYear, month: int, columns: Set[str]) -> Cells | None:
        """Return the cells of five minutes of a month in which points were dropped; None if there are none."""
        with self._archive.damage.tolerated(*tier_part(year, tiers.FIVE_MINUTES, "month", self._series.id, month)):
            blob = self._archive.tier(tiers.FIVE_MINUTES, "month", self._series.id, month)
            return None if blob is None else blob.cells(columns)
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
            following = next(self.points(time, max(end, time) + 1), None)
            if following is None:
                continue
            moment, value = int(following.times[0]), float(following.values[0])
            before = self._last_before(time)
            if before is not None and start < moment <= end and moment not in done:
                done.add(moment)
                counted = exact.total([value, -before, exact.correction(before, value, self._series.rollover)])
                totals.adjust(moment, -counted)
