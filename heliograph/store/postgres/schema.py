"""The schema `heliograph` of a PostgreSQL database, and how it is opened.

Times are integers, ms UTC. `reading`, `arrival` and the tiers `r5m`, `r1h` (cells of
cells.py) and `r1d` (the first and the last point of a UTC day) are partitioned by month.
The one row of `clock` orders all commits: every writer locks it, so that arrival numbers
become visible in their order. `touched` lists the days of a device that changed after their
tiers were built; such days are read from `reading`.
"""

import select
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from heliograph.errors import DatabaseRefuses, StoreAway, StoreDamaged
from heliograph.redaction import url_redactor
from heliograph.store.postgres import timescale

FORMAT = "1"
CREATION_LOCK = 0x68656C696F  # of the advisory locks: two processes may open a new database at once
FOR_ALL = "SET search_path TO heliograph, public; SET extra_float_digits TO 1"
# a storage that hangs must not keep the others waiting; a host that lost its power is noticed within a minute, not in
# two hours: until then the server keeps the session, with the locks of its nodes
FOR_WRITERS = (
    f"{FOR_ALL}; SET lock_timeout TO '30s'; SET idle_in_transaction_session_timeout TO '60s'; "
    "SET tcp_keepalives_idle TO 30; SET tcp_keepalives_interval TO 10; SET tcp_keepalives_count TO 3"
)
APPLICATION = "heliograph storage on "  # and the host's name: in pg_stat_activity
CONNECT_SECONDS = 10
UNANSWERED_MS = 30_000  # a server that acknowledges no packet for this time is gone

CELL = """(
    series int NOT NULL, bucket bigint NOT NULL, n int NOT NULL, sum float8 NOT NULL, min float8 NOT NULL,
    max float8 NOT NULL, first float8 NOT NULL, last float8 NOT NULL, carry float8, area float8, at smallint,
    PRIMARY KEY(series, bucket)
)"""
TABLES = f"""
CREATE TABLE device(id int PRIMARY KEY, node text NOT NULL, name text NOT NULL, UNIQUE(node, name));
CREATE TABLE series(
    id int PRIMARY KEY, device int NOT NULL REFERENCES device, name text NOT NULL, unit text NOT NULL,
    kind text NOT NULL, rollover float8 NOT NULL, UNIQUE(device, name)
);
CREATE TABLE word(id int PRIMARY KEY, text bytea NOT NULL UNIQUE);
CREATE TABLE replacement(
    series int NOT NULL REFERENCES series, ts bigint NOT NULL,
    at bigint, jump float8,  -- saved when the points are dropped: time and jump of the first point after it
    PRIMARY KEY(series, ts)
);
CREATE TABLE progress(
    producer bytea NOT NULL, epoch bytea NOT NULL, last bigint NOT NULL, lost bigint NOT NULL, seen bigint NOT NULL,
    PRIMARY KEY(producer, epoch)
);
CREATE TABLE clock(
    last bigint NOT NULL,      -- arrival number
    revision bigint NOT NULL,  -- of the readings: one more with every commit
    changes bigint NOT NULL,   -- of anything else that answers depend on
    raw_from bigint NOT NULL,  -- points before it were dropped
    seen bigint NOT NULL       -- ms UTC of the last progress
);
INSERT INTO clock VALUES(0, 0, 0, 0, 0);
CREATE TABLE touched(
    device int NOT NULL, day int NOT NULL, changed bigint NOT NULL, at bigint NOT NULL, built bigint NOT NULL,
    PRIMARY KEY(device, day)
);
CREATE INDEX touched_dirty ON touched(day, device) WHERE built < changed;
CREATE TABLE day(day int PRIMARY KEY, changed bigint NOT NULL);
CREATE TABLE arrival(seq bigint NOT NULL, device int NOT NULL, ts bigint NOT NULL, PRIMARY KEY(seq, ts))
    PARTITION BY RANGE(ts);
CREATE TABLE r5m {CELL} PARTITION BY RANGE(bucket);
CREATE TABLE r1h {CELL} PARTITION BY RANGE(bucket);
CREATE TABLE r1d(
    series int NOT NULL, bucket bigint NOT NULL, tfirst bigint NOT NULL, first float8 NOT NULL, tlast bigint NOT NULL,
    last float8 NOT NULL, PRIMARY KEY(series, bucket)
) PARTITION BY RANGE(bucket);
CREATE TABLE reading(
    series int NOT NULL, ts bigint NOT NULL, v float8 NOT NULL, seq bigint NOT NULL, PRIMARY KEY(series, ts)
)"""
# For people and their programs. Its query is inlined, and its bounds prune months, as long as it is not STRICT and sets
# nothing (PostgreSQL wiki, "Inlining of SQL functions"). A text that is no UTF-8 for the server is shown escaped.
READINGS = r"""
CREATE FUNCTION heliograph.readings("from" timestamptz, "to" timestamptz) RETURNS TABLE(
    "time" timestamptz, node text, device text, channel text, unit text, value float8, "text" text
) LANGUAGE sql STABLE PARALLEL SAFE AS $$
SELECT to_timestamp(r.ts / 1000.0), d.node, d.name, s.name, s.unit, CASE WHEN s.kind <> 'text' THEN r.v END,
    CASE WHEN encode(w.text, 'hex') ~ '^(..)*(00|ed[ab])' THEN encode(w.text, 'escape')
        ELSE convert_from(w.text, 'UTF8') END
FROM heliograph.reading r
JOIN heliograph.series s ON s.id = r.series
JOIN heliograph.device d ON d.id = s.device
LEFT JOIN heliograph.word w ON w.id = CASE WHEN s.kind = 'text' THEN r.v::int END
WHERE r.ts >= ceil(extract(epoch FROM $1) * 1000)::bigint AND r.ts < ceil(extract(epoch FROM $2) * 1000)::bigint
$$;
COMMENT ON FUNCTION heliograph.readings IS 'The readings from a time on and before another, with names and units';
COMMENT ON TABLE heliograph.reading IS 'One row per value: series, ts in ms UTC, v. Easier: heliograph.readings(from, to)';
COMMENT ON TABLE heliograph.r5m IS 'Cells of five minutes, of days that have settled: nothing of today';
COMMENT ON TABLE heliograph.r1h IS 'Cells of an hour, of days that have settled: nothing of today';
COMMENT ON TABLE heliograph.r1d IS 'First and last point of a UTC day that has settled: nothing of today'
"""
# one commit's values, on their way into `reading`
INCOMING = """
CREATE TEMPORARY TABLE IF NOT EXISTS incoming(series int, ts bigint, v float8, seq bigint) ON COMMIT DELETE ROWS
"""

