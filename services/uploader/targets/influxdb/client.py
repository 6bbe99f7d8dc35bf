"""Version 2, through InfluxData's own client: imported when the first such target starts, for it costs 30 MB.

The client writes one request at a time, without batches and retries of its own (`SYNCHRONOUS`): both are the engine's.
What it is answered is read here: its own parsers raise whatever comes to them of an answer that is not as documented.
Facts: docs.influxdata.com, InfluxDB v2, "Write data with the InfluxDB API", "Query with the InfluxDB API" and
"Annotated CSV"; `/ping` and `/api/v2/buckets` of the v2 API reference.
"""

import threading
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

import msgspec
from influxdb_client.client.exceptions import InfluxDBError
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS, WriteApi
from influxdb_client.domain.write_precision import WritePrecision
from influxdb_client.rest import ApiException
from influxdb_client.service.buckets_service import BucketsService
from urllib3 import exceptions

from heliograph import __version__, tls
from services.uploader.attempt import attempt
from services.uploader.target import TryLater
from services.uploader.targets.influxdb import newest, responses
from services.uploader.targets.influxdb.connection import Database
from services.uploader.targets.influxdb.text_pool import TextPool
from services.uploader.targets.shared.http_client import IMPOSSIBLE, HttpResponse
from services.uploader.targets.shared.line_writer import LineField

HOURS = (1, 24, 24 * 31, 24 * 366, 24 * 366 * 20)  # looked back, in turn: the first query is cheap
ERRORS = (InfluxDBError, exceptions.HTTPError, ValueError)  # ValueError: of a URL or header that cannot be sent
FLUX = """\
from(bucket: {bucket}) |> range(start: -{hours}h) |> filter(fn: (r) => {condition})
 |> last() |> keep(columns: ["_time"]) |> group() |> sort(columns: ["_time"]) |> last(column: "_time")"""


class Outcome(NamedTuple):
    """What became of a request: its response, or why there is none."""

    response: HttpResponse | None
    error: TryLater | None = None

    def get(self) -> HttpResponse:
        """Return the response; raise TryLater if there is none."""
        if self.response is None:
            raise self.error or TryLater("no response")
        return self.response


class Clients(NamedTuple):
    """One client that writes, and one that asks: what is written may be compressed, and that is a header of all requests."""

    writing: InfluxDBClient
    asking: InfluxDBClient
    write_api: WriteApi


