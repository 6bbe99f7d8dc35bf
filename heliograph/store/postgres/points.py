"""Points and cells, read from tables into columns and written back."""

from collections.abc import Iterator
from typing import NamedTuple

from psycopg import ServerCursor
from psycopg.rows import TupleRow

from heliograph.messages import Kind
from heliograph.store import cells, tiers
from heliograph.store.cells import DAY, Cells, DaySpan, Track
from heliograph.store.postgres.schema import Connection
from heliograph.store.tiers import Grain
from heliograph.store.vectors import ops

BATCH = 20_000  # rows in memory at a time
CELL = "bucket, n, sum, min, max, first, last, carry, area, at"
PUT = (
    f"INSERT INTO {{}}(series, {CELL}) SELECT %s, new.* FROM unnest(%s::bigint[], %s::int[]"
    f"{', %s::float8[]' * 7}, %s::smallint[]) AS new"
)
Point = tuple[int, float]  # ms UTC and number


class SeriesRow(NamedTuple):
    """The row of a series."""

    id: int
    device: int
    kind: Kind
    rollover: float


def series_row(connection: Connection, series: int) -> SeriesRow:
    """Return a series; raise KeyError if no series has this number."""
    row = connection.execute("SELECT id, device, kind, rollover FROM series WHERE id = %s", (series,)).fetchone()
    if row is None:
        raise KeyError(series)
    return SeriesRow(*row)


def tracks(connection: Connection, series: int, start: int, end: int) -> Iterator[Track]:
    """Yield the points of [start, end) ms, BATCH at a time; the connection is in a transaction."""
    with connection.cursor("points", binary=True) as cursor:
        cursor.execute(
            "SELECT ts, v FROM reading WHERE series = %s AND ts >= %s AND ts < %s ORDER BY ts", (series, start, end)
        )
        for rows in _batches(cursor):
            times, values = zip(*rows, strict=True)
            yield Track(ops.ints(times), ops.floats(values))


def track(connection: Connection, series: int, start: int, end: int, most: int | None = None) -> Track | None:
    """Return the points of [start, end) ms, at most the first `most` of them; None if there is none."""
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(
            "SELECT ts, v FROM reading WHERE series = %s AND ts >= %s AND ts < %s ORDER BY ts LIMIT %s",
            (series, start, end, most),
        ).fetchall()
    return _track(rows)


def newest_two(connection: Connection, series: int, end: int) -> Track | None:
    """Return the newest two points before `end` ms; None if there is none."""
    rows = connection.execute(
        "SELECT ts, v FROM reading WHERE series = %s AND ts < %s ORDER BY ts DESC LIMIT 2", (series, end)
    ).fetchall()
    return _track(rows[::-1])


def last_before(connection: Connection, series: int, end: int, reach: int | None = None) -> Point | None:
    """Return the newest point before `end` ms, and not before `reach`."""
    return connection.execute(
        "SELECT ts, v FROM reading WHERE series = %s AND ts < %s AND ts >= %s ORDER BY ts DESC LIMIT 1",
        (series, end, -1 if reach is None else reach),
    ).fetchone()


def first_from(connection: Connection, series: int, start: int, reach: int) -> Point | None:
    """Return the oldest point of [start, reach] ms."""
    return connection.execute(
        "SELECT ts, v FROM reading WHERE series = %s AND ts >= %s AND ts <= %s ORDER BY ts LIMIT 1",
        (series, start, reach),
    ).fetchone()


def value_at(connection: Connection, series: int, time: int) -> float | None:
    """Return the value exactly at a time in ms, from the points, or from a cell that begins with it; None if there is none."""
    row = connection.execute(
        "SELECT v FROM reading WHERE series = %s AND ts = %s UNION ALL "
        "SELECT first FROM r5m WHERE series = %s AND bucket = %s AND n > 0 AND at = 1 LIMIT 1",
        (series, time, series, time),
    ).fetchone()
    return None if row is None else float(row[0])


def cells_of(connection: Connection, grain: Grain, series: int, start: int, end: int) -> Iterator[Cells]:
    """Yield the cells of [start, end) ms, BATCH at a time; the connection is in a transaction."""
    with connection.cursor("cells", binary=True) as cursor:
        cursor.execute(
            f"SELECT {CELL} FROM {grain.name} WHERE series = %s AND bucket >= %s AND bucket < %s ORDER BY bucket",
            (series, start, end),
        )
        for rows in _batches(cursor):
            start_, n, *columns, at = zip(*rows, strict=True)
            # built while the series was of another kind, and its points dropped since: no carry, no area
            numbers = [None if None in column else ops.floats(column) for column in columns]
            is_at = ops.ints(cells.UNKNOWN if flag is None else flag for flag in at)  # None: made before this column
            yield Cells(ops.ints(start_), ops.ints(n), *numbers)._replace(at=is_at)


def spans(connection: Connection, series: int, first: int, last: int) -> list[DaySpan]:
    """Return the first and last point of each UTC day from first to last that has a tier."""
    rows = connection.execute(
        "SELECT tfirst, first, tlast, last FROM r1d WHERE series = %s AND bucket BETWEEN %s AND %s ORDER BY bucket",
        (series, first * DAY, last * DAY),
    )
    return [DaySpan(*row) for row in rows]


def put_day(connection: Connection, series: SeriesRow, day: int) -> None:
    """Build the tiers of a series' UTC day from its points, in the transaction that is open."""
    start, end = day * DAY, (day + 1) * DAY
    points = track(connection, series.id, start, end)
    with connection.pipeline():
        for table in (*(grain.name for grain in tiers.GRAINS), "r1d"):
            connection.execute(
                f"DELETE FROM {table} WHERE series = %s AND bucket >= %s AND bucket < %s", (series.id, start, end)
            )
        if points is None:
            return
        for grain in tiers.GRAINS:
            cells_ = cells.of_day(points, day, grain.width, series.kind, series.rollover)
            columns = [[None] * len(cells_.n) if column is None else column.tolist() for column in cells_]
            connection.execute(PUT.format(grain.name), (series.id, *columns))
        connection.execute("INSERT INTO r1d VALUES(%s, %s, %s, %s, %s, %s)", (series.id, start, *cells.span(points)))


def _track(rows: list[TupleRow]) -> Track | None:
    if not rows:
        return None
    times, values = zip(*rows, strict=True)
    return Track(ops.ints(times), ops.floats(values))


def _batches(cursor: ServerCursor[TupleRow]) -> Iterator[list[TupleRow]]:
    while rows := cursor.fetchmany(BATCH):
        yield rows
        if len(rows) < BATCH:
            return