Connection = psycopg.Connection[TupleRow]
NOT_OURS = (
    errors.UndefinedTable,
    errors.UndefinedColumn,
    errors.WrongObjectType,
    errors.DataCorrupted,
    errors.IndexCorrupted,
)


class DatabaseName:
    """The name of a database in messages, and a redactor that removes the passwords of its URL from them."""

    def __init__(self, url: str) -> None:
        """Raise OSError if this is not the URL of a PostgreSQL database."""
        self.redact = url_redactor(url)
        try:
            options = conninfo_to_dict(url)
        except psycopg.ProgrammingError as error:
            raise DatabaseRefuses(f"not the URL of a PostgreSQL database: {self.redact(str(error))}") from None
        host = options.get("host") or "this machine"
        self._name = f"PostgreSQL database {options.get('dbname') or options.get('user') or ''} on {host}"

    def __str__(self) -> str:
        return self._name


def connect(url: str, *, writes: bool) -> Connection:
    """Return a connection that sees the schema; each transaction of a reader is a snapshot. Raises psycopg.Error."""
    connection = psycopg.connect(
        url,
        autocommit=True,
        connect_timeout=CONNECT_SECONDS,
        application_name=f"{APPLICATION}{socket.gethostname()}" if writes else "heliograph",
        keepalives_idle=UNANSWERED_MS // 1000,
        tcp_user_timeout=UNANSWERED_MS,
    )
    try:
        connection.execute(FOR_WRITERS if writes else FOR_ALL)
        if not writes:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
    except psycopg.Error:
        connection.close()
        raise
    return connection


def is_current(connection: Connection) -> bool:
    """Whether an idle connection is still open: if the server has gone, its socket is readable."""
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)


def create(connection: Connection, database: DatabaseName) -> None:
    """Create the schema if it does not exist; raise StoreDamaged if it has another format, or psycopg.Error."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (CREATION_LOCK,))
        if connection.execute("SELECT to_regclass('heliograph.meta')").fetchone() == (None,):
            weekly = connection.execute(timescale.COMPRESSES).fetchone()
            connection.execute("CREATE SCHEMA IF NOT EXISTS heliograph")
            connection.execute("CREATE TABLE heliograph.meta(key text PRIMARY KEY, value text NOT NULL)")
            connection.execute(TABLES if weekly else TABLES + " PARTITION BY RANGE(ts)")
            if weekly:
                connection.execute(timescale.HYPERTABLE)
            for key, value in (
                ("format", FORMAT),
                ("identity", uuid.uuid4().hex[:16]),
                ("chunks", "timescaledb" if weekly else "months"),
            ):
                connection.execute("INSERT INTO meta VALUES(%s, %s)", (key, value))
    check(connection, database)
    with connection.transaction():  # of a database that is older than the column or the function
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (CREATION_LOCK,))
        if connection.execute("SELECT to_regproc('heliograph.readings')").fetchone() == (None,):
            connection.execute(READINGS)
        for table in ("r5m", "r1h"):
            connection.execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS at smallint")
    connection.execute(INCOMING)


def check(connection: Connection, database: DatabaseName) -> None:
    """Raise StoreAway if there is no store in the database, StoreDamaged if it has another format."""
    if connection.execute("SELECT to_regclass('heliograph.meta')").fetchone() == (None,):
        raise StoreAway(f"there is no store in the {database} yet")
    format_ = meta(connection, "format")
    if format_ != FORMAT:
        raise StoreDamaged(f"the {database} has format {format_}; this version of Heliograph reads {FORMAT}")


def meta(connection: Connection, key: str) -> str:
    """Return a value of the table meta; empty if it is not there."""
    row = connection.execute("SELECT value FROM meta WHERE key=%s", (key,)).fetchone()
    return str(row[0]) if row else ""


def put_meta(connection: Connection, key: str, value: str) -> None:
    """Write a value of the table meta; raise psycopg.Error."""
    connection.execute(
        "INSERT INTO meta VALUES(%s, %s) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, value)
    )


@contextmanager
def refusing(database: DatabaseName, refusal: type[DatabaseRefuses] | type[StoreAway]) -> Iterator[None]:
    """Turn psycopg's errors into `refusal`, and into StoreDamaged for a schema that is not the store's."""
    try:
        yield
    except NOT_OURS as error:
        raise StoreDamaged(f"the {database}: {database.redact(str(error))}") from None
    except psycopg.Error as error:
        raise refusal(f"the {database}: {database.redact(str(error))}") from None
