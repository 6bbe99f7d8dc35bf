"""Rows of cells: one per day while a month is open, one per month when it is closed, for hours one per year in the end.

So a year by the hour is one row, not 365.
"""

import logging
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from heliograph.errors import StoreDamaged
from heliograph.store import cells, history, tiers
from heliograph.store.cells import DAY, Cells, DaySpan, Track
from heliograph.store.interface import Series
from heliograph.store.tiers import Blob, Grain, Tier
from heliograph.store.vectors import ops
from heliograph.store.year_file import Year

log = logging.getLogger(__name__)

CLOSE_DAYS = 2  # after the end of a month or a year, when it is closed


def put(year: Year, grain: Grain, series: int, day: int, rows: Cells | None, span: DaySpan) -> None:
    """Write the cells of a series' day, None if it has too few points for them; `span` are its first and last point.

    Closed months and years stay closed: late cells are written into their rows. If such a row cannot be read, all
    other days become bare: from then on their points are read.
    """
    for level in grain.closed:
        number = _number(level, day)
        try:
            closed = year.tier(grain, level, series, number)
            tier = closed.tier() if closed is not None else None
        except StoreDamaged as error:
            log.error("cells of series %d, %s %d: %s; its points are read in their place", series, level, number, error)
            tier = Tier(None, [], frozenset(year.days(series, *_days_of(level, number))))
        if tier is not None:
            _write(year, grain, level, series, number, with_day(tier, day, rows, span))
            return
    if rows is None:
        year.drop_tiers(f"{grain.name}_day", series, day, day)
    else:
        _write(year, grain, "day", series, day, _alone(rows, span))


def is_closed(year: Year, grain: Grain, series: int, day: int) -> bool:
    """Whether the month or the year of a series' day is one row."""
    return any(year.has_tier(grain, level, series, _number(level, day)) for level in grain.closed)


def mark(year: Year, grain: Grain, series: int, day: int) -> None:
    """Note that the cells of a day are computed when its month, which is over, is closed: once is enough."""
    _write(year, grain, "day", series, day, tiers.EMPTY)


def made(year: Year, series: Series, month: int) -> dict[Grain, dict[int, Tier]]:
    """Return the cells of the days of a series' month that are only marked; days that cannot be read are left out."""
    first, last = _days_of("month", month)
    tracks: dict[int, Track] = {}
    tiers_: dict[Grain, dict[int, Tier]] = {}
    for grain in tiers.GRAINS:
        days = tiers_[grain] = {}
        for day in year.marked(grain, series.id, first, last):
            try:
                track = tracks[day] if day in tracks else year.track(series.id, day)
            except StoreDamaged as error:
                log.error("points of series %d, day %d: %s", series.id, day, error)
                continue
            tracks[day] = track
            rows = cells.of_day(track, day, grain.width, series.kind, series.rollover)
            days[day] = _alone(rows, cells.span(track))
    return tiers_


