"""The monthly partitions of the tables: created when a reading needs them, dropped by retention."""

from collections.abc import Iterable
from datetime import UTC, datetime

from heliograph.store.postgres import timescale
from heliograph.store.postgres.schema import Connection, meta

RAW = ("reading", "arrival")
TIERS = ("r5m", "r1h", "r1d")
DAY = 86_400_000  # ms


def month(ms: int) -> int:
    """Return the number of the UTC month of a time: 12 · year + month - 1."""
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return moment.year * 12 + moment.month - 1


def start(number: int) -> int:
    """Return the start of a month, ms UTC."""
    return round(datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC).timestamp()) * 1000


def suffix(number: int) -> str:
    """Return the suffix of the names of a month's partitions: _2025_11."""
    return f"_{number // 12:04}_{number % 12 + 1:02}"


class Months:
    """Creates and drops the partitions of one database."""

    def __init__(self, connection: Connection) -> None:
        """Find out which tables are partitioned by month; raise psycopg.Error."""
        self.weekly = meta(connection, "chunks") == "timescaledb"
        self._parts = (*(("arrival",) if self.weekly else RAW), *TIERS)
        self._known: set[int] = set()

    def need(self, connection: Connection, numbers: Iterable[int]) -> None:
        """Create the partitions of these months, in a transaction that holds the clock; raise psycopg.Error."""
        for number in set(numbers) - self._known:
            there = f"heliograph.{TIERS[0]}{suffix(number)}"
            if connection.execute("SELECT to_regclass(%s)", (there,)).fetchone() == (None,):
                self._make(connection, number)

    def know(self, numbers: Iterable[int]) -> None:
        """Note that the creation of these months is committed."""
        self._known.update(numbers)

    def there(self, connection: Connection) -> list[int]:
        """Return the months that have partitions, in order; raise psycopg.Error."""
        rows = connection.execute(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = 'heliograph.r1d'::regclass"
        )
        numbers = []
        for (name,) in rows:
            _, year, number = name.rsplit("_", 2)
            numbers.append(int(year) * 12 + int(number) - 1)
        return sorted(numbers)

    def drop_points(self, connection: Connection, number: int) -> None:
        """Drop the readings of a month; its tiers stay. Raises psycopg.Error."""
        self._drop(connection, number, (table for table in self._parts if table in RAW))
        if self.weekly:
            connection.execute(timescale.DROP, (start(number + 1),))

    def drop(self, connection: Connection, number: int) -> None:
        """Drop all of a month; raise psycopg.Error."""
        self.drop_points(connection, number)
        self._drop(connection, number, TIERS)
        self._known.discard(number)

    def _drop(self, connection: Connection, number: int, tables: Iterable[str]) -> None:
        for table in tables:
            connection.execute(f"DROP TABLE IF EXISTS {table}{suffix(number)}")

    def size(self, connection: Connection) -> int:
        """Return the bytes of all tables and indexes; raise psycopg.Error."""
        row = connection.execute(
            "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'heliograph' AND c.relkind = 'r'"
        ).fetchone()
        size = int(row[0]) if row else 0
        if self.weekly:
            weeks = connection.execute(timescale.SIZE).fetchone()
            size += int(weeks[0]) if weeks else 0
        return size

    def _make(self, connection: Connection, number: int) -> None:
        begin, end = start(number), start(number + 1)
        for table in self._parts:
            # attached, not created as a partition: that would wait for all readers of the table
            part = f"{table}{suffix(number)}"
            connection.execute(f"CREATE TABLE IF NOT EXISTS {part} (LIKE {table} INCLUDING ALL)")
            attached = connection.execute(
                "SELECT 1 FROM pg_inherits WHERE inhrelid = to_regclass(%s)", (f"heliograph.{part}",)
            ).fetchone()
            if not attached:
                connection.execute(f"ALTER TABLE {table} ATTACH PARTITION {part} FOR VALUES FROM ({begin}) TO ({end})")
