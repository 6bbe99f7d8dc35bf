"""InfluxDB 2's write, query, ping and buckets, as the v2 API reference has them; no such server can be installed here.

Query results: docs.influxdata.com, InfluxDB v2, reference/syntax/annotated-csv, "CSV response format", with its
three annotation rows, and "Errors". JSON of errors and buckets: v2 API reference, "PostWrite", "GetBuckets".

Compared with: no real server; the documentation of InfluxDB 2.7 (2026), and what influxdb-client makes of the answers.
"""

import gzip
import json
import re
from datetime import UTC, datetime

from tests.uploader.servers.influxdb3_server import FIELD, LINE
from tests.uploader.servers.web_server import Request, Response, WebServer

TOKEN = "v2-secret-token=="
ORG, BUCKET = "us", "site"
PRECISIONS = {"s": 1, "ms": 1000, "us": 1_000_000, "ns": 1_000_000_000}
TABLE = """\
#datatype,string,long,dateTime:RFC3339\r
#group,false,false,false\r
#default,_result,,\r
,result,table,_time\r
,,0,{time}\r
\r
"""
QUERY_ERROR = """\
#datatype,string,string\r
#group,true,true\r
#default,,\r
,error,reference\r
,{error},897\r
"""


class Influxdb2Server(WebServer):
    """`points` are those written: (measurement, field, time in s) → its text; `queries` are the Flux ones."""

    def __init__(self) -> None:
        super().__init__()
        self.points: dict[tuple[str, str, float], str] = {}
        self.queries: list[str] = []
        self.may_read = True

    def answer(self, request: Request) -> Response:
        if request.path == "/ping":
            return Response(204, "", {"X-Influxdb-Version": "v2.7.12", "X-Influxdb-Build": "OSS"})
        if request.headers.get("authorization") != f"Token {TOKEN}":
            return _error(401, "unauthorized", "unauthorized access")
        if request.path == "/api/v2/buckets" and request.method == "GET":
            known = self.may_read and request.query.get("name") == BUCKET
            return _json({"buckets": [{"name": BUCKET, "orgID": "0a", "retentionRules": []}] if known else []})
        if request.query.get("org") not in (ORG, None):
            return _error(404, "not found", f'organization name "{request.query["org"]}" not found')
        if request.path == "/api/v2/query" and request.method == "POST":
            return self._query(json.loads(request.body))
        if request.path == "/api/v2/write" and request.method == "POST":
            return self._write(request)
        return _error(404, "not found", "path not found")

    def _write(self, request: Request) -> Response:
        if request.query.get("bucket") != BUCKET:
            return _error(404, "not found", f'bucket "{request.query.get("bucket")}" not found')
        if not request.headers.get("content-type", "").startswith("text/plain"):
            return _error(415, "invalid", "unsupported media type")
        body = gzip.decompress(request.body) if request.headers.get("content-encoding") == "gzip" else request.body
        scale = PRECISIONS[request.query["precision"]]
        for line in body.decode().splitlines():
            match = LINE.fullmatch(line)
            if match is None:
                return _error(400, "invalid", f"unable to parse {line!r}")
            for name, text in FIELD.findall(match["fields"]):
                self.points[match["key"].partition(",")[0], name, int(match["time"]) / scale] = text
        return Response(204)

    def _query(self, asked: dict[str, str]) -> Response:
        flux = asked["query"]
        self.queries.append(flux)
        if f'from(bucket: "{BUCKET}")' not in flux:
            return _error(404, "not found", "could not find bucket")
        if not self.may_read:
            return Response(200, QUERY_ERROR.format(error="not allowed to read"), {"Content-Type": "text/csv"})
        hours = int(re.findall(r"range\(start: -(\d+)h\)", flux)[0])
        begin = datetime.now(UTC).timestamp() - hours * 3600
        measurements = re.findall(r'r\._measurement == "(\w+)"', flux)
        times = [time for measurement, _, time in self.points if measurement in measurements and time >= begin]
        text = datetime.fromtimestamp(max(times), UTC).isoformat().replace("+00:00", "Z") if times else ""
        return Response(200, TABLE.format(time=text) if text else "\r\n", {"Content-Type": "text/csv; charset=utf-8"})


def _json(value: object) -> Response:
    return Response(200, json.dumps(value), {"Content-Type": "application/json; charset=utf-8"})


def _error(status: int, code: str, message: str) -> Response:
    return Response(status, json.dumps({"code": code, "message": message}), {"Content-Type": "application/json"})
