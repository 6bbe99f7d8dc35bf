"""Modbus TCP, and Modbus RTU over TCP, on a loopback port."""

import socket
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from random import Random
from typing import Self

from simulator.device import SimulatedDevice
from simulator.serial_line import QUIET_SECONDS
from simulator.session import Framing, ModbusSession
from simulator.worker import StoppableThread


class Listener:
    """Calls `serve(worker, connection)` in a thread of its own for every client of `port`."""

    def __init__(
        self,
        name: str,
        serve: Callable[[StoppableThread, socket.socket], None],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._name = name
        self._serve = serve
        self._host = host
        self.port = port
        self._accepting = StoppableThread(name, self._accept)
        self._clients: list[StoppableThread] = []

    def __enter__(self) -> Self:
        self._socket = socket.create_server((self._host, self.port))
        self.port = self._socket.getsockname()[1]
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._accepting.stop()
        for client in self._clients:
            client.stop()
        self._socket.close()

    def _accept(self, worker: StoppableThread) -> None:
        while worker.readable(self._socket.fileno()):
            connection, _ = self._socket.accept()
            for client in [c for c in self._clients if c.finished]:
                client.stop()
                self._clients.remove(client)
            self._clients.append(StoppableThread(self._name, self._client(connection)).start())

    def _client(self, connection: socket.socket) -> Callable[[StoppableThread], None]:
        def work(worker: StoppableThread) -> None:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(1)  # for a client that asks and never reads
            with connection, suppress(OSError):  # its troubles are its own business
                self._serve(worker, connection)

        return work


class TcpServer(Listener):
    """Serves `units` on `port` while it is open; `requests` counts per unit, absent ones too."""

    def __init__(
        self,
        units: Mapping[int, SimulatedDevice],
        *,
        framing: Framing = "tcp",
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        super().__init__(f"modbus {framing}", self._converse, host=host, port=port)
        self.units = units
        self.framing: Framing = framing
        self.requests: Counter[int] = Counter()

    def _converse(self, worker: StoppableThread, connection: socket.socket) -> None:
        session = ModbusSession(self.framing, self.units, self.requests, Random(1))
        while True:
            limit = QUIET_SECONDS if session.waiting else None
            if not worker.readable(connection.fileno(), limit):
                session.forget()
                continue
            data = connection.recv(4096)
            if not data:
                return
            for answer in session.feed(data):
                worker.sleep(answer.delay)
                connection.sendall(answer.data)
