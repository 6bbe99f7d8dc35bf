"""SmartPlug: an unauthenticated report over HTTP, and a WebSocket that forwards every report.

Facts: SmartPlug's firmware/user/main.c and backend/backend.py. Only plugs whose ids are in the configuration are
accepted, and never from a browser.
"""

import asyncio
import json
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

from heliograph.messages import Channel
from heliograph.pending import shown
from services.api import queries
from services.api.errors import RequestRefused
from services.api.ingest import inputs
from services.api.ingest.gate import Gate
from services.api.ingest.intake import HttpIntake
from services.api.ingest.options import SmartPlugOptions
from services.api.ingest.reports import Report
from services.api.live import LiveState
from services.api.slots import Slots

KIND = "smartplug"
CHANNEL = "plugged"
KNOWN = ("id", "value", "time")
CLIENT_LIMIT = 100
EACH_LIMIT = 20  # from one address
WAITING_LIMIT = 100  # reports that wait for a client; a client that reads slower is disconnected
REPORT_BYTES = 4096


class PlugListener:
    """A client of the WebSocket, and the reports that wait for it."""

    def __init__(self) -> None:
        self.queue: deque[str] = deque()
        self.news = asyncio.Event()
        self.closing = ""  # why it has to leave

    def offer(self, text: str) -> None:
        """Queue a report for the client, or note that it is too slow."""
        if len(self.queue) >= WAITING_LIMIT:
            self.dismiss("too slow")
        else:
            self.queue.append(text)
            self.news.set()

    def dismiss(self, why: str) -> None:
        """Close the connection, with a reason."""
        self.closing = why
        self.news.set()


