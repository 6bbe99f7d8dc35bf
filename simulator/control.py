"""Faults switched from outside: a line protocol on a loopback port (see README.md)."""

import socket
from collections.abc import Mapping

from simulator.device import SimulatedDevice
from simulator.emontx import Receiver
from simulator.faults import KINDS, Fault, Kind
from simulator.tcp_server import Listener
from simulator.worker import StoppableThread

Things = Mapping[str, SimulatedDevice | Receiver]
LONGEST = 1000


class Control(Listener):
    """Obeys `list` and `fault NAME KIND [SECONDS]`, one command a line, on `port`."""

    def __init__(self, things: Things, *, port: int = 0) -> None:
        super().__init__("control", self._converse, port=port)
        self._things = things

    def _converse(self, worker: StoppableThread, connection: socket.socket) -> None:
        rest = b""
        while worker.readable(connection.fileno()):
            data = connection.recv(4096)
            if not data or len(rest) > LONGEST:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                answer = obey(self._things, line.decode("utf-8", "replace"))
                connection.sendall(f"{answer}\n".encode())


def obey(things: Things, command: str) -> str:
    """Do what one line says and return the answer: lines that end with `ok` or `error: …`."""
    match command.split():
        case ["list"]:
            return "\n".join([*map(describe, things, things.values()), "ok"])
        case ["fault", name, kind, *seconds] if len(seconds) <= 1:
            if name not in things:
                return f"error: no device {name}; there are {', '.join(things)}"
            try:
                fault = Fault(_kind(kind), *map(_seconds, seconds))
            except ValueError as error:
                return f"error: {error}"
            things[name].fault = fault
            return "ok"
        case _:
            return "error: say `list` or `fault NAME KIND [SECONDS]`"


def describe(name: str, thing: SimulatedDevice | Receiver) -> str:
    """Return a line about a device: name, fault, and how many answers or packets it sent."""
    count = thing.requests if isinstance(thing, SimulatedDevice) else thing.sent
    return f"{name} {thing.fault.kind} {count}"


def _kind(word: str) -> Kind:
    for kind in KINDS:
        if kind == word:
            return kind
    raise ValueError(f"no fault {word}; there are {', '.join(KINDS)}")


def _seconds(word: str) -> float:
    seconds = float(word)
    if not 0 <= seconds <= 3600:
        raise ValueError(f"{word} is not 0 to 3600 seconds")
    return seconds
