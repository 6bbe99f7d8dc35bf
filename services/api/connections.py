"""The connections of uvicorn: limited in number, and in the time that a client may take.

uvicorn has a time-out between two requests (`timeout_keep_alive`), and pings WebSockets; it waits without end for the headers
of a request, and for a client that does not read its response.
"""

import asyncio
import resource
from collections.abc import Collection
from typing import cast

import uvicorn
from h11 import Request
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from services.api.addresses import LOOPBACK, Addresses
from services.api.slots import Slots

HEADER_SECONDS = 15.0  # for the headers of a request
STUCK_SECONDS = 60.0  # for which a client may read nothing of what it is sent
MOST = 1_000  # connections; each takes some 40 kB
EACH = 100  # from one address
CLOSE_SECONDS = 1  # for responses under way when the service stops
MESSAGE_BYTES = 65_536  # of the longest subscription
BACKLOG = 32  # connections that are accepted at once
OTHER_FILES = 128  # of the store, the outbox, the broker
FEWEST = 16
FILES = 8_192  # open files of this process, if the system lets it


class ServerConfig(uvicorn.Config):
    """The configuration of uvicorn: h11, asyncio, only warnings in the log, and limits for connections."""

    def __init__(self, app: ASGIApp, trusted_proxies: Collection[str] = LOOPBACK, most: int = MOST) -> None:
        super().__init__(
            app,
            http=LimitedHttp,
            ws=LimitedWebSocket,
            loop="asyncio",
            lifespan="off",
            backlog=BACKLOG,
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            forwarded_allow_ips=list(trusted_proxies),
            ws_max_size=MESSAGE_BYTES,
            ws_per_message_deflate=False,  # 300 kB for each client, to save little
            timeout_graceful_shutdown=CLOSE_SECONDS,
        )
        self.addresses = Addresses(trusted_proxies)
        self.slots = self.limited(most)

    @staticmethod
    def limited(most: int, each: int = EACH) -> "Slots[_Limited]":
        """Return slots for so many connections in all and from one address; those without a request may lose theirs."""
        return Slots(most, each, margin=0, evict=_abort, may_leave=lambda one: one.is_waiting)


def raise_file_limit() -> int:
    """Let this process open more files, and return how many connections fit beside the files that it needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    if soft == resource.RLIM_INFINITY:
        return MOST
    # asyncio accepts so many at once, and some are not yet closed while the next ones come; without files left it logs without end
    return max(FEWEST, min(MOST, soft - 4 * BACKLOG - OTHER_FILES))


class _Stuck:
    """Ends a connection whose client has read nothing for too long."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._timer: asyncio.TimerHandle | None = None

    def pause(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(STUCK_SECONDS, self._transport.abort)

    def resume(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None


class _Limited(asyncio.Protocol):
    """A connection that has a slot, and is closed when its client does not read."""

    config: ServerConfig
    client: tuple[str, int] | None
    transport: asyncio.Transport
    _stuck: _Stuck

    @property
    def is_waiting(self) -> bool:
        """Whether no request is under way; a WebSocket is one."""
        return False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a slot, or end the connection; a WebSocket takes that of the request that has begun it."""
        super().connection_made(cast(asyncio.Transport, transport))
        self._stuck = _Stuck(self.transport)
        if not self.config.slots.take(self.config.addresses.named(*(self.client or ("", 0))), self):
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the slot back."""
        self.config.slots.leave(self)
        self._stuck.resume()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait for a client to read."""
        super().pause_writing()
        self._stuck.pause()

    def resume_writing(self) -> None:
        """End to wait."""
        super().resume_writing()
        self._stuck.resume()


class LimitedHttp(_Limited, H11Protocol):
    """A connection of HTTP, which is closed, too, when the headers of a request do not come."""

    config: ServerConfig
    _header_timer: asyncio.TimerHandle | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether no request is under way."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for headers."""
        super().connection_made(transport)
        self._watch_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """End to wait for headers."""
        self._unwatch_headers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Begin to wait for the rest of the headers, or end to."""
        super().data_received(data)
        if not self.is_waiting:
            self._unwatch_headers()
        elif self._header_timer is None:
            self._watch_headers()

    def handle_websocket_upgrade(self, event: Request) -> None:
        """Leave the connection, and its slot, to a WebSocket."""
        self._unwatch_headers()
        self.config.slots.leave(self)
        super().handle_websocket_upgrade(event)

    def _watch_headers(self) -> None:
        self._header_timer = self.loop.call_later(HEADER_SECONDS, self.transport.abort)

    def _unwatch_headers(self) -> None:
        if self._header_timer:
            self._header_timer.cancel()
            self._header_timer = None


class LimitedWebSocket(_Limited, WebSocketsSansIOProtocol):
    """A WebSocket."""

    config: ServerConfig

    def shutdown(self) -> None:
        """Close it, unless its client has just done so: uvicorn would raise InvalidState, and stop with an error."""
        if not self.transport.is_closing():
            super().shutdown()


def _abort(connection: _Limited) -> None:
    connection.transport.abort()
