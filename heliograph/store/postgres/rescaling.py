"""Converts all values of a series in a database into another unit, in one transaction."""

from heliograph.conversion import decimals
from heliograph.store import rescalings
from heliograph.store.postgres.points import series_row
from heliograph.store.postgres.schema import Connection, meta, put_meta
from heliograph.store.rescaling import NO_AREA, CannotRescale, refuse_kind
from heliograph.store.rescalings import Entry, Rescaling

# In decimal numbers, as conversion.py; a quotient has as many digits after the point as what is divided.
SUM = "(round(({}::text::numeric + {} * %(before)s) * %(multiply)s, 40) / %(divide)s + {} * %(after)s)::float8"


def rescale(connection: Connection, change: Rescaling, again: int, now: float) -> Entry | None:
    """Convert a series in the open transaction; `now` in seconds UTC. Raises CannotRescale, KeyError or psycopg.Error.

    Returns the last rescaling of the series, with nothing changed, if it was this one, and has not the number `again`.
    """
    row = connection.execute("SELECT raw_from, revision FROM clock FOR UPDATE").fetchone()
    raw_from, revision = (row[0], row[1] + 1) if row else (0, 1)
    log = rescalings.decode(meta(connection, rescalings.KEY))
    done = rescalings.done_before(log, change)
    if done is not None and done.number != again:
        return done
    series = series_row(connection, change.series)
    refuse_kind(series.kind, f"series {series.id}")
    (unit,) = connection.execute("SELECT coalesce(unit, '') FROM series WHERE id = %s", (series.id,)).fetchall()[0]
    multiply, divide, before, after = decimals(change.conversion)
    values = {
        "multiply": multiply, "divide": divide, "before": before, "after": after, "series": series.id,
        "raw_from": raw_from, "unit": change.unit, "revision": revision, "now": round(now * 1000),
    }  # fmt: skip
    dropped = "series = %(series)s AND bucket < %(raw_from)s"
    no_points = connection.execute(f"SELECT 1 FROM r1d WHERE {dropped} LIMIT 1", values).fetchone()
    if change.conversion.has_offset and series.kind != "counter" and no_points:
        raise CannotRescale(NO_AREA.format("some days"))
    connection.execute(f"UPDATE reading SET v = {_converted('v')} WHERE series = %(series)s", values)
    ends = ", ".join(f"{name} = {_converted(name)}" for name in ("min", "max", "first", "last"))
    rises = ", ".join(f"{name} = {_converted(name, '0')}" for name in ("carry", "area"))
    for table in ("r5m", "r1h"):
        connection.execute(
            f"UPDATE {table} SET sum = {_converted('sum', 'n')}, {ends}, {rises} WHERE {dropped}", values
        )
    days = ", ".join(f"{name} = {_converted(name)}" for name in ("first", "last"))
    connection.execute(f"UPDATE r1d SET {days} WHERE {dropped}", values)
    connection.execute(f"UPDATE replacement SET jump = {_converted('jump', '0')} WHERE series = %(series)s", values)
    connection.execute(
        f"UPDATE series SET unit = %(unit)s, rollover = {_converted('rollover', '0')} WHERE id = %(series)s", values
    )
    connection.execute(
        "UPDATE touched SET changed = %(revision)s, at = %(now)s WHERE day * 86400000::bigint >= %(raw_from)s "
        "AND device = (SELECT device FROM series WHERE id = %(series)s)",
        values,
    )
    connection.execute("UPDATE clock SET revision = %(revision)s, changes = changes + 1", values)
    log = rescalings.with_one(log, change, now, unit, series.rollover)
    put_meta(connection, rescalings.KEY, rescalings.encode(log))
    return None


def _converted(column: str, count: str = "1") -> str:
    """Return the SQL of a column in the new unit: the sum of so many values, or with 0 a difference of two."""
    return SUM.format(column, count, count)
