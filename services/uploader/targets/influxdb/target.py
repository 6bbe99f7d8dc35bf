"""The target: line protocol for a database or bucket, and what its answers mean for rows."""

import gzip
import ipaddress
from collections import deque
from collections.abc import Sequence
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from services.uploader import templates
from services.uploader.options import Secret, TargetOptions, check_pattern, check_url
from services.uploader.target import Answer, Limits, Refused, Row, TargetContext
from services.uploader.targets.influxdb import responses
from services.uploader.targets.influxdb.connection import Connection, Database
from services.uploader.targets.influxdb.http_api import HttpConnection
from services.uploader.targets.shared.http_client import HttpResponse
from services.uploader.targets.shared.line_writer import TEMPLATE_NAMES, LineNames, LineWriter

ROWS = 2000
MOST_CONFLICTS = 20  # of one batch that are looked for one by one
COMPRESSION = 1  # line protocol is a fifth of its size with the fastest
UNITS_PER_SECOND = {"s": 1, "ms": 1000, "us": 1_000_000}


class Options(TargetOptions, frozen=True, kw_only=True, tag="influxdb"):
    """A target of kind "influxdb"."""

    url: str
    version: Literal[1, 2, 3] = 2
    database: str = ""
    retention_policy: str = ""
    user: str = ""
    password: Secret = ""
    bucket: str = ""
    org: str = ""
    token: Secret = ""
    measurement: str = "${device}"
    field: str = "${name}"
    tags: dict[str, str] = msgspec.field(default_factory=lambda: {"node": "${node}"})
    integers: tuple[str, ...] = ()
    precision: Literal["s", "ms", "us"] = "ms"
    gzip: Literal["auto", "always", "never"] = "auto"
    ca: str = ""

    def __post_init__(self) -> None:
        """Refuse options that no InfluxDB has."""
        super().__post_init__()
        check_url("url", self.url)
        if self.version == 2 and not self.bucket:
            raise ValueError("bucket: version 2 needs one")
        if self.version != 2 and not self.database:
            raise ValueError(f"database: version {self.version} needs one")
        for pattern in self.integers:
            check_pattern("integers", pattern)
        for option, text in (("measurement", self.measurement), ("field", self.field)):
            if not text or text.startswith("_"):
                raise ValueError(f"{option}: {text!r} is not a name that InfluxDB takes")
            templates.check(option, text, TEMPLATE_NAMES)
        for tag, text in self.tags.items():
            templates.check(f"tags.{tag}", text, TEMPLATE_NAMES)

    def open(self, context: TargetContext) -> "Influxdb":
        """Return the target."""
        return Influxdb(self, context)


class Influxdb:
    """One database or bucket; the same point twice is the same as once."""

    def __init__(self, options: Options, context: TargetContext) -> None:
        self.limits = Limits(rows=ROWS)
        self._options = options
        self._context = context
        self._names = LineNames(options.measurement, options.field, options.tags, options.integers)
        self._lines = LineWriter(self._names, UNITS_PER_SECOND[options.precision])
        # two, so that rows are released, too, while the database is busy
        self._prepared: deque[tuple[Sequence[Row], bytes]] = deque(maxlen=2)
        self._compress = options.gzip == "always" or (options.gzip == "auto" and not _is_here(options.url))
        self._connection = _connection(options, context, compressed=self._compress)

    def upload(self, rows: Sequence[Row]) -> Answer:
        """Write rows; values whose field has another type there are refused, and the rest of their rows is written."""
        prepared = next((body for known, body in self._prepared if known == rows), None)
        response = self._connection.write(prepared or self._body(self._lines.body(rows)))
        conflicts: dict[tuple[str, str], str] = {}
        while conflict := responses.conflict(response):
            if conflict in conflicts or len(conflicts) >= MOST_CONFLICTS:
                break
            conflicts[conflict] = response.summary()
            lines = [line for row in self._lines.write(rows, conflicts) for line in row]
            response = self._connection.write(self._body(b"".join(lines))) if lines else HttpResponse(204, {}, b"")
        if not response.ok and (named := responses.named(response, self._line_counts(rows))):
            raise self._refused(rows, response, named)
        responses.check(response, self._options.version)
        if conflicts:
            raise self._conflicting(rows, conflicts)
        return Answer(response.summary())

    def newest(self) -> float | None:
        """Ask for the newest point of the selected channels."""
        fields = [self._names.field(mapped) for mapped in self._context.channels()]
        if not fields:
            return None
        return self._connection.newest(fields)

    def check(self) -> str:
        """Return what is known of the database without a write, "" if nothing; raise TryLater."""
        return self._connection.check()

    @property
    def last_answer(self) -> str:
        """Return the last answer of the server."""
        return self._connection.last_answer

    def close(self) -> None:
        """Release the connections."""
        self._connection.close()

    def prepare(self, rows: Sequence[Row]) -> None:
        """Write the lines of the next rows while the database is busy with those before."""
        self._prepared.append((rows, self._body(self._lines.body(rows))))

    def _body(self, lines: bytes) -> bytes:
        return gzip.compress(lines, COMPRESSION) if self._compress else lines

    def _line_counts(self, rows: Sequence[Row]) -> list[int]:
        return [len(self._lines.lines(row.channels)) for row in rows]

    def _refused(self, rows: Sequence[Row], response: HttpResponse, named: dict[int, dict[int, str]]) -> Refused:
        """Return what was refused of rows, by row and line."""
        values = {
            index: tuple(
                column
                for at, line in enumerate(self._lines.lines(rows[index].channels))
                if at in lines
                for column in line.indexes
            )
            for index, lines in named.items()
        }
        return Refused(
            response.summary(),
            {index: next(iter(lines.values())) for index, lines in named.items()},
            {index: indexes for index, indexes in values.items() if len(indexes) < len(rows[index].values)},
        )

    def _conflicting(self, rows: Sequence[Row], conflicts: dict[tuple[str, str], str]) -> Refused:
        refused: dict[int, str] = {}
        values: dict[int, tuple[int, ...]] = {}
        for index, row in enumerate(rows):
            fields = [self._names.field(mapped) for mapped in row.channels]
            keys = [(field.measurement, field.name) for field in fields]
            if indexes := tuple(column for column, key in enumerate(keys) if key in conflicts):
                refused[index] = conflicts[keys[indexes[0]]]
                if len(indexes) < len(keys):
                    values[index] = indexes
        return Refused(next(iter(conflicts.values())), refused, values)


def _connection(options: Options, context: TargetContext, *, compressed: bool) -> Connection:
    database = Database(
        options.url,
        options.version,
        options.database,
        options.retention_policy,
        options.bucket,
        options.org,
        options.user,
        options.password,
        options.token,
        options.precision,
        compressed,
        options.timeout,
        options.ca,
        context.while_waiting,
    )
    if options.version != 2:
        return HttpConnection(database)
    # Imported here: the client library costs 30 MB that only a target of version 2 needs.
    from services.uploader.targets.influxdb.client import ClientConnection

    return ClientConnection(database)


def _is_here(address: str) -> bool:
    """Whether a URL is of this machine: compression would cost more than it saves."""
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
