"""Asks an InfluxDB of version 1 or 3 for the time of the newest point of some fields; None where it cannot say."""

import csv
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from services.uploader.target import TryLater
from services.uploader.targets.influxdb.connection import Database
from services.uploader.targets.influxdb.responses import decoded
from services.uploader.targets.shared.http_client import FORM, HttpClient, HttpResponse
from services.uploader.targets.shared.line_writer import LineField

STATEMENTS = 50  # in one question


class _Series(msgspec.Struct):
    values: tuple[tuple[float, Any], ...] = ()  # time (ms) and value


class _Result(msgspec.Struct):
    series: tuple[_Series, ...] = ()


class _Answer(msgspec.Struct):
    results: tuple[_Result, ...] = ()


class _Newest(msgspec.Struct):
    newest: str | None = None


def version_1(
    http: HttpClient, database: Database, authorization: Mapping[str, str], fields: Sequence[LineField]
) -> float | None:
    """Ask for the last value of each field in InfluxQL."""
    newest: list[float] = []
    for begin in range(0, len(fields), STATEMENTS):
        query = {
            "db": database.database,
            "epoch": "ms",
            "q": ";".join(map(_influxql, fields[begin : begin + STATEMENTS])),
        }
        if database.retention_policy:
            query["rp"] = database.retention_policy
        body = urlencode(query, quote_via=quote).encode()
        response = http.request(
            "POST", f"{database.url.rstrip('/')}/query", body, {"Content-Type": FORM, **authorization}
        )
        _raise_unless_answered(response)
        answer = decoded(response.body, _Answer) or _Answer()
        newest += [row[0] / 1000 for result in answer.results for series in result.series for row in series.values]
    return max(newest, default=None)


def version_3(
    http: HttpClient, database: Database, authorization: Mapping[str, str], fields: Sequence[LineField]
) -> float | None:
    """Ask in SQL, one table after the other: a measurement that does not exist yet is an error."""
    newest: list[float] = []
    for measurement in sorted({field.measurement for field in fields}):
        table = measurement.replace('"', '""')
        query = {"db": database.database, "format": "json", "q": f'SELECT max(time) AS newest FROM "{table}"'}
        response = http.request(
            "GET",
            f"{database.url.rstrip('/')}/api/v3/query_sql?{urlencode(query, quote_via=quote)}",
            b"",
            authorization,
        )
        _raise_unless_answered(response)
        rows = decoded(response.body, tuple[_Newest, ...]) if response.ok else None
        moments = [_moment(row.newest) for row in rows or () if row.newest]
        newest += [moment for moment in moments if moment is not None]
    return max(newest, default=None)


def times_of_csv(text: str) -> list[float]:
    """Return the times (s UTC) in annotated CSV that has a column `_time`; none of a text that is something else.

    Source: docs.influxdata.com, InfluxDB v2, "Annotated CSV": after an empty line another table begins, with a header.
    """
    moments: list[float | None] = []
    column: int | None = None
    with suppress(csv.Error):
        for row in csv.reader(text.splitlines()):
            if not row:
                column = None
            elif column is None and "_time" in row:
                column = row.index("_time")
            elif column is not None and len(row) > column and not row[0].startswith("#"):
                moments.append(_moment(row[column]))
    return [moment for moment in moments if moment is not None]


def _influxql(field: LineField) -> str:
    where = " AND ".join(f"{_name(key)} = {_literal(value)}" for key, value in field.tags)
    return f"SELECT LAST({_name(field.name)}) FROM {_name(field.measurement)}" + (f" WHERE {where}" if where else "")


def _name(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _moment(text: str) -> float | None:
    """Return a time as RFC 3339 or SQL have it, UTC where it does not say otherwise."""
    try:
        moment = datetime.fromisoformat(text[:26].rstrip("Z") if len(text) > 26 else text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _raise_unless_answered(response: HttpResponse) -> None:
    """Raise TryLater if the answer may be another one next time."""
    if response.status in (401, 403, 408, 429) or response.status >= 500:
        raise TryLater(response.summary(), after=response.after)
