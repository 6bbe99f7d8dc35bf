"""WS /live: the newest values as they arrive."""

import asyncio

import msgspec
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

from services.api import queries
from services.api.addresses import Addresses
from services.api.errors import RequestRefused
from services.api.live import LiveFeed, LiveState
from services.api.slots import Slots

GATHER_SECONDS = 0.1  # a burst of readings is one message
LISTENER_LIMIT = 100
EACH_LIMIT = 20  # from one address
SILENT_SECONDS = 15.0  # until the first subscription


class SubscriptionRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What a client sends: the series that it subscribes to from now on."""

    subscribe: list[str]


class Listeners:
    """Serves the clients of the feed, as many as there are slots; when all are taken, addresses with few come before others."""

    def __init__(self, live: LiveState, addresses: Addresses) -> None:
        self._live = live
        self._addresses = addresses
        self._evicted: set[asyncio.Task[object]] = set()
        self._slots: Slots[asyncio.Task[object]] = Slots(LISTENER_LIMIT, EACH_LIMIT, margin=2, evict=self._evict)

    async def serve(self, websocket: WebSocket) -> None:
        """Serve one client until it disconnects; a slow one gets the newest value of each series, not every one."""
        await websocket.accept()
        task = asyncio.current_task()
        if task is None or not self._slots.take(self._addresses.client(websocket), task):
            await websocket.close(1013, f"{len(self._slots)} clients listen already; try again later")
            return
        feed = self._live.open_feed()
        try:
            await _serve(websocket, self._live, feed)
        except asyncio.CancelledError:
            if task not in self._evicted:
                raise
            task.uncancel()
            await websocket.close(1013, "other addresses need slots; open fewer at once")
        finally:
            self._evicted.discard(task)
            self._slots.leave(task)
            self._live.close_feed(feed)

    def _evict(self, task: asyncio.Task[object]) -> None:
        self._evicted.add(task)
        task.cancel()


async def _serve(websocket: WebSocket, live: LiveState, feed: LiveFeed) -> None:
    try:
        async with asyncio.TaskGroup() as tasks:
            sender = tasks.create_task(_send(websocket, feed), name="live")
            await _receive(websocket, live, feed)
            sender.cancel()
    except* (WebSocketDisconnect, WebSocketDisconnected):
        pass  # it disconnected while it was being sent something
    except* TimeoutError:
        await websocket.close(1008, f"no subscription within {SILENT_SECONDS:.0f} s")


async def _receive(websocket: WebSocket, live: LiveState, feed: LiveFeed) -> None:
    """Take subscriptions until the client disconnects; raise TimeoutError if the first one does not come."""
    async with asyncio.timeout(SILENT_SECONDS) as until_first:
        while (message := await websocket.receive())["type"] != "websocket.disconnect":
            try:
                live.subscribe(feed, _patterns(message))
                until_first.reschedule(None)
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
