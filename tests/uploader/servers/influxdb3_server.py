"""InfluxDB 3's write_lp and query_sql, as strict as the documentation: one type per column, partial writes by line.

Compared with: no real server; the documentation of InfluxDB 3 Core (docs.influxdata.com, 2026).
"""

import gzip
import json
import re
from datetime import UTC, datetime

from tests.uploader.servers.web_server import Request, Response, WebServer

TOKEN = "apiv3_secret-token"
LINE = re.compile(r"(?P<key>(?:\\.|[^ \\])+) (?P<fields>(?:\"(?:\\.|[^\"\\])*\"|\\.|[^ \"\\])+) (?P<time>-?\d+)")
FIELD = re.compile(r"((?:\\.|[^=,\\])+)=(\"(?:\\.|[^\"\\])*\"|[^,]+)(?:,|$)")
PRECISIONS = {"second": 1, "millisecond": 1000, "microsecond": 1_000_000, "nanosecond": 1_000_000_000}


class Influxdb3Server(WebServer):
    """`points` are those written: (table, column, time in s) → value."""

    def __init__(self) -> None:
        super().__init__()
        self.points: dict[tuple[str, str, float], object] = {}
        self.types: dict[tuple[str, str], type] = {}

    def answer(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return Response(401, '{"error": "the request was not authenticated"}')
        if request.path == "/api/v3/query_sql":
            return self._query(request)
        if request.path != "/api/v3/write_lp" or request.method != "POST":
            return Response(404, "not found")
        if request.query.get("precision") not in PRECISIONS or not request.query.get("db"):
            return Response(400, json.dumps({"error": f"invalid query parameters {request.query}"}))
        body = gzip.decompress(request.body) if request.headers.get("content-encoding") == "gzip" else request.body
        scale = PRECISIONS[request.query["precision"]]
        refused = []
        for number, line in enumerate(body.decode().splitlines(), 1):
            if why := self._take(line, scale):
                refused.append({"original_line": line, "line_number": number, "error_message": why})
        if refused and request.query.get("accept_partial") == "true":
            return Response(400, json.dumps({"error": "partial write of line protocol occurred", "data": refused}))
        return Response(204) if not refused else Response(400, json.dumps({"error": "parsing failed", "data": None}))

    def _take(self, line: str, scale: int) -> str:
        match = LINE.fullmatch(line)
        if match is None:
            return "invalid line protocol"
        table = match["key"].partition(",")[0]
        columns = {name: _value(text) for name, text in FIELD.findall(match["fields"])}
        for name, value in columns.items():
            if value is None:
                return f"invalid value of column '{name}'"
            known = self.types.get((table, name), type(value))
            if known is not type(value):
                return f"invalid column type for column '{name}', expected {known.__name__}, got {type(value).__name__}"
        for name, value in columns.items():
            self.types[(table, name)] = type(value)
            self.points[(table, name, int(match["time"]) / scale)] = value
        return ""

    def _query(self, request: Request) -> Response:
        match = re.fullmatch(r'SELECT max\(time\) AS newest FROM "(.*)"', request.query["q"])
        times = [time for table, _, time in self.points if match and table == match[1]]
        if not times:
            return Response(400, '{"error": "table not found"}')
        milliseconds = round(max(times) * 1000)
        return Response(200, json.dumps([{"newest": _moment(milliseconds)}]))


def _moment(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000")


def _value(text: str) -> object:
    if text.startswith('"'):
        return text[1:-1]
    if text in ("t", "T", "true", "True", "f", "F", "false", "False"):
        return text[0] in "tT"
    try:
        return int(text[:-1]) if text.endswith("i") else float(text)
    except ValueError:
        return None
