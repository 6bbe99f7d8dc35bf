"""The PostgreSQL store, reading side: every query is one snapshot of the database."""

import math
from collections.abc import Iterable, Iterator, Sequence

from heliograph import renames
from heliograph.errors import StoreAway, StoreDamaged
from heliograph.messages import Kind, Value
from heliograph.renames import Renames
from heliograph.store.cells import DAY, GAP
from heliograph.store.interface import Arrival, Function, Point, RawPage, Series
from heliograph.store.postgres import plan, points, schema
from heliograph.store.postgres.names import unpack
from heliograph.store.postgres.pool import Pool
from heliograph.store.postgres.schema import Connection

EXPORT_ROWS = 10_000
LAST = (1 << 63) - 1  # of a column of type bigint

SERIES = (
    "SELECT s.id, d.node, d.name, s.name, s.unit, s.kind, s.rollover FROM series s "
    "JOIN device d ON d.id = s.device ORDER BY s.id"
)
LATEST = (
    "SELECT s.id, s.kind, r.ts, r.v FROM series s CROSS JOIN LATERAL "
    "(SELECT ts, v FROM reading WHERE series = s.id AND ts <= %s ORDER BY ts DESC LIMIT 1) r WHERE s.id = ANY(%s)"
)
EXTENT = """
SELECT min(a.ts), max(b.ts) FROM series s
CROSS JOIN LATERAL (SELECT ts FROM reading WHERE series = s.id ORDER BY ts LIMIT 1) a
CROSS JOIN LATERAL (SELECT ts FROM reading WHERE series = s.id ORDER BY ts DESC LIMIT 1) b
"""
KEPT = "SELECT min(tfirst), max(tlast) FROM r1d WHERE (SELECT raw_from FROM clock) > 0"
SINCE = """
SELECT a.seq, d.node, d.name, a.ts, r.series, r.numbers
FROM (SELECT seq, device, ts FROM arrival WHERE seq > %s ORDER BY seq LIMIT %s) a
JOIN device d ON d.id = a.device
CROSS JOIN LATERAL (
    SELECT array_agg(series ORDER BY series) AS series, array_agg(v ORDER BY series) AS numbers FROM reading
    WHERE series = ANY(ARRAY(SELECT id FROM series WHERE device = a.device)) AND ts = a.ts AND seq = a.seq
) r
ORDER BY a.seq
"""
EXPORT = "SELECT ts, series, v FROM reading WHERE series = ANY(%s) AND ts >= %s AND ts < %s ORDER BY ts, series"


