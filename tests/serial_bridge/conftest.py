"""The bridge as a process: between pseudo-terminals or sockets and a real broker."""

import os
import socket
import subprocess
import tty
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import LocalBroker, Processes, Starter
from tests.mqtt_recorder import Recorder

Wait = Callable[[Callable[[], Any]], Any]
Start = Callable[[str], subprocess.Popen[bytes]]
Write = Callable[[str], Path]


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


class BridgeRecorder(Recorder):
    """Hears what the bridge says of its ports."""

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
def watcher(broker: LocalBroker) -> Iterator[BridgeRecorder]:
    with BridgeRecorder(broker.port) as watching:
        yield watching


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    port = Line(tmp_path / "port")
    yield port
    port.pull_out()


@pytest.fixture
def bridge(tmp_path: Path, broker: LocalBroker, processes: Processes) -> Starter:
    return Starter("serial_bridge", tmp_path, broker, processes)


@pytest.fixture
def write(bridge: Starter) -> Write:
    """Writes the node's file, also while the bridge runs."""
    return bridge.write


@pytest.fixture
def start(bridge: Starter, tmp_path: Path) -> Start:
    return partial(bridge.start, TMPDIR=str(tmp_path))


def is_gone(client: socket.socket) -> bool:
    """Whether the other end has closed the connection."""
    try:
        return client.recv(10) == b""
    except ConnectionError:
        return True


def port(name: str, path: object, line_format: str) -> str:
    return f'[[serial_bridge.ports]]\nname = "{name}"\nport = "{path}"\nformat = "{line_format}"\n'
