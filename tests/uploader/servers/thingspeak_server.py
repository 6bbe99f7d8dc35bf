"""ThingSpeak's channel API with its documented limits; its clock is moved by the tests.

A timestamp has to be unique within the channel: an update that repeats one is refused as a whole.

Compared with: no real server, which is a service; MathWorks' documentation of its API (2026).
"""

import json
import re
from datetime import datetime
from typing import Any

from tests.uploader.servers.web_server import Request, Response, WebServer

KEY = "WRITEKEY12345678"
READ_KEY = "READKEY123456789"
CHANNEL = 990


class ThingSpeakServer(WebServer):
    def __init__(self, paid: bool = False) -> None:
        super().__init__()
        self.paid = paid
        self.now = 1_000.0
        self.last = {"bulk": float("-inf"), "single": float("-inf")}
        self.stored: dict[float, dict[str, Any]] = {}

    def answer(self, request: Request) -> Response:
        if request.path == f"/channels/{CHANNEL}/feeds/last.json":
            if request.query.get("api_key") != READ_KEY:
                return error(400, "error_bad_request", "Bad Request")
            if not self.stored:
                return Response(200, '"-1"')
            last = max(self.stored)
            return Response(200, json.dumps({**self.stored[last], "entry_id": len(self.stored)}))
        if request.path == f"/channels/{CHANNEL}/feeds.json":
            if request.query.get("api_key") != READ_KEY:
                return error(400, "error_bad_request", "Bad Request")
            first, last = (moment({"created_at": request.query[name]}) for name in ("start", "end"))
            feeds = [entry for time, entry in sorted(self.stored.items()) if first <= time <= last]
            return Response(200, json.dumps({"channel": {"id": CHANNEL}, "feeds": feeds[-8_000:]}))
        if request.method != "POST" or request.headers.get("content-type") != "application/json":
            return error(400, "error_bad_request", "Bad Request")
        content = json.loads(request.body)
        if request.path == f"/channels/{CHANNEL}/bulk_update.json":
            return self._bulk(content)
        if request.path == "/update.json":
            return self._single(content)
        return error(404, "error_resource_not_found", "Not Found")

    def _bulk(self, content: dict[str, Any]) -> Response:
        if content.get("write_api_key") != KEY:
            return error(401, "error_auth_required", "Authorization Required")
        if self.now - self.last["bulk"] < 15:
            return error(429, "error_too_many_requests", "Too Many Requests")
        self.last["bulk"] = self.now
        updates = content["updates"]
        if not 0 < len(updates) <= (14_400 if self.paid else 960):
            return error(413, "error_request_too_large", "Request Entity Too Large")
        times = [moment(update) for update in updates]
        if len(set(times)) < len(times) or set(times) & self.stored.keys():
            return error(400, "error_bad_request", "Timestamps are not unique")
        if any(bad_names(update) for update in updates):
            return error(400, "error_bad_request", "Bad Request")
        self.stored.update(zip(times, updates, strict=True))
        return Response(202, '{"success":true}')

    def _single(self, content: dict[str, Any]) -> Response:
        if content.pop("api_key", "") != KEY:
            return error(401, "error_auth_required", "Authorization Required")
        if self.now - self.last["single"] < (1 if self.paid else 15) or moment(content) in self.stored:
            return Response(200, "0")
        self.last["single"] = self.now
        self.stored[moment(content)] = content
        return Response(200, json.dumps({**content, "channel_id": CHANNEL, "entry_id": len(self.stored)}))


def moment(update: dict[str, Any]) -> float:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", update["created_at"])
    return datetime.fromisoformat(update["created_at"]).timestamp()


def bad_names(update: dict[str, Any]) -> bool:
    return not set(update) <= {"created_at", *(f"field{count}" for count in range(1, 9))}


def error(status: int, code: str, message: str) -> Response:
    content = {"status": str(status), "error": {"error_code": code, "message": message, "details": ""}}
    return Response(status, json.dumps(content))
