"""ASGI middleware for every route: HEAD, and names of this node that a request may be for."""

import asyncio
import ipaddress
from collections.abc import Collection

import msgspec
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from services.api.schemas import Problem

WRITING = ("/input/post", "/input/bulk")  # where a GET sends readings, as emoncms has it


class HeadRequests:
    """Answers HEAD with the status and the headers of GET (RFC 9110, 9.3.2); uvicorn sends no body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on as a GET, which ends when its headers are there."""
        if scope["type"] != "http" or scope["method"] != "HEAD" or any(path in scope["path"] for path in WRITING):
            await self._app(scope, receive, send)
            return
        is_answered = asyncio.Event()
        requests: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive_until_answered() -> Message:
            if requests:
                return requests.pop()
            await is_answered.wait()
            return {"type": "http.disconnect"}

        async def send_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
            elif not is_answered.is_set():
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                is_answered.set()

        await self._app({**scope, "method": "GET"}, receive_until_answered, send_headers)


class HostCheck:
    """Refuses requests for names that are not those of this node, which a page of another site had looked up as its own.

    Without `hosts` every name is taken. An address is always taken: no other site can be called like that.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = {"localhost", *map(str.lower, hosts)} if hosts else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if self._hosts is None or scope["type"] not in ("http", "websocket") or self._is_ours(Headers(scope=scope)):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose(1008)(scope, receive, send)
        else:
            detail = Problem("this is not a name of this node; see hosts in [api]")
            response = Response(msgspec.json.encode(detail), 421, media_type="application/json")
            await response(scope, receive, send)

    def _is_ours(self, headers: Headers) -> bool:
        host = headers.get("host", "").lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return name.rstrip(".") in (self._hosts or ())
        return True
