"""Converts all values of a series in a database into another unit, in one transaction."""

from heliograph.store.postgres.points import series_row
from heliograph.store.postgres.schema import Connection
from heliograph.store.rescaling import NO_AREA, CannotRescale, Rescaling, refuse_kind

VALUE = "({} + %(before)s) * %(multiply)s / %(divide)s + %(after)s"
RISE = "{} * %(multiply)s / %(divide)s"
SUM = "(sum + n * %(before)s) * %(multiply)s / %(divide)s + n * %(after)s"


def rescale(connection: Connection, change: Rescaling, now: float) -> None:
    """Convert a series in the open transaction; `now` in seconds UTC. Raises CannotRescale, KeyError or psycopg.Error."""
    row = connection.execute("SELECT raw_from, revision FROM clock FOR UPDATE").fetchone()
    raw_from, revision = (row[0], row[1] + 1) if row else (0, 1)
    series = series_row(connection, change.series)
    refuse_kind(series.kind, f"series {series.id}")
    conversion = change.conversion
    values = {
        "multiply": conversion.multiply, "divide": conversion.divide, "before": conversion.before,
        "after": conversion.after, "series": series.id, "raw_from": raw_from, "unit": change.unit,
        "revision": revision, "now": round(now * 1000),
    }  # fmt: skip
    dropped = "series = %(series)s AND bucket < %(raw_from)s"
    no_points = connection.execute(f"SELECT 1 FROM r1d WHERE {dropped} LIMIT 1", values).fetchone()
    if conversion.has_offset and series.kind != "counter" and no_points:
        raise CannotRescale(NO_AREA.format("some days"))
    connection.execute(f"UPDATE reading SET v = {VALUE.format('v')} WHERE series = %(series)s", values)
    ends = ", ".join(f"{name} = {VALUE.format(name)}" for name in ("min", "max", "first", "last"))
    rises = ", ".join(f"{name} = {RISE.format(name)}" for name in ("carry", "area"))
    for table in ("r5m", "r1h"):
        connection.execute(f"UPDATE {table} SET sum = {SUM}, {ends}, {rises} WHERE {dropped}", values)
    days = ", ".join(f"{name} = {VALUE.format(name)}" for name in ("first", "last"))
    connection.execute(f"UPDATE r1d SET {days} WHERE {dropped}", values)
    connection.execute(f"UPDATE replacement SET jump = {RISE.format('jump')} WHERE series = %(series)s", values)
    connection.execute(
        f"UPDATE series SET unit = %(unit)s, rollover = {RISE.format('rollover')} WHERE id = %(series)s", values
    )
    connection.execute(
        "UPDATE touched SET changed = %(revision)s, at = %(now)s WHERE day * 86400000::bigint >= %(raw_from)s "
        "AND device = (SELECT device FROM series WHERE id = %(series)s)",
        values,
    )
    connection.execute("UPDATE clock SET revision = %(revision)s, changes = changes + 1", values)
