"""SmartPlug: its report, which brings no key, and its WebSocket, which tells of reports.

Facts: SmartPlug's firmware/user/main.c and backend/backend.py. Only plugs whose ids stand in
the configuration are taken, and never from a browser.
"""

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

from heliograph.messages import Channel
from services.api.errors import Refused
from services.api.ingest import inputs
from services.api.ingest.gate import Gate
from services.api.ingest.intake import Intake, Report
from services.api.ingest.options import SmartPlug
from services.api.live import Live

KIND = "smartplug"
CHANNEL = "plugged"
CLIENT_LIMIT = 100
WAITING_LIMIT = 100  # reports that a client has not been given; one that reads slower is let go
REPORT_BYTES = 4096


class Client:
    """What one client has not been given yet."""

    def __init__(self) -> None:
        self.waiting: deque[str] = deque()
        self.news = asyncio.Event()
        self.is_slow = False

    def offer(self, text: str) -> None:
        """Keep a report for the client, or note that it is too slow."""
        if len(self.waiting) >= WAITING_LIMIT:
            self.is_slow = True
        else:
            self.waiting.append(text)
        self.news.set()


class Plugs:
    """Takes reports of plugs and tells clients of them."""

    def __init__(self, options: SmartPlug, gate: Gate, intake: Intake, live: Live) -> None:
        self._plugs: Mapping[str, str] = options.plugs
        self._gate = gate
        self._intake = intake
        self._live = live
        self._states: dict[str, int] = {}
        self._clients: set[Client] = set()

    async def report(self, request: Request) -> Response:
        """Take one report; raise Refused."""
        try:
            self._gate.enter(KIND, request)
            if not self._plugs:
                raise Refused("no plugs are taken: list them in [api.smartplug]", 404)
            if "origin" in request.headers:
                raise Refused("a plug is no web page", 403)
            content, plug, value = _understood(await self._gate.body(request))
            if plug not in self._plugs:
                raise Refused("this plug is not in [api.smartplug]", 403)
            self._gate.pace(f"plug {plug}")
            report = Report(
                self._plugs[plug], {CHANNEL: bool(value)}, None, {CHANNEL: Channel(kind="state")}, "SmartPlug"
            )
            self._intake.check(report)
            self._states[plug] = value
            self._tell(json.dumps(content))
            await self._intake.take([report])
        except Refused as error:
            self._gate.refused(KIND, error, "")
            raise
        return JSONResponse({})

    async def serve(self, websocket: WebSocket) -> None:
        """Tell one client of every report, and answer what it asks, until it goes."""
        if not self._plugs or self._gate.is_foreign(websocket):
            await websocket.close(1008, "no plugs are taken here, or not for this page")
            return
        await websocket.accept()
        if len(self._clients) >= CLIENT_LIMIT:
            await websocket.close(1013, f"{CLIENT_LIMIT} clients listen already; try again later")
            return
        client = Client()
        self._clients.add(client)
        try:
            async with asyncio.TaskGroup() as tasks:
                sender = tasks.create_task(_send(websocket, client), name=KIND)
                await self._receive(websocket, client)
                sender.cancel()
        except* (WebSocketDisconnect, WebSocketDisconnected):
            pass  # it went while something was on its way to it
        finally:
            self._clients.discard(client)

    def _tell(self, text: str) -> None:
        for client in self._clients:
            client.offer(text)

    async def _receive(self, websocket: WebSocket, client: Client) -> None:
        while (message := await websocket.receive())["type"] != "websocket.disconnect":
            try:
                asked = inputs.loads(message.get("text") or message.get("bytes") or b"")
            except Refused:
                await websocket.close(1003, "not JSON")
                return
            plug = asked.get("status") if isinstance(asked, dict) else None
            value = self._state(plug) if isinstance(plug, str) else None
            if value is not None:
                client.offer(json.dumps({"id": plug, "value": value}))

    def _state(self, plug: str) -> int | None:
        """Return what a plug said last, to this process or an earlier one."""
        if plug in self._states or plug not in self._plugs:
            return self._states.get(plug)
        device = self._live.devices.get((self._intake.node, self._plugs[plug]))
        newest = device.newest.get(CHANNEL) if device else None
        return int(newest.value) if newest and isinstance(newest.value, bool | int | float) else None


def _understood(body: bytes) -> tuple[dict[str, Any], str, int]:
    if len(body) > REPORT_BYTES:
        raise Refused(f"the report is longer than {REPORT_BYTES} bytes", 413)
    content = inputs.loads(body)
    if not isinstance(content, dict) or not isinstance(content.get("id"), str):
        raise Refused('expected {"id": "0xb00bf0cc", "value": 1}')
    if content.get("value") not in (0, 1):
        raise Refused("value: it is neither 0 nor 1")
    return content, content["id"], int(content["value"])


async def _send(websocket: WebSocket, client: Client) -> None:
    while not client.is_slow:
        while client.waiting:
            await websocket.send_text(client.waiting.popleft())
        client.news.clear()
        if not client.is_slow:
            await client.news.wait()
    await websocket.close(1013, "too slow")
