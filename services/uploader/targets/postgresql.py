"""PostgreSQL: a row of a table for each value, in one transaction for each batch.

```toml
[[uploader.targets]]
name = "warehouse"
kind = "postgresql"
url = "postgresql://db.example:5432/energy?sslmode=require"
user = "house"
password = "file:/run/secrets/warehouse"
# table = "readings"                      # or schema.table
# create_table = true                     # if it is not there
# times = "timestamp"                     # "seconds": since 1970, for a table that has numbers
# columns = { node = "node", device = "device", name = "channel", time = "time", value = "value", text = "text" }
```

Sent: up to 5000 readings in one transaction (`COPY`, then `INSERT … ON CONFLICT DO UPDATE`): all or none, and sending them
again changes nothing. An existing table needs a unique index over those of its columns that `columns` has for time, node,
device, name and channel. Without a column for `text` texts are not sent; true is 1.

| answer | rows |
| --- | --- |
| COMMIT | taken |
| no connection, wrong password, no such database, table or column, missing rights or index, timeout, deadlock, full disk | kept |
| SQLSTATE 22… (data), 23… (constraints), 54… (too large), a text with a NUL | halved until the row is found, which is set aside |
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from math import ceil
from typing import ClassVar, Literal, LiteralString

import msgspec
import psycopg
from psycopg import sql

from services.uploader.options import Secret, TargetOptions, check_url
from services.uploader.target import Answer, Limits, MappedChannel, Refused, Row, TargetContext, TryLater
from services.uploader.targets.shared.numbers import number

MOST_ROWS = 5_000
KEYS = ("time", "node", "device", "name", "channel")
FIELDS = (*KEYS, "unit", "value", "text")
COLUMNS = {"node": "node", "device": "device", "name": "channel", "time": "time", "value": "value", "text": "text"}
FOR_GOOD = ("22", "23", "54")  # SQLSTATE: data exception, integrity constraint violation, program limit exceeded
UNDEFINED_TABLE = "42P01"
ADVICE = {
    "28P01": "check user and password",
    "3D000": "check the name of the database in url",
    "42501": "grant the rights it needs",
    "42703": "check columns",
    UNDEFINED_TABLE: "create the table, or set create_table = true",
    "42P10": "the table needs a unique index over its columns of time and name",
}
TYPES: dict[str, LiteralString] = {"value": "double precision", "text": "text", "unit": "text NOT NULL DEFAULT ''"}
INCOMING = sql.Identifier("heliograph_incoming")


class Options(TargetOptions, frozen=True, tag="postgresql", kw_only=True):
    """A target of kind "postgresql"; `columns` maps what a value has to the columns that take it."""

    url: str = "postgresql://127.0.0.1:5432/heliograph"
    user: str
    password: Secret = ""
    table: str = "readings"
    create_table: bool = True
    columns: dict[str, str] = msgspec.field(default_factory=COLUMNS.copy)
    times: Literal["timestamp", "seconds"] = "timestamp"

    RENAMED: ClassVar[Mapping[str, str]] = {"create": "create_table"}

    def __post_init__(self) -> None:
        """Refuse what is not the address of a database, and impossible columns."""
        super().__post_init__()
        check_url("url", self.url, ("postgresql", "postgres"))
        if not self.user:
            raise ValueError("user: is empty")
        if not all(self.table.split(".")) or self.table.count(".") > 1:
            raise ValueError(f"table: expected table or schema.table, found {self.table!r}")
        for field, column in self.columns.items():
            if field not in FIELDS or not column:
                raise ValueError(f"columns: {field!r} = {column!r}; known are {', '.join(FIELDS)}")
        for needed in ("time", "value"):
            if needed not in self.columns:
                raise ValueError(f"columns: {needed} is missing")
        if not {"name", "channel"} & self.columns.keys():
            raise ValueError("columns: name or channel is needed to tell values apart")

    def open(self, context: TargetContext) -> "PostgreSQL":
        """Return the target."""
        return PostgreSQL(self, context)


class PostgreSQL:
    """Writes rows, replacing those that are there already."""

    def __init__(self, options: Options, context: TargetContext) -> None:
        """Compose the statements; the first upload connects."""
        self.limits = Limits(rows=MOST_ROWS)
        self._options = options
        self._context = context
        self._connection: psycopg.Connection | None = None
        self._made = False
        self._fields = tuple(options.columns)
        self._keys = tuple(field for field in KEYS if field in options.columns)
        self._indexes = {field: index for index, field in enumerate(self._fields)}
        self._plans: dict[tuple[MappedChannel, ...], list[tuple[tuple[str, ...], list[object]]]] = {}
        self._table = sql.Identifier(*options.table.split("."))

    def upload(self, rows: Sequence[Row]) -> Answer:
        """Write all rows or none; of a row that is twice in a batch the last one counts."""
        wrong: dict[int, str] = {}
        lines: dict[tuple[object, ...], tuple[object, ...]] = {}
        for index, row in enumerate(rows):
            try:
                lines.update(self._lines(row))
            except (ValueError, OverflowError, OSError) as error:
                wrong[index] = str(error)
        if lines:
            try:
                with self._connected().transaction():
                    self._write(lines.values())
            except psycopg.Error as error:
                raise self._verdict(error) from None
        self._made = self._made or bool(lines)
        if wrong:
            raise Refused(next(iter(wrong.values())), wrong)
        return Answer(f"{len(lines)} rows in {self._options.table}")

    def newest(self) -> float | None:
        """Return the time of the latest value of any selected channel."""
        wanted = dict.fromkeys(self._known_by(mapped) for mapped in self._context.channels())
        times: list[float] = []
        column = sql.Identifier(self._options.columns["time"])
        time = sql.SQL("extract(epoch FROM max({}))" if self._options.times == "timestamp" else "max({})").format(
            column
        )
        by = [sql.SQL("{} = %s").format(sql.Identifier(self._options.columns[name])) for name in self._keys[1:]]
        query = sql.SQL("SELECT {} FROM {} WHERE {}").format(time, self._table, sql.SQL(" AND ").join(by))
        try:
            with self._connected().transaction(), self._connected().cursor() as cursor:
                for values in wanted:
                    newest = cursor.execute(query, values).fetchone()
                    if newest and newest[0] is not None:
                        times.append(float(newest[0]))
        except (TypeError, ValueError):  # the column of another table holds something else: writing to it will say so
            return None
        except psycopg.Error as error:
            if self._options.create_table and error.sqlstate == UNDEFINED_TABLE:
                return None
            raise TryLater(str(self._verdict(error))) from None
        return max(times, default=None)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _lines(self, row: Row) -> dict[tuple[object, ...], tuple[object, ...]]:
        moment: object = row.time
        if self._options.times == "timestamp":
            moment = datetime.fromtimestamp(row.time, UTC)
        plan = self._plans.get(row.channels)
        if plan is None:
            plan = self._plans[row.channels] = [self._plan(mapped) for mapped in row.channels]
        lines: dict[tuple[object, ...], tuple[object, ...]] = {}
        for (key, line), value in zip(plan, row.values, strict=True):
            converted = number(value)
            if converted is None and "text" not in self._indexes:
                continue
            line[self._indexes["time"]] = moment
            line[self._indexes["value"]] = converted
            if "text" in self._indexes:
                line[self._indexes["text"]] = value if converted is None else None
            lines[moment, *key] = tuple(line)
        return lines

    def _plan(self, mapped: MappedChannel) -> tuple[tuple[str, ...], list[object]]:
        """Return the key of a channel, and its row with what is always the same in it."""
        fixed = mapped._asdict()
        return self._known_by(mapped), [fixed.get(field) for field in self._fields]

    def _known_by(self, mapped: MappedChannel) -> tuple[str, ...]:
        return tuple(str(getattr(mapped, name)) for name in self._keys[1:])

    def _connected(self) -> psycopg.Connection:
        if self._connection is None or self._connection.closed:
            options = self._options
            self._connection = psycopg.connect(
                options.url,
                user=options.user,
                password=options.password or None,
                connect_timeout=ceil(options.timeout),
                tcp_user_timeout=ceil(options.timeout * 1000),
                options=f"-c statement_timeout={ceil(options.timeout * 1000)}",
                application_name="heliograph",
                autocommit=True,
            )
        return self._connection

    def _write(self, lines: Iterable[tuple[object, ...]]) -> None:
        names = self._options.columns
        columns = sql.SQL(", ").join(sql.Identifier(names[field]) for field in self._fields)
        keys = sql.SQL(", ").join(sql.Identifier(names[field]) for field in self._keys)
        changed = sql.SQL(", ").join(
            sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(names[field]))
            for field in self._fields
            if field not in self._keys
        )
        with self._connected().cursor() as cursor:
            if self._options.create_table and not self._made:
                table = cursor.execute("SELECT to_regclass(%s)", [self._table.as_string(cursor)]).fetchone()
                if table is None or table[0] is None:  # a user that may write need not be one that may create tables
                    cursor.execute(sql.SQL("CREATE TABLE {} ({})").format(self._table, self._definition()))
            cursor.execute(
                sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
                    INCOMING, columns, self._table
                )
            )
            with cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(INCOMING, columns)) as copy:
                for line in lines:
                    copy.write_row(line)
            cursor.execute(
                sql.SQL("INSERT INTO {0} ({1}) SELECT {1} FROM {2} ON CONFLICT ({3}) DO UPDATE SET {4}").format(
                    self._table, columns, INCOMING, keys, changed
                )
            )

    def _definition(self) -> sql.Composable:
        """Return columns and key of a new table: its queries are for a channel and a range of time."""
        times: LiteralString = "timestamptz" if self._options.times == "timestamp" else "double precision"
        columns = [
            sql.SQL("{} {}").format(
                sql.Identifier(column),
                sql.SQL(f"{times} NOT NULL" if field == "time" else TYPES.get(field, "text NOT NULL")),
            )
            for field, column in self._options.columns.items()
        ]
        key = [sql.Identifier(self._options.columns[field]) for field in (*self._keys[1:], "time")]
        return sql.SQL(", ").join([*columns, sql.SQL("PRIMARY KEY ({})").format(sql.SQL(", ").join(key))])

    def _verdict(self, error: psycopg.Error) -> TryLater | Refused:
        """Return what to raise for an error: Refused only for what the data cause."""
        state = error.sqlstate or ""
        message = " ".join((error.diag.message_primary or str(error)).split())
        if self._connection is not None and self._connection.broken:
            self.close()
        if state.startswith(FOR_GOOD) or (not state and isinstance(error, psycopg.DataError)):
            return Refused(message)
        advice = ADVICE.get(state)
        if state == UNDEFINED_TABLE:
            self._made = False
        return TryLater(f"{message} ({advice})" if advice else message)
