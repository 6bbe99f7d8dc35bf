"""The store in a PostgreSQL database, for sites that outgrow one machine: docs/scale.md.

It is imported only where a URL is configured: psycopg needs memory that a small machine has not.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import closing

from heliograph.renames import Rename
from heliograph.store.interface import Keep, Reader, Writer
from heliograph.store.postgres import renaming, rescaling, schema
from heliograph.store.postgres.reader import PostgresReader
from heliograph.store.postgres.session import Session
from heliograph.store.postgres.writer import PostgresWriter
from heliograph.store.rename_plan import Renaming
from heliograph.store.rescalings import Entry, Rescaling


def open_postgres_writer(
    url: str,
    clock_is_right: Callable[[], bool],
    keep: Keep,
    now: Callable[[], float] = time.time,
    nodes: Sequence[str] = (),
) -> Writer:
    """Open the store of a database for writing, or create it; raise OSError or StoreDamaged.

    `now` returns the time by which housekeeping is due, in seconds UTC. No other writer gets one of `nodes` until this
    one is closed, and it raises Taken if another one has them.
    """
    return PostgresWriter(url, clock_is_right, keep, now, nodes)


def open_postgres_reader(url: str) -> Reader:
    """Return a reader of the store of a database, which may not exist yet; raise OSError if it is not a URL."""
    return PostgresReader(url)


def rename_in_database(url: str, entry: Rename, *, dry_run: bool) -> Renaming:
    """Rename in the store of a database, or return what would be done; raise CannotRename, Taken, StoreAway, OSError."""
    database = schema.DatabaseName(url)
    nodes = () if dry_run else {name.partition("/")[0] for name in (entry.old, entry.new)}
    session = Session(url, database, sorted(nodes))
    try:
        with session.connection() as connection, connection.transaction():
            if dry_run:
                return renaming.check(connection, entry.old, entry.new)
            return renaming.rename(connection, entry, time.time())
    finally:
        session.close()


def rescale_in_database(url: str, change: Rescaling, again: int) -> Entry | None:
    """Convert all values of a series in the store of a database; raise CannotRescale, Taken, StoreAway, OSError.

    Returns the rescaling if it was the last one of the series already, and has not the number `again`: nothing is changed.
    """
    database = schema.DatabaseName(url)
    with closing(PostgresReader(url)) as reader:
        nodes = [one.node for one in reader.series() if one.id == change.series]
    with (
        closing(Session(url, database, nodes)) as session,
        session.connection() as connection,
        connection.transaction(),
    ):
        return rescaling.rescale(connection, change, again, time.time())
