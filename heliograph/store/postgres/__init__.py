"""The store in a PostgreSQL database, for sites that outgrow one machine: docs/scale.md.

It is imported only where a URL is configured: psycopg needs memory that a small machine has not.
"""

import time
from collections.abc import Callable, Sequence

from heliograph.store.interface import Keep, Reader, Writer
from heliograph.store.postgres.reader import PostgresReader
from heliograph.store.postgres.writer import PostgresWriter


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