class PostgresReader:
    """Reads a database that other processes write; `Reader` of interface.py is its contract."""

    def __init__(self, url: str) -> None:
        self._pool = Pool(url, schema.DatabaseName(url), self._forget_words)
        self._words: dict[int, str] = {}

    def close(self) -> None:
        """Close the idle connections."""
        self._pool.close()

    @property
    def engine(self) -> str:
        """The program that keeps the store, and its version."""
        with self._pool.snapshot() as connection:
            row = connection.execute("SHOW server_version").fetchone()
        return f"PostgreSQL {row[0] if row else ''}"

    def series(self) -> list[Series]:
        """Return all series, in order of their ids."""
        with self._pool.snapshot() as connection:
            return [Series(*row) for row in connection.execute(SERIES)]

    def latest(self, ids: Sequence[int], until: float = math.inf) -> dict[int, Point]:
        """Return the newest point, not later than `until`, of each of these series that has one."""
        last = math.floor(until * 1000) if until < math.inf else LAST
        with self._pool.snapshot() as connection:
            rows = connection.execute(LATEST, (last, list(ids))).fetchall()
            self._learn(connection, (v for _, kind, _, v in rows if kind == "text"))
        return {number: Point(ts / 1000, self._value(kind, v)) for number, kind, ts, v in rows}

    def raw(self, series: int, start: float, end: float, *, limit: int, after: float | None = None) -> RawPage:
        """Return the points of [start, end), at most `limit` of them, starting at `after`."""
        begin = _ms(start if after is None else max(after, start))
        with self._pool.snapshot() as connection:
            kind = points.series_row(connection, series).kind
            with connection.cursor(binary=True) as cursor:
                rows = cursor.execute(
                    "SELECT ts, v FROM reading WHERE series = %s AND ts >= %s AND ts < %s ORDER BY ts LIMIT %s",
                    (series, begin, _ms(end), limit + 1),
                ).fetchall()
            if kind == "text":
                self._learn(connection, (v for _, v in rows))
        following = rows[limit][0] / 1000 if len(rows) > limit else None
        del rows[limit:]
        return RawPage([ts / 1000 for ts, _ in rows], [self._value(kind, v) for _, v in rows], following)

    def aggregate(
        self, series: int, edges: Sequence[float], functions: Sequence[Function]
    ) -> dict[str, list[Value | None]]:
        """Return one value per function and bucket; None for a bucket without points."""
        with self._pool.snapshot() as connection:
            row = points.series_row(connection, series)
            names: list[Function] = [f for f in functions if row.kind != "text" or f in ("n", "first", "last")]
            columns = plan.totals(connection, row, list(map(_ms, edges)), names).columns(names)
            if row.kind == "text":
                self._learn(connection, (v for name in names if name != "n" for v in columns[name] if v is not None))
        nothing: list[Value | None] = [None] * (len(edges) - 1)
        return {
            name: self._as_values(row.kind, name, columns[name]) if name in columns else list(nothing)
            for name in functions
        }

    def export(self, ids: Sequence[int], start: float, end: float) -> Iterator[tuple[float, int, Value]]:
        """Yield (time, series, value) of [start, end) in order of time; each UTC day is one snapshot."""
        begin, stop = _ms(start), _ms(end)
        with self._pool.connection() as connection:  # for as long as the caller takes to read the values
            yield from self._export(connection, list(ids), begin, stop)

    def since(self, cursor: int, limit: int) -> list[Arrival]:
        """Return at most `limit` readings that arrived after a cursor, oldest arrival first."""
        with self._pool.snapshot() as connection:
            rows = connection.execute(SINCE, (cursor, limit)).fetchall()
            numbers_ = sorted({number for row in rows for number in row[4] or ()})
            named: dict[int, tuple[str, Kind]] = {
                number: (name, kind)
                for number, name, kind in connection.execute(
                    "SELECT id, name, kind FROM series WHERE id = ANY(%s)", (numbers_,)
                )
            }
            self._learn(
                connection,
                (v for row in rows for s, v in zip(row[4] or (), row[5] or (), strict=True) if named[s][1] == "text"),
            )
        return [
            Arrival(
                seq,
                node,
                device,
                ts / 1000,
                tuple(named[number][0] for number in numbers or ()),
                tuple(self._value(named[number][1], v) for number, v in zip(numbers or (), values or (), strict=True)),
            )
            for seq, node, device, ts, numbers, values in rows
        ]

    def extent(self) -> tuple[float, float] | None:
        """Return the times of the oldest and the newest point of all, points of which only cells are kept included."""
        with self._pool.snapshot() as connection:
            answers = [connection.execute(question).fetchone() or () for question in (EXTENT, KEPT)]
        times = [time for answer in answers for time in answer if time is not None]
        return (min(times) / 1000, max(times) / 1000) if times else None

    def version(self, start: float, end: float) -> str:
        """Return a text that changes whenever an answer about [start, end) may have changed.

        A delta looks back as far as it has to, so everything before the end counts, and two steps ahead.
        """
        reach = (_ms(end) + 2 * GAP) // DAY
        with self._pool.snapshot() as connection:
            row = connection.execute(
                "SELECT (SELECT changes FROM clock), (SELECT max(changed) FROM day WHERE day <= %s)", (reach,)
            ).fetchone()
        changes, changed = row or (0, 0)
        return f"{self._pool.identity}-{changes}-{changed or 0}"

    def renames(self) -> Renames:
        """Return which nodes, devices and channels got other names."""
        with self._pool.snapshot() as connection:
            return renames.decode(schema.meta(connection, renames.KEY))

    def problems(self) -> list[str]:
        """Return why the store cannot be read, if so; the server checks its own files, see its log."""
        try:
            with self._pool.snapshot():
                return []
        except (StoreAway, StoreDamaged) as error:
            return [str(error)]

    def damaged(self, ids: Sequence[int], start: float, end: float) -> list[str]:
        """Return nothing: what a database cannot read, it does not answer."""
        return []

    def _export(
        self, connection: Connection, ids: list[int], start: int, end: int
    ) -> Iterator[tuple[float, int, Value]]:
        kinds: dict[int, Kind] = dict(connection.execute("SELECT id, kind FROM series WHERE id = ANY(%s)", (ids,)))
        days = connection.execute(
            "SELECT day FROM day WHERE day BETWEEN %s AND %s ORDER BY day", (start // DAY, (end - 1) // DAY)
        ).fetchall()
        for (day,) in days:
            span = (max(start, day * DAY), min(end, (day + 1) * DAY))
            with connection.transaction(), connection.cursor("export", binary=True) as cursor:
                cursor.execute(EXPORT, (ids, *span))
                while rows := cursor.fetchmany(EXPORT_ROWS):
                    self._learn(connection, (v for _, number, v in rows if kinds[number] == "text"))
                    yield from ((ts / 1000, number, self._value(kinds[number], v)) for ts, number, v in rows)

    def _forget_words(self) -> None:
        self._words = {}

    def _learn(self, connection: Connection, numbers: Iterable[object]) -> None:
        """Read the texts with these numbers that are not known yet."""
        missing = list({int(float(str(number))) for number in numbers} - self._words.keys())
        if missing:
            rows = connection.execute("SELECT id, text FROM word WHERE id = ANY(%s)", (missing,))
            self._words.update((number, unpack(text)) for number, text in rows)

    def _value(self, kind: Kind, number: float) -> Value:
        if kind == "text":
            return self._words[int(number)]
        return bool(number) if kind == "state" and number in (0.0, 1.0) else number

    def _as_values(self, kind: Kind, function: str, column: list[Value | None]) -> list[Value | None]:
        """Return a column as values: the first and last of a text are texts."""
        if kind != "text" or function == "n":
            return column
        return [None if value is None else self._value(kind, float(value)) for value in column]


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
