"""The one connection of a writer, which is made again when it is lost."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import psycopg

from heliograph.errors import DatabaseRefuses, StoreAway, StoreDamaged
from heliograph.store.postgres import schema
from heliograph.store.postgres.ownership import NodeLocks
from heliograph.store.postgres.schema import Connection, DatabaseName


class Session:
    """A writer's connection, which holds the locks of its nodes; `identity` is that of the store."""

    def __init__(self, url: str, database: DatabaseName, nodes: Sequence[str]) -> None:
        """Connect, and create the store if there is none; raise Taken, OSError or StoreDamaged."""
        self._url = url
        self._database = database
        self._locks = NodeLocks(nodes, database)
        with schema.refusing(database, DatabaseRefuses):
            self._connection = schema.connect(url, writes=True)
            try:
                schema.create(self._connection, database)
                self._locks.acquire(self._connection)
                self.identity = schema.meta(self._connection, "identity")
            except (OSError, psycopg.Error, StoreDamaged, StoreAway):
                self._connection.close()
                raise

    def close(self) -> None:
        """Release the locks, and close the connection; what is not committed is discarded."""
        with suppress(psycopg.Error):  # a connection that was lost holds none
            self._connection.rollback()
            self._connection.execute("SELECT pg_advisory_unlock_all()")  # the server takes a while to end a session
        self._connection.close()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Give the connection, a new one if it was lost; raise OSError for what the server refuses."""
        with schema.refusing(self._database, DatabaseRefuses):
            if not schema.is_current(self._connection):
                self._connection.close()
                self._connection = schema.connect(self._url, writes=True)
                try:
                    self._resume(self._connection)
                except (OSError, psycopg.Error, StoreDamaged):
                    self._connection.close()
                    raise
            yield self._connection

    def _resume(self, connection: Connection) -> None:
        """Make a new connection ready for the store that was opened; raise OSError, StoreDamaged or psycopg.Error."""
        try:
            schema.check(connection, self._database)
        except StoreAway as error:
            raise DatabaseRefuses(f"{error}; restart to create one") from None
        if schema.meta(connection, "identity") != self.identity:
            raise DatabaseRefuses(f"the {self._database} is another store now; restart to use it")
        self._locks.acquire_again(connection)
        connection.execute(schema.INCOMING)