class ClientConnection:
    """Writes to one bucket and queries it with InfluxDBClient. Used by one thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._host = urlsplit(database.url).hostname or database.url
        self._clients: Clients | None = None
        self.last_answer = ""

    def write(self, body: bytes) -> HttpResponse:
        """Write lines; return the response, whatever its status; raise TryLater if there is none.

        The engine prefetches the next batch in this thread while the request runs in another.
        """
        if self._database.while_waiting is None:
            return self._write(body).get()
        outcomes: list[Outcome | Exception] = []
        write = partial(self._write, body)
        request = threading.Thread(target=lambda: outcomes.append(attempt(write)), name="influxdb", daemon=True)
        request.start()
        self._database.while_waiting()
        request.join()
        outcome = outcomes[0]
        if isinstance(outcome, Exception):  # which would have ended the process, from a thread of its own
            raise outcome
        return outcome.get()

    def newest(self, fields: Sequence[LineField]) -> float | None:
        """Ask in Flux, looking back further and further; raise TryLater."""
        measurements = sorted({field.measurement for field in fields})
        condition = " or ".join(f"r._measurement == {_quoted(measurement)}" for measurement in measurements)
        for hours in HOURS:
            query = FLUX.format(bucket=_quoted(self._database.bucket), hours=hours, condition=condition)
            try:
                answer = self._opened().asking.query_api().query_raw(query, org=self._database.org)
            except ERRORS as error:
                if not _is_temporary(error):
                    return None
                raise self._explained(error) from None
            self._answered(HttpResponse(answer.status, {}, answer.data))
            times = newest.times_of_csv(answer.data.decode("utf-8", "replace"))
            if times:
                return max(times)
        return None

    def check(self) -> str:
        """Ping the server and look the bucket up; return what it says of both; raise TryLater if it does not answer."""
        try:
            client = self._opened().asking
            version = client.version()
            try:
                answer = BucketsService(client.api_client).get_buckets(
                    name=self._database.bucket, _preload_content=False
                )
                is_there = responses.has_bucket(answer.data, self._database.bucket)
            except ApiException as error:
                if error.status not in (400, 401, 403, 404, 405):
                    raise
                is_there = False
        except ERRORS as error:
            raise self._explained(error) from None
        return (
            f"InfluxDB {version if version != 'unknown' else 'of an unknown version'}, "
            f"bucket {self._database.bucket!r} {'exists' if is_there else 'is missing, or this token may not look it up'}"
        )

    def close(self) -> None:
        """Release the connections."""
        clients, self._clients = self._clients, None
        if clients is not None:
            clients.writing.close()
            clients.asking.close()

    def _opened(self) -> Clients:
        """Return the clients; raise TryLater if they cannot be made."""
        if self._clients is None:
            writing, asking = self._open(), self._open()
            if self._database.compressed:  # by the target: the client's own compression takes thirty times the CPU
                writing.api_client.set_default_header("Content-Encoding", "gzip")
            self._clients = Clients(writing, asking, writing.write_api(write_options=SYNCHRONOUS))
        return self._clients

    def _open(self) -> InfluxDBClient:
        database = self._database
        token = database.token or (f"{database.user}:{database.password}" if database.user else "")
        try:
            context = tls.context(database.ca) if database.url.startswith("https:") else None
        except ValueError as error:
            raise TryLater(str(error)) from None
        client = InfluxDBClient(
            database.url.rstrip("/").removesuffix("/api/v2"),
            token,
            timeout=round(database.timeout * 1000),
            org=database.org,
            auth_basic=bool(database.user and not database.token),
            ssl_context=context,
        )
        client.api_client.user_agent = f"Heliograph/{__version__}"
        rest = client.api_client.rest_client
        rest.pool_manager = cast("Any", TextPool(rest.pool_manager))
        return client

    def _write(self, body: bytes) -> Outcome:
        database = self._database
        precision = cast("WritePrecision", database.precision)  # whose constants are texts
        try:
            self._opened().write_api.write(database.bucket, database.org, body, write_precision=precision)
        except TryLater as error:
            return Outcome(None, error)
        except ApiException as error:
            if not error.status:
                return Outcome(None, self._explained(error))
            return Outcome(self._answered(_response(error)))
        except ERRORS as error:
            return Outcome(None, self._explained(error))
        return Outcome(self._answered(HttpResponse(204, {}, b"")))

    def _answered(self, response: HttpResponse) -> HttpResponse:
        self.last_answer = response.summary()
        return response

    def _explained(self, error: Exception) -> TryLater:
        """Return what went wrong, in words that hold nothing of the request."""
        if isinstance(error, ApiException) and error.status:
            response = _response(error)
            return TryLater(response.summary(), after=response.after)
        return TryLater(f"{self._host}: {_reason(error)}")


def _reason(error: Exception) -> str:
    """Return why there is no response, in words that hold nothing of the request."""
    if isinstance(error, ApiException):  # of a certificate: the client has no status for that
        return " ".join(str(error.reason).split())
    source = next((one for one in (error.__cause__, *error.args) if isinstance(one, OSError)), None)
    if source is not None and not isinstance(source, TimeoutError):
        return source.strerror or str(source)
    if isinstance(error, exceptions.TimeoutError):
        return "no answer in time"
    if isinstance(error, exceptions.ProtocolError | exceptions.InvalidHeader):
        return f"not an answer in HTTP: {type(error).__name__}"
    return IMPOSSIBLE if isinstance(error, ValueError) else type(error).__name__


def _response(error: ApiException) -> HttpResponse:
    body = error.body if isinstance(error.body, bytes) else (error.body or "").encode()
    return HttpResponse(error.status, {name.lower(): value for name, value in (error.headers or {}).items()}, body)


def _is_temporary(error: Exception) -> bool:
    """Whether another time the answer may be another one."""
    if isinstance(error, ApiException) and error.status:
        return error.status in (401, 403, 408, 429) or error.status >= 500
    return True


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()
