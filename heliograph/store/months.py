"""Cells by the day while a month is open, by the month when it is closed, those of an hour by the year at last.

A year by the hour is one row then, not 365.
"""

import logging
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from heliograph.errors import StoreDamaged
from heliograph.store import cells, history, tiers
from heliograph.store.cells import DAY, Cells, Span, Track
from heliograph.store.history import Year
from heliograph.store.interface import Series
from heliograph.store.tiers import Blob, Grain, Tier
from heliograph.store.vectors import ops

log = logging.getLogger(__name__)

CLOSE_DAYS = 2  # a month or a year is closed so many days after its end


def put(year: Year, grain: Grain, series: int, day: int, found: Cells | None, span: Span) -> None:
    """Write the cells of a series' day, None if it has too few points for them; `span` are its first and last point.

    What is closed stays closed: what came late is put into its row. Of a row that cannot be read all
    other days become bare: their points are asked from then on.
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
            _write(year, grain, level, series, number, with_day(tier, day, found, span))
            return
    if found is None:
        year.drop_tiers(f"{grain.name}_day", series, day, day)
    else:
        _write(year, grain, "day", series, day, _alone(found, span))


def is_closed(year: Year, grain: Grain, series: int, day: int) -> bool:
    """Whether the month or the year of a series' day is one row."""
    return any(year.has_tier(grain, level, series, _number(level, day)) for level in grain.closed)


def mark(year: Year, grain: Grain, series: int, day: int) -> None:
    """Note that a day will have cells when its month is closed, which is over: they need not be made twice."""
    _write(year, grain, "day", series, day, tiers.EMPTY)


def made(year: Year, series: Series, month: int) -> dict[Grain, dict[int, Tier]]:
    """Return the cells of the days of a series' month that are only marked; days that cannot be read are left out."""
    first, last = _days_of("month", month)
    tracks: dict[int, Track] = {}
    found: dict[Grain, dict[int, Tier]] = {}
    for grain in tiers.GRAINS:
        days = found[grain] = {}
        for day in year.marked(grain, series.id, first, last):
            try:
                track = tracks[day] if day in tracks else year.track(series.id, day)
            except StoreDamaged as error:
                log.error("points of series %d, day %d: %s", series.id, day, error)
                continue
            tracks[day] = track
            rows = cells.of_day(track, day, grain.width, series.kind, series.rollover)
            days[day] = _alone(rows, cells.span(track))
    return found


def with_day(tier: Tier, day: int, found: Cells | None, span: Span) -> Tier:
    """Return the tier of a month or year with one day put anew; a day of another kind than the rest is left bare."""
    rest = without_day(tier.cells, day)
    spans = [other for other in tier.spans if other.start // DAY != day]
    if found is None or (rest is not None and not _alike(rest, found)):
        return Tier(rest, spans, tier.bare | {day})
    parts = [found] if rest is None else sorted([*_split(rest, day), found], key=lambda part: int(part.start[0]))
    spans = sorted([*spans, span]) if found.area is not None else spans
    return Tier(cells.concat(parts), spans, tier.bare - {day})


def without_day(found: Cells | None, day: int) -> Cells | None:
    """Return cells without those of a UTC day; None if none are left."""
    if found is None:
        return None
    parts = _split(found, day)
    return cells.concat(parts) if parts else None


def close(year: Year, grain: Grain, series: int, month: int, marked: Mapping[int, Tier] = MappingProxyType({})) -> None:
    """Merge the days of a series' month into its row, in the transaction that is open; `marked` has days that were only marked."""
    first, last = _days_of("month", month)
    merged = _merged(marked.get(day) or blob for day, blob in year.tiers_of_days(grain, series, first, last))
    if merged.cells is not None:
        days = {start // DAY for start in merged.cells.start.tolist()}
        bare = frozenset(set(year.days(series, first, last)) - days)
        _write(year, grain, "month", series, month, merged._replace(bare=bare))
    year.drop_tiers(f"{grain.name}_day", series, first, last)


def close_year(year: Year, grain: Grain, series: int, number: int) -> None:
    """Merge the months of a series' year into one row, in the transaction that is open."""
    first, last = _days_of("year", number)
    blobs = [year.tier(grain, "month", series, month) for month in range(number * 12, number * 12 + 12)]
    merged = _merged(blob for blob in blobs if blob is not None)
    if merged.cells is not None:
        days = {start // DAY for start in merged.cells.start.tolist()}
        bare = frozenset(set(year.days(series, first, last)) - days)
        _write(year, grain, "year", series, number, merged._replace(bare=bare))
    year.drop_tiers(f"{grain.name}_month", series, number * 12, number * 12 + 11)


def _merged(blobs: Iterable[Blob | Tier]) -> Tier:
    """Return tiers in order as one, those that can be read; one of another kind than the first is left out, its days become bare."""
    merged: list[Cells] = []
    spans: list[Span] = []
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


def _alone(found: Cells, span: Span) -> Tier:
    return Tier(found, [span] if found.area is not None else [], frozenset())


def _number(level: str, day: int) -> int:
    return history.year_of(day) if level == "year" else history.month_of(day)


def _days_of(level: str, number: int) -> tuple[int, int]:
    """Return the first and the last UTC day of a month or year."""
    month, months = (number, 1) if level == "month" else (number * 12, 12)
    return history.first_day(month), history.first_day(month + months) - 1


def _write(year: Year, grain: Grain, level: str, series: int, number: int, tier: Tier) -> None:
    blob = tiers.encode(tier, history.origin(level, number), grain.width)
    year.put_tier(f"{grain.name}_{level}", series, number, blob)


def _split(found: Cells, day: int) -> list[Cells]:
    """Return the cells before and after a UTC day, as far as there are any."""
    begin, end = ops.between(found.start, day * DAY, (day + 1) * DAY)
    return [part for part in (found.slice(0, begin), found.slice(end, len(found.n))) if len(part.n)]


def _alike(one: Cells, other: Cells) -> bool:
    """Whether two have the same columns: a series that became a counter has others from then on."""
    return [column is None for column in one] == [column is None for column in other]
