"""Connections of a reader to a database: a few for all threads, kept while they are idle."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from heliograph.errors import StoreAway, StoreDamaged
from heliograph.store.postgres import schema
from heliograph.store.postgres.schema import Connection, DatabaseName

MOST_CONNECTIONS = 8  # of one process, exports aside
IDLE_CONNECTIONS = 2


class Pool:
    """Gives connections; thread-safe. `identity` is that of the store; `renewed` is called when it is another one."""

    def __init__(self, url: str, database: DatabaseName, renewed: Callable[[], None]) -> None:
        self._url = url
        self._database = database
        self._renewed = renewed
        self._lock = threading.Lock()
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._idle: list[Connection] = []
        self.identity = ""

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Give a connection in a transaction; wait while MOST_CONNECTIONS are in use. Raises StoreAway or StoreDamaged."""
        with self._free, self.connection() as connection, connection.transaction():
            yield connection

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Give a connection at once, for as long as the caller needs it; raise StoreAway or StoreDamaged."""
        with schema.refusing(self._database, StoreAway):
            connection = self._take()
            try:
                yield connection
            finally:
                self._give_back(connection)

    def _take(self) -> Connection:
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return self._connect()
            if schema.is_current(connection):
                return connection
            connection.close()

    def _give_back(self, connection: Connection) -> None:
        with self._lock:
            if not connection.closed and len(self._idle) < IDLE_CONNECTIONS:
                self._idle.append(connection)
                return
        connection.close()

    def _connect(self) -> Connection:
        connection = schema.connect(self._url, writes=False)
        try:
            schema.check(connection, self._database)
            identity = schema.meta(connection, "identity")
        except (psycopg.Error, StoreAway, StoreDamaged):
            connection.close()
            raise
        with self._lock:
            if identity != self.identity:
                self.identity = identity
                self._renewed()
        return connection