class SmartPlugs:
    """Accepts reports of plugs and forwards them to the clients of the WebSocket."""

    def __init__(self, options: SmartPlugOptions, gate: Gate, intake: HttpIntake, live: LiveState) -> None:
        self._plugs: Mapping[str, str] = options.plugs
        self._gate = gate
        self._intake = intake
        self._live = live
        self._states: dict[str, int] = {}
        self._clients: set[PlugListener] = set()
        self._slots: Slots[PlugListener] = Slots(
            CLIENT_LIMIT, EACH_LIMIT, margin=2, evict=lambda one: one.dismiss("other addresses need slots")
        )

    async def report(self, request: Request) -> Response:
        """Accept one report; raise RequestRefused."""
        try:
            self._gate.enter(KIND, request)
            if not self._plugs:
                raise RequestRefused("no plugs are accepted: list them in [api.smartplug]", 404)
            if "origin" in request.headers:
                raise RequestRefused("a web page cannot report for a plug", 403)
            content, plug, value = _parse(await self._gate.body(request, limit=REPORT_BYTES))
            if plug not in self._plugs:
                raise RequestRefused("this plug is not in [api.smartplug]", 403)
            self._gate.limit_rate(f"plug {plug}")
            report, refused = self._report(self._plugs[plug], content, is_plugged=bool(value))
            self._states[plug] = value
            self._forward(json.dumps(content))
            await self._intake.accept([report])
            self._gate.set_aside(KIND, refused)
        except RequestRefused as error:
            self._gate.refused(KIND, error, "")
            raise
        return JSONResponse({})

    async def serve(self, websocket: WebSocket) -> None:
        """Forward every report to one client, and answer its questions, until it disconnects."""
        if not self._plugs or self._gate.is_foreign(websocket):
            await websocket.close(1008, "no plugs are accepted here, or not for this page")
            return
        await websocket.accept()
        client = PlugListener()
        if not self._slots.take(self._gate.client(websocket), client):
            await websocket.close(1013, f"{len(self._slots)} clients listen already; try again later")
            return
        self._clients.add(client)
        try:
            async with asyncio.TaskGroup() as tasks:
                sender = tasks.create_task(_send(websocket, client), name=KIND)
                await self._receive(websocket, client)
                sender.cancel()
        except* (WebSocketDisconnect, WebSocketDisconnected):
            pass  # it disconnected while it was being sent something
        finally:
            self._clients.discard(client)
            self._slots.leave(client)

    def _report(
        self, device: str, content: dict[str, Any], *, is_plugged: bool
    ) -> tuple[Report, list[tuple[str, str]]]:
        """Return the reading of a report, and the members that are not used: the reason, and the member."""
        report = Report(device, {CHANNEL: is_plugged}, None, {CHANNEL: Channel(kind="state")}, "SmartPlug")
        self._intake.check(report)
        refused: list[tuple[str, str]] = []
        try:
            timed = report._replace(time=_time(content))
            self._intake.check(timed)
            report = timed
        except RequestRefused as error:  # a plug whose clock is not set still reports its state
            refused.append((error.detail, shown({"time": content["time"]})))
        for text, value in _flat({name: item for name, item in content.items() if name not in KNOWN}):
            if value is None:
                report = report._replace(missing=report.missing + 1)
                continue
            try:
                name = self._intake.names.rule.channel(text)
                if name in report.values:
                    raise ValueError(f"{text[:80]}: two members would be called {name}")
                self._intake.names.claim_channel(device, name, text)
                larger = report._replace(values={**report.values, name: value})
                self._intake.check(larger)
                report = larger
            except RequestRefused as error:
                refused.append((error.detail, shown({text: value})))
            except ValueError as error:
                refused.append((str(error), shown({text: value})))
        return report, refused

    def _forward(self, text: str) -> None:
        for client in self._clients:
            client.offer(text)

    async def _receive(self, websocket: WebSocket, client: PlugListener) -> None:
        while (message := await websocket.receive())["type"] != "websocket.disconnect":
            try:
                question = inputs.loads(message.get("text") or message.get("bytes") or b"")
            except RequestRefused:
                await websocket.close(1003, "not JSON")
                return
            plug = question.get("status") if isinstance(question, dict) else None
            value = self._state(plug) if isinstance(plug, str) else None
            if value is not None:
                client.offer(json.dumps({"id": plug, "value": value}))

    def _state(self, plug: str) -> int | None:
        """Return the last value that a plug reported, to this process or an earlier one."""
        if plug in self._states or plug not in self._plugs:
            return self._states.get(plug)
        device = self._live.devices.get((self._intake.node, self._plugs[plug]))
        newest = device.newest.get(CHANNEL) if device else None
        return int(newest.value) if newest and isinstance(newest.value, bool | int | float) else None


def _time(content: dict[str, Any]) -> float | None:
    given = content.get("time")
    if given is None or (isinstance(given, int | float) and not isinstance(given, bool)):
        return given
    if isinstance(given, str):
        return queries.time("time", given)
    raise RequestRefused("time: expected UTC seconds or ISO 8601")


def _flat(content: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the members of an object and of the objects in it, by the names on the way to them."""
    for name, item in content.items():
        if isinstance(item, dict):
            yield from _flat(item, f"{above}{name}.")
        else:
            yield f"{above}{name}", item


def _parse(body: bytes) -> tuple[dict[str, Any], str, int]:
    if len(body) > REPORT_BYTES:
        raise RequestRefused(f"the report is longer than {REPORT_BYTES} bytes", 413)
    content = inputs.loads(body)
    if not isinstance(content, dict) or not isinstance(content.get("id"), str):
        raise RequestRefused('expected {"id": "0xb00bf0cc", "value": 1}')
    if content.get("value") not in (0, 1):
        raise RequestRefused("value: it is neither 0 nor 1")
    return content, content["id"], int(content["value"])


async def _send(websocket: WebSocket, client: PlugListener) -> None:
    while not client.closing:
        while client.queue:
            await websocket.send_text(client.queue.popleft())
        client.news.clear()
        if not client.closing:
            await client.news.wait()
    await websocket.close(1013, client.closing)
