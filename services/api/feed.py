"""WS /live: the newest values as they arrive."""

import asyncio

import msgspec
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

from services.api import queries
from services.api.errors import RequestRefused
from services.api.live import LiveFeed, LiveState

GATHER_SECONDS = 0.1  # a burst of readings is one message
LISTENER_LIMIT = 100


class SubscriptionRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What a client sends: the series that it subscribes to from now on."""

    subscribe: list[str]


async def serve(websocket: WebSocket, live: LiveState) -> None:
    """Serve one client until it disconnects; a slow one gets the newest value of each series, not every one."""
    await websocket.accept()
    if live.listeners >= LISTENER_LIMIT:
        await websocket.close(1013, f"{LISTENER_LIMIT} clients listen already; try again later")
        return
    feed = live.open_feed()
    try:
        async with asyncio.TaskGroup() as tasks:
            sender = tasks.create_task(_send(websocket, feed), name="live")
            await _receive(websocket, live, feed)
            sender.cancel()
    except* (WebSocketDisconnect, WebSocketDisconnected):
        pass  # it disconnected while it was being sent something
    finally:
        live.close_feed(feed)


async def _receive(websocket: WebSocket, live: LiveState, feed: LiveFeed) -> None:
    while (message := await websocket.receive())["type"] != "websocket.disconnect":
        try:
            live.subscribe(feed, _patterns(message))
        except RequestRefused as error:
            await websocket.send_text(msgspec.json.encode({"detail": error.detail}).decode())


def _patterns(message: Message) -> list[str]:
    try:
        text = message.get("text") or message.get("bytes") or b""
        return queries.patterns(msgspec.json.decode(text, type=SubscriptionRequest).subscribe)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise RequestRefused(f'expected {{"subscribe": ["node/device/channel"]}}: {error}') from None


async def _send(websocket: WebSocket, feed: LiveFeed) -> None:
    while True:
        values = await feed.take()
        batch = [{"series": series, "time": time, "value": value} for series, (time, value) in values.items()]
        # Waits while the client's connection is full; the feed keeps only the newest values until then.
        await websocket.send_text(msgspec.json.encode(batch).decode())
        await asyncio.sleep(GATHER_SECONDS)