def drop(year: Year, grain: Grain, series: int, day: int) -> None:
    """Delete the cells of a series' day, in the transaction that is open."""
    for level in grain.closed:
        number = _number(level, day)
        closed = year.tier(grain, level, series, number)
        if closed is not None:
            tier = closed.tier()
            rest = without_day(tier.cells, day)
            if rest is None:  # days that have only points are read without a row
                year.drop_tiers(f"{grain.name}_{level}", series, number, number)
            else:
                spans = [span for span in tier.spans if span.start // DAY != day]
                _write(year, grain, level, series, number, Tier(rest, spans, tier.bare - {day}))
            return
    year.drop_tiers(f"{grain.name}_day", series, day, day)


def with_day(tier: Tier, day: int, rows: Cells | None, span: DaySpan) -> Tier:
    """Return the tier of a month or year with one day replaced; a day with other columns than the rest becomes bare."""
    rest = without_day(tier.cells, day)
    spans = [other for other in tier.spans if other.start // DAY != day]
    if rows is None or (rest is not None and not _alike(rest, rows)):
        return Tier(rest, spans, tier.bare | {day})
    parts = [rows] if rest is None else sorted([*_split(rest, day), rows], key=lambda part: int(part.start[0]))
    spans = sorted([*spans, span]) if rows.area is not None else spans
    return Tier(cells.concat(parts), spans, tier.bare - {day})


def without_day(rows: Cells | None, day: int) -> Cells | None:
    """Return cells without those of a UTC day; None if no cells remain."""
    if rows is None:
        return None
    parts = _split(rows, day)
    return cells.concat(parts) if parts else None


def close(year: Year, grain: Grain, series: int, month: int, marked: Mapping[int, Tier] = MappingProxyType({})) -> None:
    """Merge the days of a series' month into its row, in the transaction that is open; `marked` has days that were only marked."""
    first, last = _days_of("month", month)
    merged = _merged(marked.get(day) or blob for day, blob in year.tiers_of_days(grain, series, first, last))
    _write_merged(year, grain, "month", series, month, merged)
    year.drop_tiers(f"{grain.name}_day", series, first, last)


def close_year(year: Year, grain: Grain, series: int, number: int) -> None:
    """Merge the months of a series' year into one row, in the transaction that is open."""
    blobs = [year.tier(grain, "month", series, month) for month in range(number * 12, number * 12 + 12)]
    _write_merged(year, grain, "year", series, number, _merged(blob for blob in blobs if blob is not None))
    year.drop_tiers(f"{grain.name}_month", series, number * 12, number * 12 + 11)


def again(year: Year, grain: Grain, level: str, series: Series, number: int) -> None:
    """Make the cells of a series' day, month or year again from its points, in the transaction that is open.

    Days whose points cannot be read have no cells then.
    """
    parts: list[Tier] = []
    for day in year.days(series.id, *((number, number) if level == "day" else _days_of(level, number))):
        try:
            track = year.track(series.id, day)
        except StoreDamaged as error:
            log.error("points of series %d, day %d: %s", series.id, day, error)
            continue
        if len(track.times) >= grain.least:
            rows = cells.of_day(track, day, grain.width, series.kind, series.rollover)
            parts.append(_alone(rows, cells.span(track)))
    year.drop_tiers(f"{grain.name}_{level}", series.id, number, number)
    if level != "day":
        _write_merged(year, grain, level, series.id, number, _merged(parts))
    elif parts:
        _write(year, grain, level, series.id, number, parts[0])


def _write_merged(year: Year, grain: Grain, level: str, series: int, number: int, merged: Tier) -> None:
    """Write a month or a year, unless it has no cells; days that have points but no cells are bare."""
    if merged.cells is not None:
        days = {start // DAY for start in merged.cells.start.tolist()}
        bare = frozenset(set(year.days(series, *_days_of(level, number))) - days)
        _write(year, grain, level, series, number, merged._replace(bare=bare))


def _merged(blobs: Iterable[Blob | Tier]) -> Tier:
    """Return the readable tiers merged, in order; the days of a tier with other columns than the first become bare."""
    merged: list[Cells] = []
    spans: list[DaySpan] = []
    for blob in blobs:
        try:
            part = blob if isinstance(blob, Tier) else blob.tier()
        except StoreDamaged as error:
            log.error("cells that cannot be read: %s; their days are read from their points", error)
            continue
        if part.cells is not None and (not merged or _alike(merged[0], part.cells)):
            merged.append(part.cells)
            spans += part.spans
    return Tier(cells.concat(merged) if merged else None, spans, frozenset())


def _alone(rows: Cells, span: DaySpan) -> Tier:
    return Tier(rows, [span] if rows.area is not None else [], frozenset())


def _number(level: str, day: int) -> int:
    return history.year_of(day) if level == "year" else history.month_of(day)


def _days_of(level: str, number: int) -> tuple[int, int]:
    """Return the first and the last UTC day of a month or year."""
    month, months = (number, 1) if level == "month" else (number * 12, 12)
    return history.first_day(month), history.first_day(month + months) - 1


def _write(year: Year, grain: Grain, level: str, series: int, number: int, tier: Tier) -> None:
    blob = tiers.encode(tier, history.origin(level, number), grain.width)
    year.put_tier(f"{grain.name}_{level}", series, number, blob)


def _split(rows: Cells, day: int) -> list[Cells]:
    """Return the cells before and after a UTC day, without empty parts."""
    begin, end = ops.between(rows.start, day * DAY, (day + 1) * DAY)
    return [part for part in (rows.slice(0, begin), rows.slice(end, len(rows.n))) if len(part.n)]


def _alike(one: Cells, other: Cells) -> bool:
    """Whether cells have the same columns, but for `at`: they change when a series becomes a counter."""
    return [column is None for column in one[:-1]] == [column is None for column in other[:-1]]
