"""WS /live: the newest values as they arrive."""

import asyncio

import msgspec
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

from services.api import queries
from services.api.errors import Refused
from services.api.live import Feed, Live

GATHER_SECONDS = 0.1  # a burst of readings is one message
LISTENER_LIMIT = 100


class Subscription(msgspec.Struct, forbid_unknown_fields=True):
    """What a client sends, at first and whenever it wants something else."""

    subscribe: list[str]


async def serve(websocket: WebSocket, live: Live) -> None:
    """Talk to one client until it goes; it is sent the newest of each series however slow it reads."""
    await websocket.accept()
    if live.listeners >= LISTENER_LIMIT:
        await websocket.close(1013, f"{LISTENER_LIMIT} clients listen already; try again later")
        return
    feed = live.listen()
    try:
        async with asyncio.TaskGroup() as tasks:
            sender = tasks.create_task(_send(websocket, feed), name="live")
            await _receive(websocket, live, feed)
            sender.cancel()
    except* (WebSocketDisconnect, WebSocketDisconnected):
        pass  # it went while something was on its way to it
    finally:
        live.ignore(feed)


async def _receive(websocket: WebSocket, live: Live, feed: Feed) -> None:
    while (message := await websocket.receive())["type"] != "websocket.disconnect":
        try:
            live.subscribe(feed, _wanted(message))
        except Refused as error:
            await websocket.send_text(msgspec.json.encode({"detail": error.detail}).decode())


def _wanted(message: Message) -> list[str]:
    try:
        text = message.get("text") or message.get("bytes") or b""
        return queries.patterns(msgspec.json.decode(text, type=Subscription).subscribe)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Refused(f'expected {{"subscribe": ["node/device/channel"]}}: {error}') from None


async def _send(websocket: WebSocket, feed: Feed) -> None:
    while True:
        news = await feed.take()
        batch = [{"series": series, "time": time, "value": value} for series, (time, value) in news.items()]
        # Waits while the client's connection is full; meanwhile the feed keeps only the newest.
        await websocket.send_text(msgspec.json.encode(batch).decode())
        await asyncio.sleep(GATHER_SECONDS)
