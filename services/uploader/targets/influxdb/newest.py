"""Asks an InfluxDB for the time of the newest point that it has of some fields; None where it cannot say."""

import csv
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple
from urllib.parse import quote, urlencode

import msgspec

from services.uploader.target import TryLater
from services.uploader.targets.influxdb.responses import decoded
from services.uploader.targets.shared.http_client import FORM, HttpClient, HttpResponse
from services.uploader.targets.shared.line_writer import LineField

STATEMENTS = 50  # in one question
HOURS = (1, 24, 24 * 31, 24 * 366, 24 * 366 * 20)  # looked back, in turn: what is asked first is cheap
FLUX = """\
from(bucket: {bucket}) |> range(start: -{hours}h) |> filter(fn: (r) => {wanted})
 |> last() |> keep(columns: ["_time"]) |> group() |> sort(columns: ["_time"]) |> last(column: "_time")"""


class Place(NamedTuple):
    """Where to ask: an address of the server, headers that say who asks, and the names of what is asked."""

    base: str
    headers: Mapping[str, str]
    database: str
    retention_policy: str
    bucket: str
    org: str


def version_1(web: HttpClient, place: Place, fields: Sequence[LineField]) -> float | None:
    """Ask for the last value of each field in InfluxQL."""
    newest: list[float] = []
    for begin in range(0, len(fields), STATEMENTS):
        query = {"db": place.database, "epoch": "ms", "q": ";".join(map(_influxql, fields[begin : begin + STATEMENTS]))}
        if place.retention_policy:
            query["rp"] = place.retention_policy
        body = urlencode(query, quote_via=quote).encode()
        reply = web.request("POST", f"{place.base}/query", body, {"Content-Type": FORM, **place.headers})
        _raise_unless_answered(reply)
        answer = decoded(reply)
        for result in answer.get("results", []) if isinstance(answer, dict) else []:
            for series in result.get("series", []):
                newest += [row[0] / 1000 for row in series.get("values", []) if isinstance(row[0], int | float)]
    return max(newest, default=None)


def version_2(web: HttpClient, place: Place, fields: Sequence[LineField]) -> float | None:
    """Ask in Flux, looking back farther and farther."""
    measurements = sorted({field.measurement for field in fields})
    wanted = " or ".join(f"r._measurement == {_quoted(measurement)}" for measurement in measurements)
    address = f"{place.base}/api/v2/query" + (f"?{urlencode({'org': place.org}, quote_via=quote)}" if place.org else "")
    for hours in HOURS:
        body = FLUX.format(bucket=_quoted(place.bucket), hours=hours, wanted=wanted).encode()
        reply = web.request(
            "POST",
            address,
            body,
            {"Content-Type": "application/vnd.flux", "Accept": "application/csv", **place.headers},
        )
        _raise_unless_answered(reply)
        if not reply.ok:
            return None
        table = [row for row in csv.reader(reply.body.decode("utf-8", "replace").splitlines()) if row]
        for heading, row in pairwise(table):
            if "_time" in heading and len(row) == len(heading):
                return _moment(row[heading.index("_time")])
    return None


def version_3(web: HttpClient, place: Place, fields: Sequence[LineField]) -> float | None:
    """Ask in SQL, a table after the other: a measurement that there is not yet is an error."""
    newest: list[float] = []
    for measurement in sorted({field.measurement for field in fields}):
        table = measurement.replace('"', '""')
        query = {"db": place.database, "format": "json", "q": f'SELECT max(time) AS newest FROM "{table}"'}
        reply = web.request(
            "GET", f"{place.base}/api/v3/query_sql?{urlencode(query, quote_via=quote)}", b"", place.headers
        )
        _raise_unless_answered(reply)
        rows = decoded(reply) if reply.ok else None
        if isinstance(rows, list) and rows and isinstance(rows[0], dict) and isinstance(rows[0].get("newest"), str):
            moment = _moment(rows[0]["newest"])
            newest += [] if moment is None else [moment]
    return max(newest, default=None)


def _influxql(field: LineField) -> str:
    where = " AND ".join(f"{_name(key)} = {_literal(value)}" for key, value in field.tags)
    return f"SELECT LAST({_name(field.name)}) FROM {_name(field.measurement)}" + (f" WHERE {where}" if where else "")


def _name(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()


def _moment(text: str) -> float | None:
    """Return a time as RFC 3339 or SQL have it, UTC where it does not say otherwise."""
    try:
        moment = datetime.fromisoformat(text[:26].rstrip("Z") if len(text) > 26 else text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _raise_unless_answered(reply: HttpResponse) -> None:
    """Raise TryLater if another time the answer may be another one; what it does not know is none."""
    if reply.status in (401, 403, 408, 429) or reply.status >= 500:
        raise TryLater(reply.said(), after=reply.after)
