"""How an aggregate is computed: from cells where they are up to date, from points elsewhere, in one snapshot."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from heliograph.store import exact, tiers
from heliograph.store.cells import DAY, GAP
from heliograph.store.fall_review import AFTER, FallReview
from heliograph.store.interface import Function
from heliograph.store.postgres import points
from heliograph.store.postgres.points import Point, SeriesRow
from heliograph.store.postgres.schema import Connection
from heliograph.store.tiers import Grain
from heliograph.store.totals import Totals
from heliograph.store.vectors import ops

FOREVER = 1 << 62  # ms


class Run(NamedTuple):
    """A part of the query: [start, end) ms; the tiers of a `clean` part are up to date."""

    start: int
    end: int
    clean: bool


def runs(start: int, end: int, dirty: Sequence[int]) -> Iterator[Run]:
    """Cut [start, end) ms at the midnights between clean and dirty days; `dirty` are rising UTC days."""
    position = start
    for day in dirty:
        begin, stop = max(start, day * DAY), min(end, (day + 1) * DAY)
        if position < begin:
            yield Run(position, begin, True)
        if begin < stop:
            yield Run(begin, stop, False)
            position = stop
    if position < end:
        yield Run(position, end, True)


def joined(parts: Iterator[Run]) -> Iterator[Run]:
    """Join neighbours that are both clean or both dirty."""
    last: Run | None = None
    for part in parts:
        if last and last.clean == part.clean:
            last = last._replace(end=part.end)
            continue
        if last:
            yield last
        last = part
    if last:
        yield last


def grain_of(edges: Sequence[int], functions: Sequence[Function], series: SeriesRow) -> Grain | None:
    """Return the tier that can answer; None if points are needed: the cells of a counter have no area."""
    if series.kind == "counter" and "integral" in functions:
        return None
    return tiers.of_edges(ops.ints(edges))


def totals(connection: Connection, series: SeriesRow, edges: Sequence[int], functions: Sequence[Function]) -> Totals:
    """Return the totals between the edges, ms UTC; the connection is in a transaction. Raises psycopg.Error."""
    start, end = edges[0], edges[-1]
    replacements = _replacements(connection, series, end + AFTER) if "delta" in functions else []
    review: FallReview | None = None
    if series.kind == "counter" and "delta" in functions:
        around = partial(points.track, connection, series.id)
        review = FallReview(around, series.rollover, [time for time, _, _ in replacements])
    result = Totals(
        ops.ints(edges),
        counter=series.kind == "counter",
        rollover=series.rollover,
        has_point=lambda time: points.value_at(connection, series.id, time) is not None,
        review=review,
    )
    grain = grain_of(edges, functions, series)
    area = "integral" in functions
    parts = (
        [Run(start, end, False)] if grain is None else list(joined(runs(start, end, _dirty(connection, series, edges))))
    )
    if "delta" in functions:
        newest = points.newest_two(connection, series.id, start)
        value = _last_kept(connection, series, start) if newest is None else float(newest.values[-1])
        if value is not None:
            result.follow(value)
        next_two = points.track(connection, series.id, end, end + (1 if review is None else AFTER), 2)
        if next_two is None:
            after = points.value_at(connection, series.id, end)
        else:
            after = float(next_two.values[0]) if int(next_two.times[0]) == end else None
        if after is not None:
            result.reach(after)
        if review is not None:
            review.before(newest)
            review.after(next_two)
        for time, jump in dict(_jumps(connection, series, replacements)).items():
            result.adjust(time, -jump)
    last = _point_before(connection, series, parts[0]) if area else None
    for part in parts:
        if part.clean and grain is not None:
            last = _cells(connection, series, grain, part, result, last)
        else:
            last = _points(connection, series, part, result, last, area=area)
    if area and last:
        following = _point_after(connection, series, parts[-1], last)
        if following:
            result.line(last, following)
    return result


def _points(
    connection: Connection, series: SeriesRow, part: Run, totals_: Totals, last: Point | None, *, area: bool
) -> Point | None:
    for track in points.tracks(connection, series.id, part.start, part.end):
        first = (int(track.times[0]), float(track.values[0]))
        if area and last:
            totals_.line(last, first)
        totals_.points(track, area=area)
        last = (int(track.times[-1]), float(track.values[-1]))
    return last


def _cells(
    connection: Connection, series: SeriesRow, grain: Grain, part: Run, totals_: Totals, last: Point | None
) -> Point | None:
    for rows in points.cells_of(connection, grain, series.id, part.start, part.end):
        totals_.cells(rows, grain.width)
    for span in points.spans(connection, series.id, part.start // DAY, (part.end - 1) // DAY):
        if last and last[0] < span.start:  # across midnight; lines inside a day are in its cells
            totals_.line(last, (span.start, span.first))
        last = (span.end, span.last)
    return last


def _point_before(connection: Connection, series: SeriesRow, part: Run) -> Point | None:
    """Return the point from which a line may reach into the first part."""
    end = part.start // DAY * DAY if part.clean else part.start
    point = points.last_before(connection, series.id, end, end - GAP)
    if point is None and part.clean:
        before = points.spans(connection, series.id, end // DAY - 1, end // DAY - 1)
        return (before[0].end, before[0].last) if before else None
    return point


def _point_after(connection: Connection, series: SeriesRow, part: Run, last: Point) -> Point | None:
    """Return the point to which a line may reach out of the last part."""
    start = -(-part.end // DAY) * DAY if part.clean else part.end
    point = points.first_from(connection, series.id, start, last[0] + GAP)
    if point is None and part.clean:
        after = points.spans(connection, series.id, start // DAY, start // DAY)
        return (after[0].start, after[0].first) if after else None
    return point


def _dirty(connection: Connection, series: SeriesRow, edges: Sequence[int]) -> list[int]:
    rows = connection.execute(
        "SELECT day FROM touched WHERE device = %s AND built < changed AND day BETWEEN %s AND %s ORDER BY day",
        (series.device, edges[0] // DAY, (edges[-1] - 1) // DAY),
    )
    return [day for (day,) in rows]


def _last_kept(connection: Connection, series: SeriesRow, start: int) -> float | None:
    """Return the last value before `start` ms from the cells."""
    row = connection.execute(
        "SELECT last FROM r5m WHERE series = %s AND bucket <= %s AND n > 0 ORDER BY bucket DESC LIMIT 1",
        (series.id, start - tiers.FIVE_MINUTES.width),
    ).fetchone()
    return row[0] if row else None


def note_replacement(connection: Connection, series: int, time: int) -> None:
    """Note that the device behind a counter was replaced at a time in ms UTC; raise KeyError if the series is unknown."""
    if not connection.execute("SELECT 1 FROM series WHERE id=%s", (series,)).fetchone():
        raise KeyError(series)
    connection.execute("UPDATE clock SET changes = changes + 1")
    connection.execute("INSERT INTO replacement(series, ts) VALUES(%s, %s) ON CONFLICT DO NOTHING", (series, time))


def keep_jumps(connection: Connection, end: int) -> None:
    """Save the jumps of all replacements before `end` ms: their points are about to be dropped."""
    rows = connection.execute(
        "SELECT r.ts, s.id, s.device, s.kind, s.rollover FROM replacement r JOIN series s ON s.id = r.series "
        "WHERE r.at IS NULL"
    ).fetchall()
    for time, *columns in rows:
        series = SeriesRow(*columns)
        jump = _jump(connection, series, time)
        if jump and jump[0] < end:
            connection.execute(
                "UPDATE replacement SET at = %s, jump = %s WHERE series = %s AND ts = %s", (*jump[1], series.id, time)
            )


def _replacements(connection: Connection, series: SeriesRow, end: int) -> list[tuple[int, int | None, float | None]]:
    """Return the times (ms) at which the meter of a counter was replaced until `end` ms, and its jumps where they are kept."""
    if series.kind != "counter":
        return []
    return connection.execute(
        "SELECT ts, at, jump FROM replacement WHERE series = %s AND ts <= %s ORDER BY ts", (series.id, end)
    ).fetchall()


def _jumps(
    connection: Connection, series: SeriesRow, replacements: Sequence[tuple[int, int | None, float | None]]
) -> Iterator[Point]:
    """Yield the time (ms) of the first point after each replacement, and its apparent rise."""
    for time, at, jump in replacements:
        if at is not None and jump is not None:
            yield at, jump
        elif jump_ := _jump(connection, series, time):
            yield jump_[1]


def _jump(connection: Connection, series: SeriesRow, time: int) -> tuple[int, Point] | None:
    """Return the time of the last point before a replacement, and the time and the jump of the first one after it."""
    before = points.last_before(connection, series.id, time)
    after = points.first_from(connection, series.id, time, FOREVER)
    if before is None or after is None:
        return None
    return before[0], (
        after[0],
        exact.total([after[1], -before[1], exact.correction(before[1], after[1], series.rollover)]),
    )
