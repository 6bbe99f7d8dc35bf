"""The housekeeping of a database: tiers for days that have settled, and letting go of what is older than what is kept."""

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from psycopg import errors

from heliograph.store.interface import Keep
from heliograph.store.postgres import plan, points, timescale
from heliograph.store.postgres.months import DAY, Months, month, start
from heliograph.store.postgres.points import Known
from heliograph.store.postgres.schema import Connection

log = logging.getLogger(__name__)

UPKEEP_LOCK = 0x68656C6970  # of the advisory locks: one storage at a time does the housekeeping
SETTLED_MS = 300_000  # a day that nothing was written to for so long
LATE_MS = 600_000  # so long after midnight a day may still get its last readings
PIECES = 20  # of one transaction when all of it is to be done
RETENTION_SECONDS = 600.0
GIGABYTE = 1e9


class Job(NamedTuple):
    """A UTC day of a device whose tiers are being built, up to the change that was the last one then."""

    device: int
    day: int
    changed: int
    series: deque[Known]


class Upkeep:
    """Does the housekeeping piece by piece."""

    def __init__(self, months: Months, keep: Keep, now: Callable[[], float]) -> None:
        self._months = months
        self._keep = keep
        self._now = now
        self._job: Job | None = None
        self._retention_due = 0.0
        self.problem = ""  # that more is there than is to be kept
        self.raw_from = 0  # ms UTC; points before it were let go of

    def piece(self, connection: Connection) -> bool:
        """Do one piece, if no other storage is at it; return whether more is due. Raises psycopg.Error."""
        with connection.transaction():
            found = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (UPKEEP_LOCK,)).fetchone()
            if not found or not found[0]:
                return False
            now = round(self._now() * 1000)
            if self._build(connection, now - SETTLED_MS, (now - LATE_MS) // DAY):
                return True
        return self._retain(connection) or self._compress(connection)

    def everything(self, connection: Connection) -> None:
        """Do all of it, also for the days that have not settled. Raises psycopg.Error."""
        building = True
        while building:
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (UPKEEP_LOCK,))
                building = all(self._build(connection, None, None) for _ in range(PIECES))
        self._retention_due = 0.0
        while self._retain(connection) or self._compress(connection):
            self._retention_due = 0.0

    def _build(self, connection: Connection, before: int | None, day: int | None) -> bool:
        """Build the tiers of one series' day; return whether there was one."""
        if self._job is None:
            self._job = _next_job(connection, before, day)
            if self._job is None:
                return False
        job = self._job
        if job.series:
            points.put_day(connection, job.series[0], job.day)
            job.series.popleft()
        if not job.series:
            # a commit in the meantime has made `changed` larger: then the day stays dirty
            connection.execute(
                "UPDATE touched SET built = greatest(built, %s) WHERE device = %s AND day = %s",
                (job.changed, job.device, job.day),
            )
            self._job = None
        return True

    def _retain(self, connection: Connection) -> bool:
        """Let go of one month that is older than what is kept; return whether there was one."""
        if time.monotonic() < self._retention_due or not any(self._keep):
            return False
        try:
            with connection.transaction():
                # whoever reads for long is not kept waiting for: the next time will do
                connection.execute("SET LOCAL lock_timeout TO '1s'")
                found = connection.execute("SELECT raw_from FROM clock FOR UPDATE").fetchone()
                gone = found is not None and self._let_go(connection, found[0])
                found = connection.execute("SELECT raw_from FROM clock").fetchone()
            self.raw_from = found[0] if found else 0
        except errors.LockNotAvailable:
            log.info("the oldest month is being read; it is let go of later")
            gone = False
        if gone:
            return True
        self._retention_due = time.monotonic() + RETENTION_SECONDS
        return False

    def _let_go(self, connection: Connection, raw_from: int) -> bool:
        """Let go of a month, if its year is one that goes: as with the files of the embedded store, whole years do."""
        self.problem = ""
        there = self._months.there(connection)
        if not there:
            return False
        with_points = [number for number in there if start(number) >= raw_from]
        # a clock that is far ahead must not let go of everything: what is stored says which year it is, too
        this_year = min(month(round(self._now() * 1000)), there[-1]) // 12
        years, raw_years, gigabytes = self._keep
        if years and there[0] // 12 < this_year - years:
            self._drop(connection, there[0], raw_from)
            return True
        if raw_years and with_points and with_points[0] // 12 < this_year - raw_years:
            return self._drop_points(connection, with_points[0])
        size = self._months.size(connection) / GIGABYTE if gigabytes else 0.0
        if size <= gigabytes:
            return False
        if with_points and with_points[0] // 12 < this_year:
            return self._drop_points(connection, with_points[0])
        if there[0] // 12 < this_year:
            self._drop(connection, there[0], raw_from)
            return True
        self.problem = f"{size:.1f} GB are more than keep_gigabytes, and this year alone fills them"
        return False

    def _drop(self, connection: Connection, number: int, raw_from: int) -> None:
        """Let go of all of a month."""
        end = start(number + 1)
        self._months.drop(connection, number)
        for table in ("touched", "day"):
            connection.execute(f"DELETE FROM {table} WHERE day < %s", (end // DAY,))
        connection.execute("UPDATE clock SET raw_from = %s, changes = changes + 1", (max(raw_from, end),))

    def _drop_points(self, connection: Connection, number: int) -> bool:
        """Let go of the points of a month, if all its tiers are built."""
        end = start(number + 1)
        if connection.execute("SELECT 1 FROM touched WHERE built < changed AND day < %s", (end // DAY,)).fetchone():
            return False
        plan.keep_jumps(connection, end)
        self._months.drop_points(connection, number)
        connection.execute("UPDATE clock SET raw_from = %s, changes = changes + 1", (end,))
        return True

    def _compress(self, connection: Connection) -> bool:
        if not self._months.weekly:
            return False
        before = round(self._now() * 1000) - timescale.COMPRESSED_AFTER
        return connection.execute(timescale.COMPRESS, (before,)).fetchone() is not None


def _next_job(connection: Connection, before: int | None, day: int | None) -> Job | None:
    """Return the oldest day that has changed, of those last written to before a time and before a day."""
    found = connection.execute(
        "SELECT device, day, changed FROM touched WHERE built < changed "
        "AND (%(before)s::bigint IS NULL OR at < %(before)s AND day < %(day)s) ORDER BY day, device LIMIT 1",
        {"before": before, "day": day},
    ).fetchone()
    if found is None:
        return None
    rows = connection.execute(
        "SELECT id, device, kind, rollover FROM series WHERE device = %s ORDER BY id", found[:1]
    ).fetchall()
    return Job(found[0], found[1], found[2], deque(Known(*row) for row in rows))
