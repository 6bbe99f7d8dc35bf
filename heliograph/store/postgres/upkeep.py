"""The housekeeping of a database: builds the tiers of days that have settled, and drops old data."""

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import msgspec
from psycopg import errors

from heliograph.store.interface import Keep
from heliograph.store.postgres import plan, points, timescale
from heliograph.store.postgres.months import DAY, Months, month, start
from heliograph.store.postgres.points import SeriesRow
from heliograph.store.postgres.schema import Connection, meta, put_meta
from heliograph.store.retention_calendar import RetentionCalendar

log = logging.getLogger(__name__)

UPKEEP_LOCK = 0x68656C6970  # of the advisory locks: one storage at a time does the housekeeping
SETTLED_MS = 300_000  # without a write, after which a day counts as settled
LATE_MS = 600_000  # after midnight, in which a day may still get its last readings
PIECES = 20  # of one transaction, when everything is done
RETENTION_SECONDS = 600.0
GIGABYTE = 1e9
NEARLY = 0.9  # of keep_gigabytes, from which on it is reported
REMEMBERED = 20  # sentences about what was dropped
DROPPED, CALENDAR = "dropped", "calendar"  # in the table meta


class Job(NamedTuple):
    """A UTC day of a device whose tiers are being built, and its last change when that began."""

    device: int
    day: int
    changed: int
    series: deque[SeriesRow]


