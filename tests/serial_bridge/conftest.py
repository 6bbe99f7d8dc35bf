"""The bridge as a process: between pseudo-terminals or sockets and a real broker."""

import json
import os
import subprocess
import tty
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import pytest

from heliograph import topics
from heliograph.bus import Bus, Message
from heliograph.config import Broker

Wait = Callable[[Callable[[], Any]], Any]
Start = Callable[[str], subprocess.Popen[bytes]]
Write = Callable[[str], Path]


class HasPort(Protocol):
    port: int


class Processes(Protocol):
    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]: ...
    def said(self) -> str: ...


class Line:
    """A serial port at a path: a pseudo-terminal that can be pulled out and plugged in again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ends: tuple[int, int] | None = None

    def plug_in(self) -> None:
        ours, theirs = self._ends = os.openpty()
        tty.setraw(theirs)
        os.set_blocking(ours, False)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(theirs))

    def pull_out(self) -> None:
        if self._ends:
            self.path.unlink()
            for end in self._ends:
                os.close(end)
            self._ends = None

    def say(self, data: bytes) -> None:
        assert self._ends
        assert os.write(self._ends[0], data) == len(data)

    def written(self) -> bytes:
        """What was written to the port since the last call."""
        assert self._ends
        with suppress(BlockingIOError):
            return os.read(self._ends[0], 4096)
        return b""


class Watcher:
    """Remembers what the bus said of the node `home`."""

    def __init__(self, bus: Bus) -> None:
        self.states: list[tuple[str, dict[str, Any]]] = []
        self.infos: dict[str, Any] = {}
        self.availability: list[tuple[str, str]] = []
        self.status: dict[str, Any] = {}
        self.bus = bus
        bus.subscribe(topics.every_device("state"), self._state)
        bus.subscribe(topics.every_device("info"), self._info)
        bus.subscribe(topics.every_device("availability"), self._available)
        bus.subscribe(topics.every_service("status"), self._status)

    def _state(self, message: Message) -> None:
        self.states.append((topics.parse(message.topic).owner, json.loads(message.payload)["values"]))

    def _info(self, message: Message) -> None:
        self.infos[topics.parse(message.topic).owner] = json.loads(message.payload)

    def _available(self, message: Message) -> None:
        self.availability.append((topics.parse(message.topic).owner, message.payload.decode()))

    def _status(self, message: Message) -> None:
        if topics.parse(message.topic).owner == "serial_bridge":
            self.status = json.loads(message.payload)

    def port(self, name: str) -> dict[str, Any]:
        ports = self.status.get("facts", {}).get("ports", {})
        return dict(ports.get(name, {}))

    def is_open(self, name: str, *, is_open: bool = True) -> Callable[[], bool]:
        return lambda: self.port(name).get("open") is is_open

    def counter(self, name: str) -> int:
        return int(self.status.get("counters", {}).get(name, 0))

    def has_states(self, count: int) -> Callable[[], bool]:
        return lambda: len(self.states) == count


@pytest.fixture
def watcher(broker: HasPort) -> Iterator[Watcher]:
    bus = Bus(Broker(port=broker.port), "test", "watcher")
    watching = Watcher(bus)
    with bus:
        assert bus.wait_connected(30)
        yield watching


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    port = Line(tmp_path / "port")
    yield port
    port.pull_out()


@pytest.fixture
def write(broker: HasPort, tmp_path: Path) -> Write:
    """Writes the node's file, also while the bridge runs."""

    def with_section(section: str) -> Path:
        file, partial = tmp_path / "config.toml", tmp_path / "config.partial"
        node = f'[node]\nname = "home"\ndata = "{tmp_path / "data"}"\nclock = "trust"\n'
        partial.write_text(f"{node}[broker]\nport = {broker.port}\n{section}")
        return partial.replace(file)

    return with_section


@pytest.fixture
def start(write: Write, processes: Processes, tmp_path: Path) -> Start:
    def with_section(section: str) -> subprocess.Popen[bytes]:
        return processes.start("services.serial_bridge", str(write(section)), TMPDIR=str(tmp_path))

    return with_section


def port(name: str, path: object, line_format: str) -> str:
    return f'[[serial_bridge.ports]]\nname = "{name}"\nport = "{path}"\nformat = "{line_format}"\n'
