"""The PostgreSQL store, writing side: readings in order of arrival, one transaction at a time."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import psycopg

from heliograph import renames
from heliograph.errors import DatabaseRefuses, StoreAway, StoreDamaged
from heliograph.messages import Block, Info
from heliograph.renames import Renames
from heliograph.store import readings
from heliograph.store.interface import Keep, Progress, Refusal
from heliograph.store.postgres import copying, deletion, plan, schema
from heliograph.store.postgres.copying import Row
from heliograph.store.postgres.months import DAY, Months, month
from heliograph.store.postgres.names import PostgresNames, Waiting, pack, unpack
from heliograph.store.postgres.schema import Connection
from heliograph.store.postgres.session import Session
from heliograph.store.postgres.upkeep import Upkeep, dropped


class Attempt(NamedTuple):
    """A commit that the server has not confirmed, and what it would have made durable."""

    transaction: str
    rows: int
    names: Waiting


class PostgresWriter:
    """Writes one database, beside other storages with other nodes; `Writer` of interface.py is its contract."""

    def __init__(
        self,
        url: str,
        clock_is_right: Callable[[], bool],
        keep: Keep,
        now: Callable[[], float],
        nodes: Sequence[str] = (),
    ) -> None:
        """Open a database, and lock `nodes` in it against other storages; raise Taken, OSError or StoreDamaged."""
        self._clock_is_right = clock_is_right
        self._now = now
        self._database = schema.DatabaseName(url)
        self._rows: list[Row] = []
        self._unconfirmed: Attempt | None = None
        self._session = Session(url, self._database, nodes)
        self.identity = self._session.identity
        try:
            with self._session.connection() as connection:
                self._names = PostgresNames(connection)
                self._months = Months(connection)
                row = connection.execute("SELECT raw_from FROM clock").fetchone()
                self._raw_from: int = row[0] if row else 0
        except (OSError, StoreDamaged):
            self._session.close()
            raise
        self._upkeep = Upkeep(self._months, keep, now, clock_is_right)

    @property
    def pending(self) -> int:
        """How many readings wait for the next commit."""
        return len(self._rows)

    def progress(self) -> Mapping[tuple[str, str], Progress]:
        """Return what is durable, per producer and epoch, the newest epoch last; raise OSError if the server is away."""
        with self._session.connection() as connection:
            rows = connection.execute("SELECT producer, epoch, last, lost FROM progress ORDER BY seen").fetchall()
        return {(unpack(producer), unpack(epoch)): Progress(last, lost) for producer, epoch, last, lost in rows}

    def renames(self) -> Renames:
        """Return the renames that the database has; raise OSError if the server is away."""
        with self._session.connection() as connection:
            return renames.decode(schema.meta(connection, renames.KEY))

    def declare(self, node: str, device: str, info: Info) -> list[Refusal]:
        """Note units and kinds; return the changes that are refused."""
        refusals = readings.refused_info(device, info)
        if not refusals:
            refusals = [readings.refused_kind(device, name) for name in self._names.declare(node, device, info)]
        return refusals

    def by_stored_names(self) -> None:
        """From now on, take channels under the names that they have in the store."""
        self._names.units.by_stored_names()

    def write(self, node: str, blocks: list[Block]) -> list[Refusal]:
        """Take readings into the next commit; return what cannot be stored."""
        refusals: list[Refusal] = []
        latest = readings.latest_time(self._now(), clock_is_right=self._clock_is_right())
        for block in blocks:
            for row in readings.rows(self._names, node, block, latest, refusals):
                if row[1] < self._raw_from:
                    refusals.append(Refusal("older than what is kept", f"{block.device}: {row[1] / 1000}"))
                else:
                    self._rows.append(row)
        return refusals

    def commit(self, progress: Mapping[tuple[str, str], Progress]) -> None:
        """Make readings and progress durable together; raise OSError if the server refuses, with everything kept."""
        with self._session.connection() as connection:
            self._resolve_unconfirmed(connection)
            attempt = None
            try:
                with connection.transaction():
                    waiting, numbers = self._send(connection, progress)
                    row = connection.execute("SELECT pg_current_xact_id()::text").fetchone()
                    attempt = Attempt(str(row[0]) if row else "", len(self._rows), waiting)
            except psycopg.Error:
                self._unconfirmed = attempt if connection.closed else None
                raise
            self._months.know(numbers)
        self._done(attempt)

    def replaced(self, series: int, time: float) -> None:
        """Note that the device behind a counter was replaced; raise KeyError if the series is unknown."""
        with self._session.connection() as connection, connection.transaction():
            plan.note_replacement(connection, series, round(time * 1000))

    def delete(self, series: Sequence[int], start: float, end: float) -> int:
        """Delete the points of series in [start, end); return how many. Durable at once."""
        if self._rows:
            raise ValueError("readings wait for the commit")
        with self._session.connection() as connection, connection.transaction():
            return deletion.delete(connection, list(series), (start, end), self._now())

    def maintain(self) -> bool:
        """Do one piece of the housekeeping that is due; return whether more is due."""
        with self._session.connection() as connection:
            more = self._upkeep.piece(connection)
        self._raw_from = max(self._raw_from, self._upkeep.raw_from)
        return more

    def settle(self) -> None:
        """Do all housekeeping now, also what is due later."""
        with self._session.connection() as connection:
            self._upkeep.everything(connection)
        self._raw_from = max(self._raw_from, self._upkeep.raw_from)

    def problems(self) -> list[str]:
        """Return whether the server does not answer or holds too much, a sentence each; it checks its own files, see its log."""
        try:
            with self._session.connection() as connection:
                schema.check(connection, self._database)
        except (OSError, StoreDamaged, StoreAway) as error:
            return [str(error)]
        return [*self._upkeep.problems, *self._names.units.problems()]

    def dropped(self) -> list[str]:
        """Return what retention has dropped, a sentence each, the newest last; raise OSError if the server is away."""
        with self._session.connection() as connection:
            return dropped(connection)

    def close(self) -> None:
        """Close the connection; readings that are not committed are discarded."""
        self._session.close()

    def _resolve_unconfirmed(self, connection: Connection) -> None:
        """Ask the server whether an unconfirmed commit was committed."""
        if self._unconfirmed is None:
            return
        row = connection.execute("SELECT pg_xact_status(%s::xid8)", (self._unconfirmed.transaction,)).fetchone()
        status = row[0] if row else None
        if status == "in progress":
            raise DatabaseRefuses(f"the {self._database} is still busy with the commit before")
        if status == "committed":
            self._done(self._unconfirmed)
        self._unconfirmed = None

    def _done(self, attempt: Attempt) -> None:
        del self._rows[: attempt.rows]
        self._names.forget(attempt.names)

    def _send(self, connection: Connection, progress: Mapping[tuple[str, str], Progress]) -> tuple[Waiting, set[int]]:
        """Send everything that waits; return the names and months that it includes."""
        # a writer holds this row until it has committed: arrival numbers become visible in their order
        clock = connection.execute("SELECT last, revision, raw_from, seen FROM clock FOR UPDATE").fetchone()
        if clock is None:
            raise StoreDamaged(f"the {self._database} has an empty clock; restore a backup")
        last, revision, raw_from, seen = clock
        revision += 1
        self._raw_from = raw_from
        if raw_from:  # another storage may have dropped older points since these readings were taken
            self._rows = [row for row in self._rows if row[1] >= raw_from]
        waiting = self._names.waiting()
        void = self._names.insert(connection)
        numbers: set[int] = set()
        if self._rows:
            touched = sorted({(layout.device.id, ts // DAY) for layout, ts, _ in self._rows})
            numbers = {month(day * DAY) for _, day in touched}
            self._months.need(connection, numbers)
            with connection.cursor() as cursor:
                copying.readings(cursor, self._rows, self._names, last)
                # of equal times the last arrival wins; an earlier commit's is always earlier
                cursor.execute(
                    "INSERT INTO reading SELECT DISTINCT ON (series, ts) series, ts, v, seq FROM incoming "
                    "ORDER BY series, ts, seq DESC "
                    "ON CONFLICT (series, ts) DO UPDATE SET v = excluded.v, seq = excluded.seq"
                )
                copying.arrivals(cursor, self._rows, last)
            _touch(connection, touched, revision, round(self._now() * 1000))
        last += len(self._rows)
        if void:
            connection.execute(
                "UPDATE touched SET changed = %s WHERE device = ANY(%s) AND day * 86400000::bigint >= %s",
                (revision, void, self._raw_from),
            )
        seen = max(round(time.time() * 1000), seen + 1)
        marks = [
            (pack(producer), pack(epoch), last_frame, lost, seen + index)
            for index, ((producer, epoch), (last_frame, lost)) in enumerate(progress.items())
        ]
        if marks:
            with connection.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO progress VALUES(%s, %s, %s, %s, %s) ON CONFLICT (producer, epoch) DO UPDATE "
                    "SET last = excluded.last, lost = excluded.lost, seen = excluded.seen",
                    marks,
                )
        changes = any((waiting.devices, waiting.slots, waiting.changed))
        connection.execute(
            "UPDATE clock SET last = %s, revision = %s, seen = %s, changes = changes + %s",
            (last, revision, seen + len(marks), int(changes)),
        )
        return waiting, numbers


def _touch(connection: Connection, touched: list[tuple[int, int]], revision: int, now: int) -> None:
    """Note which (device, UTC day) have changed."""
    devices, days = [device for device, _ in touched], [day for _, day in touched]
    connection.execute(
        "INSERT INTO touched SELECT new.*, %s, %s, 0 FROM unnest(%s::int[], %s::int[]) AS new "
        "ON CONFLICT (device, day) DO UPDATE SET changed = excluded.changed, at = excluded.at",
        (revision, now, devices, days),
    )
    connection.execute(
        "INSERT INTO day SELECT *, %s FROM unnest(%s::int[]) ON CONFLICT (day) DO UPDATE SET changed = excluded.changed",
        (revision, sorted(set(days))),
    )
