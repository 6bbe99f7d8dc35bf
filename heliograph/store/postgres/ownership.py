"""Which storage writes a node: one lock per node, which PostgreSQL releases when the session of its holder ends.

The lock is an advisory lock of the session (PostgreSQL manual, section 13.3.5); its key is a hash of the node's name.
Readers, and commands that import or copy, hold none.
"""

import hashlib
import uuid
from collections.abc import Iterable

from heliograph.errors import DatabaseRefuses
from heliograph.lock import Taken
from heliograph.store.postgres.schema import APPLICATION, Connection, DatabaseName, meta, put_meta

HOLDER = """
SELECT a.application_name, host(a.client_addr) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.classid::bigint = %s AND l.objid::bigint = %s
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class NodeLocks:
    """The locks of the nodes that one writer owns."""

    def __init__(self, nodes: Iterable[str], database: DatabaseName) -> None:
        self._nodes = sorted(set(nodes))
        self._database = database
        self._instance = uuid.uuid4().hex

    def acquire(self, connection: Connection) -> None:
        """Lock every node for a writer that is being opened; raise Taken, with none locked, or psycopg.Error."""
        self._lock(connection)
        for node in self._nodes:
            put_meta(connection, _note(node), self._instance)

    def acquire_again(self, connection: Connection) -> None:
        """Lock every node after the connection was lost; raise what `acquire` does, and OSError if another had one."""
        self._lock(connection)
        for node in self._nodes:
            if meta(connection, _note(node)) != self._instance:  # what this writer knows of the node is out of date
                raise DatabaseRefuses(
                    f"node {node} was written by another storage meanwhile; restart this one to take it over"
                )

    def _lock(self, connection: Connection) -> None:
        for node in self._nodes:
            key = hashlib.sha256(f"heliograph node {node}".encode()).digest()[:8]
            number = int.from_bytes(key, signed=True)
            if connection.execute("SELECT pg_try_advisory_lock(%s)", (number,)).fetchone() == (True,):
                continue
            halves = int.from_bytes(key[:4]), int.from_bytes(key[4:])
            row = connection.execute(HOLDER, halves).fetchone() or (None, None)
            connection.execute("SELECT pg_advisory_unlock_all()")  # the server takes a while to end a session
            raise Taken(
                f"node {node} is written by another storage (host {_host(*row)}) in the {self._database}: give one of "
                "them another [node] name, or stop one"
            )


def _note(node: str) -> str:
    return f"writer of {node}"  # the last one, in the table meta


def _host(application: str | None, address: str | None) -> str:
    name = (application or "").removeprefix(APPLICATION).strip()
    return ", ".join(part for part in (name, address) if part) or "unknown"