class Upkeep:
    """Does the housekeeping piece by piece."""

    def __init__(
        self, months: Months, keep: Keep, now: Callable[[], float], clock_is_right: Callable[[], bool]
    ) -> None:
        self._months = months
        self._keep = keep
        self._now = now
        self._clock_is_right = clock_is_right
        self._job: Job | None = None
        self._retention_due = 0.0
        self.problems: list[str] = []  # why the store is larger than it may be, or soon will be
        self.raw_from = 0  # ms UTC; points before it were dropped

    def piece(self, connection: Connection) -> bool:
        """Do one piece, unless another storage does one now; return whether more is due. Raises psycopg.Error."""
        with connection.transaction():
            locked = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (UPKEEP_LOCK,)).fetchone()
            if not locked or not locked[0]:
                return False
            now = round(self._now() * 1000)
            if self._build(connection, now - SETTLED_MS, (now - LATE_MS) // DAY):
                return True
        return self._retain(connection) or self._compress(connection)

    def everything(self, connection: Connection) -> None:
        """Do all housekeeping, also for days that have not settled. Raises psycopg.Error."""
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
        """Drop one month, or its points, that is older than what is kept; return whether there was one."""
        if time.monotonic() < self._retention_due or not any(self._keep):
            return False
        try:
            with connection.transaction():
                # a long read is not waited for: the next call will do
                connection.execute("SET LOCAL lock_timeout TO '1s'")
                row = connection.execute("SELECT raw_from FROM clock FOR UPDATE").fetchone()
                gone = row is not None and self._drop_oldest(connection, row[0])
                row = connection.execute("SELECT raw_from FROM clock").fetchone()
            self.raw_from = row[0] if row else 0
        except errors.LockNotAvailable:
            log.info("the oldest month is being read; dropping it later")
            gone = False
        if gone:
            return True
        self._retention_due = time.monotonic() + RETENTION_SECONDS
        return False

    def _drop_oldest(self, connection: Connection, raw_from: int) -> bool:
        """Drop a month, if its year is to be dropped: whole years are, as in the embedded store."""
        self.problems = []
        there = self._months.there(connection)
        if not there:
            return False
        with_points = [number for number in there if start(number) >= raw_from]
        this_year = min(month(self._today(connection) * DAY), there[-1]) // 12
        years, raw_years, gigabytes = self._keep
        if years and there[0] // 12 < this_year - years:
            self._drop(connection, there[0], raw_from, f"it is older than keep_years = {years:g}")
            return True
        if raw_years and with_points and with_points[0] // 12 < this_year - raw_years:
            return self._drop_points(connection, with_points[0], f"it is older than keep_raw_years = {raw_years:g}")
        size = self._months.size(connection) / GIGABYTE if gigabytes else 0.0
        if size <= gigabytes * NEARLY:
            return False
        if size <= gigabytes:
            self.problems.append(f"{size:.2f} of {gigabytes:g} GB (keep_gigabytes) are full")
            return False
        why = f"{size:.2f} GB are more than keep_gigabytes = {gigabytes:g}"
        if with_points and with_points[0] // 12 < this_year:
            return self._drop_points(connection, with_points[0], why)
        if there[0] // 12 < this_year:
            self._drop(connection, there[0], raw_from, why)
            return True
        self.problems.append(f"{why}, and this year alone fills them")
        return False

    def _today(self, connection: Connection) -> int:
        """Return the UTC day that is believed; note a jump of the clock that is not believed yet."""

        def keep(text: str) -> None:
            put_meta(connection, CALENDAR, text)

        row = connection.execute("SELECT seen FROM clock").fetchone()
        now = self._now()
        first = min(now, row[0] / 1000) if row and row[0] else now
        calendar = RetentionCalendar(meta(connection, CALENDAR) or None, keep, first)
        day = calendar.today(now, clock_is_right=self._clock_is_right())
        if calendar.unbelieved and (self._keep.years or self._keep.raw_years):
            self.problems.append(calendar.unbelieved)
        return day

    def _say(self, connection: Connection, sentence: str) -> None:
        log.warning("%s", sentence)
        kept = [*dropped(connection), sentence][-REMEMBERED:]
        put_meta(connection, DROPPED, msgspec.json.encode(kept).decode())

    def _drop(self, connection: Connection, number: int, raw_from: int, why: str) -> None:
        """Drop points and tiers of a month."""
        end = start(number + 1)
        self._say(connection, f"{_name(number)} was deleted: {why}")
        self._months.drop(connection, number)
        for table in ("touched", "day"):
            connection.execute(f"DELETE FROM {table} WHERE day < %s", (end // DAY,))
        connection.execute("UPDATE clock SET raw_from = %s, changes = changes + 1", (max(raw_from, end),))

    def _drop_points(self, connection: Connection, number: int, why: str) -> bool:
        """Drop the points of a month, if all its tiers are built; return whether they were dropped."""
        end = start(number + 1)
        if connection.execute("SELECT 1 FROM touched WHERE built < changed AND day < %s", (end // DAY,)).fetchone():
            return False
        self._say(connection, f"{_name(number)}: readings were dropped of which there are cells: {why}")
        plan.keep_jumps(connection, end)
        self._months.drop_points(connection, number)
        connection.execute("UPDATE clock SET raw_from = %s, changes = changes + 1", (end,))
        return True

    def _compress(self, connection: Connection) -> bool:
        if not self._months.weekly:
            return False
        before = round(self._now() * 1000) - timescale.COMPRESSED_AFTER
        return connection.execute(timescale.COMPRESS, (before,)).fetchone() is not None


def dropped(connection: Connection) -> list[str]:
    """Return what was dropped, a sentence each, the newest last; raise psycopg.Error."""
    return msgspec.json.decode(meta(connection, DROPPED) or "[]", type=list[str])


def _name(number: int) -> str:
    return f"{number // 12}-{number % 12 + 1:02}"


def _next_job(connection: Connection, before: int | None, day: int | None) -> Job | None:
    """Return the oldest day that has changed, of those last written to before a time and before a day."""
    row = connection.execute(
        "SELECT device, day, changed FROM touched WHERE built < changed "
        "AND (%(before)s::bigint IS NULL OR at < %(before)s AND day < %(day)s) ORDER BY day, device LIMIT 1",
        {"before": before, "day": day},
    ).fetchone()
    if row is None:
        return None
    rows = connection.execute(
        "SELECT id, device, kind, rollover FROM series WHERE device = %s ORDER BY id", row[:1]
    ).fetchall()
    return Job(row[0], row[1], row[2], deque(SeriesRow(*row) for row in rows))
