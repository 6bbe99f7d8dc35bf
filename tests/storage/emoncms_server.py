"""A stand-in for Emoncms: the calls by which its feeds are copied.

Compared with: Emoncms 11.16.8 (PHP 8.2.36, MariaDB 10.11.19, Redis 7.0.15) on 2026-11-30, by test_import_emoncms_cases.py.

As Modules/feed/feed_controller.php and the engines' `export` answer them: a wrong key is 401, `export` of PHPFina begins
four bytes before `start` if that is four or more, the one of PHPTimeSeries at `start`; both without a Content-Length.
"""

import json
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "0123456789abcdef0123456789abcdef"
FINA, SERIES, VIRTUAL = 5, 2, 7


@dataclass
class StoredFeed:
    id: int
    name: str
    tag: str
    unit: str
    engine: int
    content: bytes
    interval: int = 10
    start: int = 0

    def listed(self) -> dict[str, Any]:
        # what redis holds are texts, and sizes of years ago
        return {
            "id": str(self.id),
            "userid": "1",
            "name": self.name,
            "tag": self.tag,
            "public": "0",
            "size": "16",
            "engine": str(self.engine),
            "unit": self.unit,
            "time": 1,
            "value": 2.5,
        }

    def meta(self) -> dict[str, Any]:
        record = 4 if self.engine == FINA else 9
        interval = self.interval if self.engine == FINA else 7.3
        points = len(self.content) // record
        return {"id": self.id, "start_time": self.start, "interval": interval, "npoints": points, "end_time": 0}


def fina(
    number: int, name: str, values: list[float], *, start: int, unit: str = "W", tag: str = "emontx"
) -> StoredFeed:
    return StoredFeed(number, name, tag, unit, FINA, struct.pack(f"<{len(values)}f", *values), 10, start)


def series(number: int, name: str, points: list[tuple[int, float]], tag: str = "emontx") -> StoredFeed:
    return StoredFeed(number, name, tag, "kWh", SERIES, b"".join(struct.pack("<BIf", 249, *point) for point in points))


@dataclass
class EmoncmsFeeds:
    feeds: list[StoredFeed]
    requests: list[str] = field(default_factory=list)
    sent: int = 0  # bytes of files
    cut_after: int = 0  # bytes of a file, after which the connection breaks; 0: never
    failures: int = 0  # requests that are answered 503
    url: str = ""

    def answer(self, path: str, query: dict[str, str]) -> Any:
        if path == "/feed/list.json":
            return [feed.listed() for feed in self.feeds]
        feed = next((one for one in self.feeds if str(one.id) == query.get("id")), None)
        if feed is None:
            return {"success": False, "message": "Feed does not exist"}
        if path == "/feed/getmeta.json":
            return feed.meta()
        if path == "/feed/export.json" and feed.engine in (FINA, SERIES):
            start = int(query["start"])
            if feed.engine == FINA:
                start = start // 4 * 4
                return feed.content[start - 4 if start >= 4 else start :]
            return feed.content[start // 9 * 9 :]
        return False

    @contextmanager
    def running(self) -> Iterator[str]:
        state = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                parts = urlsplit(self.path)
                state.requests.append(self.path)
                if state.failures:
                    state.failures -= 1
                    self.send_error(503)
                    return
                if form != {"apikey": [KEY]}:
                    self.send_response(401)
                    self.end_headers()
                    self.wfile.write(b"Invalid API key")
                    return
                answer = state.answer(parts.path, {key: value for key, [value] in parse_qs(parts.query).items()})
                self.send_response(200)
                is_file = isinstance(answer, bytes)
                self.send_header("Content-Type", "application/octet-stream" if is_file else "application/json")
                self.end_headers()
                content = answer if is_file else json.dumps(answer).encode()
                if is_file and state.cut_after:
                    content = content[: state.cut_after]
                state.sent += len(content) if is_file else 0
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            self.url = f"http://127.0.0.1:{server.server_address[1]}"
            yield self.url
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
