"""Versions 1 and 3, and whatever takes the same requests: over the HTTP client that all targets share."""

from collections.abc import Sequence
from urllib.parse import quote, urlencode

from services.uploader.targets.influxdb import newest
from services.uploader.targets.influxdb.connection import Database
from services.uploader.targets.shared.http_client import HttpClient, HttpResponse, basic
from services.uploader.targets.shared.line_writer import LineField

PRECISIONS = {"s": ("s", "second"), "ms": ("ms", "millisecond"), "us": ("u", "microsecond")}  # of versions 1 and 3


class HttpConnection:
    """Writes to one database and queries it. Used by one thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._http = HttpClient(database.timeout, database.ca, database.while_waiting)
        self._write_url = _write_url(database)
        self._authorization = _authorization(database)
        self._headers = {"Content-Type": "text/plain; charset=utf-8", **self._authorization}
        if database.compressed:
            self._headers["Content-Encoding"] = "gzip"

    def write(self, body: bytes) -> HttpResponse:
        """Write lines; return the response, whatever its status; raise TryLater if there is none."""
        return self._http.request("POST", self._write_url, body, self._headers)

    def newest(self, fields: Sequence[LineField]) -> float | None:
        """Return the time (s UTC) of the newest point of these fields; raise TryLater."""
        ask = newest.version_1 if self._database.version == 1 else newest.version_3
        return ask(self._http, self._database, self._authorization, fields)

    def check(self) -> str:
        """Return "": only a write shows more."""
        return ""

    @property
    def last_answer(self) -> str:
        """Return the last answer of the server."""
        return self._http.last_answer

    def close(self) -> None:
        """Release the connection."""
        self._http.close()


def _write_url(database: Database) -> str:
    base = database.url.rstrip("/")
    short, long = PRECISIONS[database.precision]
    if database.version == 1:
        query = {"db": database.database, "precision": short}
        if database.retention_policy:
            query["rp"] = database.retention_policy
        return f"{base}/write?{urlencode(query, quote_via=quote)}"
    query = {"db": database.database, "precision": long, "accept_partial": "true", "no_sync": "false"}
    return f"{base}/api/v3/write_lp?{urlencode(query, quote_via=quote)}"


def _authorization(database: Database) -> dict[str, str]:
    if database.token:
        return {"Authorization": f"{'Bearer' if database.version == 3 else 'Token'} {database.token}"}
    if database.user:
        return {"Authorization": basic(database.user, database.password)}
    return {}
