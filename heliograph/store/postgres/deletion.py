"""Takes points out of a database: their days are computed again."""

from datetime import UTC, datetime

from heliograph.store.postgres.months import DAY
from heliograph.store.postgres.schema import Connection

TIERS = ("r5m", "r1h", "r1d")


def delete(connection: Connection, series: list[int], span: tuple[float, float], now: float) -> int:
    """Delete the points of series in a span (seconds UTC), in the open transaction; return how many there were.

    Raises ValueError for a part of a day of which only cells are kept, psycopg.Error.
    """
    begin, end = (round(time * 1000) for time in span)
    row = connection.execute("SELECT raw_from, revision FROM clock FOR UPDATE").fetchone()
    raw_from, revision = (row[0], row[1] + 1) if row else (0, 1)
    if any(time % DAY and time < raw_from for time in (begin, end)):
        day = datetime.fromtimestamp(min(begin, end) / 1000, UTC).date()
        raise ValueError(
            f"of {day} only cells of 5 minutes are kept: delete whole days, from midnight to midnight in UTC"
        )
    deleted = 0
    if begin < raw_from:
        dropped = (series, begin, min(end, raw_from))
        cells = connection.execute(
            "SELECT coalesce(sum(n), 0) FROM r5m WHERE series = ANY(%s) AND bucket >= %s AND bucket < %s", dropped
        ).fetchone()
        deleted += int(cells[0]) if cells else 0
        for table in TIERS:
            connection.execute(f"DELETE FROM {table} WHERE series = ANY(%s) AND bucket >= %s AND bucket < %s", dropped)
    deleted += connection.execute(
        "DELETE FROM reading WHERE series = ANY(%s) AND ts >= %s AND ts < %s", (series, begin, end)
    ).rowcount
    connection.execute(
        "DELETE FROM arrival a WHERE ts >= %s AND ts < %s "
        "AND device IN (SELECT device FROM series WHERE id = ANY(%s)) "
        "AND NOT EXISTS (SELECT 1 FROM reading r WHERE r.ts = a.ts AND r.seq = a.seq)",
        (begin, end, series),
    )
    days = (revision, begin // DAY, (end - 1) // DAY)
    connection.execute(
        # not of days without points: their cells cannot be built again
        "UPDATE touched SET changed = %s, at = %s WHERE day BETWEEN %s AND %s AND day * 86400000::bigint >= %s "
        "AND device IN (SELECT device FROM series WHERE id = ANY(%s))",
        (revision, round(now * 1000), *days[1:], raw_from, series),
    )
    connection.execute("UPDATE day SET changed = %s WHERE day BETWEEN %s AND %s", days)
    connection.execute("UPDATE clock SET revision = %s, changes = changes + 1", (revision,))
    return deleted
