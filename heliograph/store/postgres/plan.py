"""How an aggregate is put together: cells where they are good, points elsewhere. Every question is one snapshot."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from heliograph.store import exact, tiers
from heliograph.store.cells import DAY, GAP
from heliograph.store.interface import Function
from heliograph.store.postgres import points
from heliograph.store.postgres.points import Known, Point
from heliograph.store.postgres.schema import Connection
from heliograph.store.tiers import Grain
from heliograph.store.totals import Totals
from heliograph.store.vectors import ops

FOREVER = 1 << 62  # ms


class Run(NamedTuple):
    """A part of the question: [start, end) ms; `clean` says that its tiers are good."""

    start: int
    end: int
    clean: bool


def runs(start: int, end: int, dirty: Sequence[int]) -> Iterator[Run]:
    """Cut [start, end) ms at the midnights where clean days meet dirty ones; `dirty` are rising UTC days."""
    place = start
    for day in dirty:
        begin, stop = max(start, day * DAY), min(end, (day + 1) * DAY)
        if place < begin:
            yield Run(place, begin, True)
        if begin < stop:
            yield Run(begin, stop, False)
            place = stop
    if place < end:
        yield Run(place, end, True)


def joined(parts: Iterator[Run]) -> Iterator[Run]:
    """Join neighbours of one sort."""
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


def grain_of(edges: Sequence[int], functions: Sequence[Function], known: Known) -> Grain | None:
    """Return the tier that answers; None if points are needed: the cells of a counter have no area."""
    if known.kind == "counter" and "integral" in functions:
        return None
    return tiers.of_edges(ops.ints(edges))


def totals(connection: Connection, known: Known, edges: Sequence[int], functions: Sequence[Function]) -> Totals:
    """Return what is between the edges, ms UTC; the connection is in a transaction. Raises psycopg.Error."""
    found = Totals(ops.ints(edges), counter=known.kind == "counter", rollover=known.rollover)
    start, end = edges[0], edges[-1]
    grain = grain_of(edges, functions, known)
    area = "integral" in functions
    parts = (
        [Run(start, end, False)] if grain is None else list(joined(runs(start, end, _dirty(connection, known, edges))))
    )
    if "delta" in functions:
        before = points.last_before(connection, known.id, start)
        value = before[1] if before else _last_kept(connection, known, start)
        if value is not None:
            found.follow(value)
        for time, jump in dict(_replacements(connection, known, end)).items():
            found.adjust(time, -jump)
    last = _point_before(connection, known, parts[0]) if area else None
    for part in parts:
        if part.clean and grain is not None:
            last = _cells(connection, known, grain, part, found, last)
        else:
            last = _points(connection, known, part, found, last, area=area)
    if area and last:
        following = _point_after(connection, known, parts[-1], last)
        if following:
            found.line(last, following)
    return found


def _points(
    connection: Connection, known: Known, part: Run, found: Totals, last: Point | None, *, area: bool
) -> Point | None:
    for track in points.tracks(connection, known.id, part.start, part.end):
        first = (int(track.times[0]), float(track.values[0]))
        if area and last:
            found.line(last, first)
        found.points(track, area=area)
        last = (int(track.times[-1]), float(track.values[-1]))
    return last


def _cells(
    connection: Connection, known: Known, grain: Grain, part: Run, found: Totals, last: Point | None
) -> Point | None:
    for rows in points.cells_of(connection, grain, known.id, part.start, part.end):
        found.cells(rows)
    for span in points.spans(connection, known.id, part.start // DAY, (part.end - 1) // DAY):
        if last and last[0] < span.start:  # across midnight; lines inside a day are in its cells
            found.line(last, (span.start, span.first))
        last = (span.end, span.last)
    return last


def _point_before(connection: Connection, known: Known, part: Run) -> Point | None:
    """Return the point from which a line may reach into the first part."""
    end = part.start // DAY * DAY if part.clean else part.start
    found = points.last_before(connection, known.id, end, end - GAP)
    if found is None and part.clean:
        before = points.spans(connection, known.id, end // DAY - 1, end // DAY - 1)
        return (before[0].end, before[0].last) if before else None
    return found


def _point_after(connection: Connection, known: Known, part: Run, last: Point) -> Point | None:
    """Return the point to which a line may reach out of the last part."""
    start = -(-part.end // DAY) * DAY if part.clean else part.end
    found = points.first_from(connection, known.id, start, last[0] + GAP)
    if found is None and part.clean:
        after = points.spans(connection, known.id, start // DAY, start // DAY)
        return (after[0].start, after[0].first) if after else None
    return found


def _dirty(connection: Connection, known: Known, edges: Sequence[int]) -> list[int]:
    rows = connection.execute(
        "SELECT day FROM touched WHERE device = %s AND built < changed AND day BETWEEN %s AND %s ORDER BY day",
        (known.device, edges[0] // DAY, (edges[-1] - 1) // DAY),
    )
    return [day for (day,) in rows]


def _last_kept(connection: Connection, known: Known, start: int) -> float | None:
    """Return the last value before `start` ms of which only the cell is kept."""
    found = connection.execute(
        "SELECT last FROM r5m WHERE series = %s AND bucket <= %s AND n > 0 ORDER BY bucket DESC LIMIT 1",
        (known.id, start - tiers.FIVE_MINUTES.width),
    ).fetchone()
    return found[0] if found else None


def keep_jumps(connection: Connection, end: int) -> None:
    """Note the jumps of all replacements that begin before `end` ms: the points are about to go."""
    rows = connection.execute(
        "SELECT r.ts, s.id, s.device, s.kind, s.rollover FROM replacement r JOIN series s ON s.id = r.series "
        "WHERE r.at IS NULL"
    ).fetchall()
    for time, *series in rows:
        known = Known(*series)
        found = _jump(connection, known, time)
        if found and found[0] < end:
            connection.execute(
                "UPDATE replacement SET at = %s, jump = %s WHERE series = %s AND ts = %s", (*found[1], known.id, time)
            )


def _replacements(connection: Connection, known: Known, end: int) -> Iterator[Point]:
    """Yield the first point after each replacement, ms, and by how much it seems to have risen."""
    if known.kind != "counter":
        return
    rows = connection.execute(
        "SELECT ts, at, jump FROM replacement WHERE series = %s AND ts <= %s ORDER BY ts", (known.id, end)
    ).fetchall()
    for time, at, jump in rows:
        if at is not None:
            yield at, jump
        elif found := _jump(connection, known, time):
            yield found[1]


def _jump(connection: Connection, known: Known, time: int) -> tuple[int, Point] | None:
    """Return when the last point before a replacement was, and when and by how much the first one after it jumped."""
    before = points.last_before(connection, known.id, time)
    after = points.first_from(connection, known.id, time, FOREVER)
    if before is None or after is None:
        return None
    return before[0], (
        after[0],
        exact.total([after[1], -before[1], exact.correction(before[1], after[1], known.rollover)]),
    )
