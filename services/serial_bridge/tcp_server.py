"""A TCP port for any number of clients, in one thread: no client waits for another."""

import errno
import ipaddress
import logging
import resource
import selectors
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

log = logging.getLogger(__name__)

READ_BYTES = 4096  # from one client before it is the next one's turn
BACKLOG = 4096
TURN_SECONDS = 0.5
RETRY_SECONDS = 2.0
SPARE_FILES = 128  # for everything else that the process has open


class ClientHandler(Protocol):
    """Handles the bytes that one client sends."""

    def feed(self, data: bytes) -> None:
        """Handle the next bytes of the client."""

    def ended(self) -> None:
        """The client has left, or was disconnected."""


class TcpServer:
    """Listens on one address; `new_handler` returns the handler of a client by its address, None to refuse it.

    A client that is silent for `idle_timeout` seconds is disconnected. When there are more than `max_clients`, or the
    process has no files left, the one that was silent for longest is disconnected. Both may be changed at any time.
    Handlers are called in this thread only. `error` is why the server does not listen yet.
    """

    def __init__(
        self,
        name: str,
        address: tuple[str, int],
        new_handler: Callable[[str], ClientHandler | None],
        *,
        idle_timeout: float,
        max_clients: int,
        count: Callable[[str], None],
    ) -> None:
        self._name = name
        self._address = address
        self._new_handler = new_handler
        self.idle_timeout = idle_timeout
        self.max_clients = max_clients
        self._count = count
        self._handlers: OrderedDict[socket.socket, tuple[float, ClientHandler]] = OrderedDict()  # longest silent first
        self._selector = selectors.DefaultSelector()
        self._stop = threading.Event()
        self._wake = socket.socketpair()
        self.error = ""
        self.listening = False
        self._thread = threading.Thread(target=self._run, name=f"socket {name}", daemon=True)

    @property
    def connected(self) -> int:
        """The number of clients."""
        return len(self._handlers)

    def start(self) -> None:
        """Start the thread; an address in use is tried again until it is free."""
        raise_file_limit()
        self._thread.start()

    def stop(self) -> None:
        """Tell the thread to end."""
        self._stop.set()
        with suppress(OSError):
            self._wake[1].send(b".")

    def join(self, seconds: float) -> None:
        """Wait for the end of the thread."""
        self._thread.join(seconds)

    def _run(self) -> None:
        self._selector.register(self._wake[0], selectors.EVENT_READ)
        while not self._stop.is_set():
            try:
                listener = _listener(self._address)
            except OSError as error:
                if not self.error:
                    log.warning("%s cannot listen at %s:%d yet: %s", self._name, *self._address, error)
                self.error = str(error)
                self._stop.wait(RETRY_SECONDS)
                continue
            with listener:
                self.error = ""
                self.listening = True
                log.info("%s listens at %s:%d", self._name, *self._address)
                self._selector.register(listener, selectors.EVENT_READ)
                self._serve(listener)
                self._selector.unregister(listener)
        for client in list(self._handlers):
            self._end(client)
        self._selector.close()
        for end in self._wake:
            end.close()

    def _serve(self, listener: socket.socket) -> None:
        while not self._stop.is_set():
            for key, _ in self._selector.select(TURN_SECONDS):
                if key.fileobj is listener:
                    self._accept(listener)
                elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._handlers:
                    self._receive(key.fileobj)
            now = time.monotonic()
            while self._handlers and now - self._silent_since() > self.idle_timeout:
                self._end(next(iter(self._handlers)), "clients_idle")

    def _silent_since(self) -> float:
        return next(iter(self._handlers.values()))[0]

    def _accept(self, listener: socket.socket) -> None:
        """Accept waiting clients, a few at a time: those that are connected have their turn, too."""
        for _ in range(64):
            try:
                client, address = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE):
                    continue  # this one is gone already
                if not self._handlers:
                    self._stop.wait(RETRY_SECONDS)  # other parts of the process have the files
                    return
                self._end(next(iter(self._handlers)), "clients_evicted")
                continue
            client.setblocking(False)
            handler = self._new_handler(str(address[0]))
            if handler is None:
                client.close()
                self._count("clients_refused")
                continue
            if len(self._handlers) >= self.max_clients:
                self._end(next(iter(self._handlers)), "clients_evicted")
            self._handlers[client] = (time.monotonic(), handler)
            self._selector.register(client, selectors.EVENT_READ)
            self._count("clients")

    def _receive(self, client: socket.socket) -> None:
        try:
            data = client.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._end(client)
            return
        handler = self._handlers[client][1]
        self._handlers[client] = (time.monotonic(), handler)
        self._handlers.move_to_end(client)
        handler.feed(data)

    def _end(self, client: socket.socket, counter: str = "") -> None:
        _, handler = self._handlers.pop(client)
        self._selector.unregister(client)
        client.close()
        handler.ended()
        if counter:
            self._count(counter)


def is_allowed(address: str, networks: Sequence[str]) -> bool:
    """Return whether an address is one of these, or in one of these networks."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return any(parsed in ipaddress.ip_network(network) for network in networks)


def raise_file_limit() -> None:
    """Raise the limit of open files to what the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def file_limit() -> int:
    """Return the number of clients for which the process has files."""
    return max(1, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - SPARE_FILES)


def _listener(address: tuple[str, int]) -> socket.socket:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    listener = socket.create_server(address, family=family, backlog=BACKLOG)
    listener.setblocking(False)
    return listener
