"""A TCP port for any number of clients, in one thread: nobody waits for anybody."""

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


class Conversation(Protocol):
    """What is to be done with what one client sends."""

    def feed(self, data: bytes) -> None:
        """Take in what the client sent."""

    def ended(self) -> None:
        """The client is gone, or was sent away."""


class Server:
    """Listens on one address; `welcome` makes the conversation of a client, None sends it away.

    A client that is silent for `idle` seconds is disconnected. When there are too many, or
    no files are left to the process, the one that was silent for longest makes room.
    `idle` and `clients` may be changed at any time; conversations live in this thread only.
    """

    def __init__(
        self,
        name: str,
        address: tuple[str, int],
        welcome: Callable[[str], Conversation | None],
        *,
        idle: float,
        clients: int,
        count: Callable[[str], None],
    ) -> None:
        self._name = name
        self._address = address
        self._welcome = welcome
        self.idle = idle
        self.clients = clients
        self._count = count
        self._talks: OrderedDict[socket.socket, tuple[float, Conversation]] = OrderedDict()  # longest silent first
        self._selector = selectors.DefaultSelector()
        self._stop = threading.Event()
        self._wake = socket.socketpair()
        self.trouble = ""
        self.listening = False
        self._thread = threading.Thread(target=self._run, name=f"socket {name}", daemon=True)

    @property
    def connected(self) -> int:
        """How many clients there are."""
        return len(self._talks)

    def start(self) -> None:
        """Begin to listen; an address in use is tried again until it is free."""
        raise_file_limit()
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end."""
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
                if not self.trouble:
                    log.warning("%s cannot listen at %s:%d yet: %s", self._name, *self._address, error)
                self.trouble = str(error)
                self._stop.wait(RETRY_SECONDS)
                continue
            with listener:
                self.trouble = ""
                self.listening = True
                log.info("%s listens at %s:%d", self._name, *self._address)
                self._selector.register(listener, selectors.EVENT_READ)
                self._serve(listener)
                self._selector.unregister(listener)
        for client in list(self._talks):
            self._end(client)
        self._selector.close()
        for end in self._wake:
            end.close()

    def _serve(self, listener: socket.socket) -> None:
        while not self._stop.is_set():
            for key, _ in self._selector.select(TURN_SECONDS):
                if key.fileobj is listener:
                    self._accept(listener)
                elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._talks:
                    self._hear(key.fileobj)
            now = time.monotonic()
            while self._talks and now - self._silent_since() > self.idle:
                self._end(next(iter(self._talks)), "clients_idle")

    def _silent_since(self) -> float:
        return next(iter(self._talks.values()))[0]

    def _accept(self, listener: socket.socket) -> None:
        """Take in who waits, a few at a time: those who are connected have their turn, too."""
        for _ in range(64):
            try:
                client, address = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE):
                    continue  # this one is gone already
                if not self._talks:
                    self._stop.wait(RETRY_SECONDS)  # the files are somebody else's
                    return
                self._end(next(iter(self._talks)), "clients_evicted")
                continue
            client.setblocking(False)
            talk = self._welcome(str(address[0]))
            if talk is None:
                client.close()
                self._count("clients_refused")
                continue
            if len(self._talks) >= self.clients:
                self._end(next(iter(self._talks)), "clients_evicted")
            self._talks[client] = (time.monotonic(), talk)
            self._selector.register(client, selectors.EVENT_READ)
            self._count("clients")

    def _hear(self, client: socket.socket) -> None:
        try:
            data = client.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._end(client)
            return
        talk = self._talks[client][1]
        self._talks[client] = (time.monotonic(), talk)
        self._talks.move_to_end(client)
        talk.feed(data)

    def _end(self, client: socket.socket, counter: str = "") -> None:
        _, talk = self._talks.pop(client)
        self._selector.unregister(client)
        client.close()
        talk.ended()
        if counter:
            self._count(counter)


def is_allowed(address: str, networks: Sequence[str]) -> bool:
    """Whether an address is one of these, or in one of these networks."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return any(found in ipaddress.ip_network(network) for network in networks)


def raise_file_limit() -> None:
    """Let this process have as many files open as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def file_limit() -> int:
    """Return how many clients the process has files for."""
    return max(1, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - SPARE_FILES)


def _listener(address: tuple[str, int]) -> socket.socket:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    listener = socket.create_server(address, family=family, backlog=BACKLOG)
    listener.setblocking(False)
    return listener
