"""The real process, between pseudo-terminals or a socket and a real broker."""

import json
import os
import signal
import socket
import subprocess
import sys
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from heliograph import topics
from heliograph.bus import Bus, Message
from heliograph.config import Broker

ROOT = Path(__file__).parents[2]
NODES = """
[serial_bridge.nodes.19]
name = "emonth"
names = ["temperature", "external temperature", "humidity", "battery"]
scale = 0.1
units = ["C", "C", "%", "V"]
"""
Wait = Callable[[Callable[[], Any]], Any]


class HasPort(Protocol):
    port: int


class Starts(Protocol):
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


class Watcher:
    """Remembers what the bus said of the node `home`."""

    def __init__(self, bus: Bus) -> None:
        self.states: list[tuple[str, dict[str, Any]]] = []
        self.infos: dict[str, Any] = {}
        self.availability: list[tuple[str, str]] = []
        self.status: dict[str, Any] = {}
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


Start = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture
def start(broker: HasPort, processes: Starts, tmp_path: Path) -> Start:
    def with_section(section: str) -> subprocess.Popen[bytes]:
        file = tmp_path / "config.toml"
        node = f'[node]\nname = "home"\ndata = "{tmp_path / "data"}"\nclock = "trust"\n'
        file.write_text(f"{node}[broker]\nport = {broker.port}\n{section}")
        return processes.start("services.serial_bridge", str(file), TMPDIR=str(tmp_path))

    return with_section


def port(name: str, path: object, line_format: str) -> str:
    return f'[[serial_bridge.ports]]\nname = "{name}"\nport = "{path}"\nformat = "{line_format}"\n'


def test_a_frame_becomes_a_reading_of_a_device_that_says_what_it_is(
    start: Start, line: Line, watcher: Watcher, eventually: Wait
) -> None:
    line.plug_in()
    process = start(port("radio", line.path, "rfm2pi") + NODES)
    eventually(watcher.is_open("radio"))
    line.say(b"OK 19 205 0 0 0 36 2 31 0 (-75)\r\n")
    eventually(lambda: watcher.states)
    values = {"temperature": 20.5, "external_temperature": 0.0, "humidity": 54.8, "battery": 3.1, "rssi": -75}
    assert watcher.states == [("emonth", values)]
    info = watcher.infos["emonth"]
    assert (info["model"], info["service"]) == ("JeeLib node 19", "serial_bridge")
    assert info["channels"]["temperature"] == {"unit": "°C"}
    assert info["channels"]["rssi"] == {"unit": "dBm"}
    assert watcher.availability == [("emonth", "online")]

    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    eventually(lambda: watcher.availability[-1] == ("emonth", "offline"))
    eventually(lambda: watcher.status["state"] == "offline")


def test_noise_is_counted_and_shown_and_the_frames_around_it_are_kept(
    start: Start, line: Line, watcher: Watcher, eventually: Wait
) -> None:
    line.plug_in()
    start(port("radio", line.path, "rfm2pi") + NODES)
    eventually(watcher.is_open("radio"))
    line.say(
        b"OK 19 1 0 0 0 0 0 0 0\r\nOK 19 205 0\xff\xfe 0 0\r\nOK 31 1 2 (-9)\r\n? 19 1\r\nOK 19 1 2 3\r\nhello\r\n"
    )
    for _ in range(5):
        line.say(b"x" * 1000)
    line.say(b"\r\nOK 19 205 0 0 0 36 2 31 0 (-75)\r\n")
    eventually(watcher.has_states(2))
    line.pull_out()  # the next status says it
    eventually(watcher.is_open("radio", is_open=False))
    counters = watcher.status["counters"]
    expected = {
        "lines": 8,
        "frames": 2,
        "noise_lines": 2,
        "unknown_nodes": 1,
        "bad_checksums": 1,
        "wrong_lengths": 1,
        "overlong_lines": 1,
        "set_aside": 5,
        "ports_opened": 1,
        "ports_lost": 1,
    }
    assert {name: counters.get(name) for name in expected} == expected
    assert [item["where"] for item in watcher.status["set_aside"]] == ["radio"] * 5
    assert watcher.port("radio")["lines"] == 8
    assert watcher.port("radio")["last"] > 0
    assert watcher.port("radio")["trouble"]


def test_a_port_that_vanishes_is_opened_again_when_it_is_back(
    start: Start, processes: Starts, line: Line, watcher: Watcher, eventually: Wait
) -> None:
    start(port("boiler", line.path, "key_value"))
    eventually(watcher.is_open("boiler", is_open=False))
    for count in (1, 2):
        line.plug_in()
        eventually(watcher.is_open("boiler"))
        line.say(f"MSG:{3 * count},t:61.5\r\n".encode())
        eventually(watcher.has_states(count))
        line.pull_out()
        eventually(watcher.is_open("boiler", is_open=False))
    assert watcher.states == [
        ("boiler", {"msg": 3, "t": 61.5, "missed": 0}),
        ("boiler", {"msg": 6, "t": 61.5, "missed": 2}),
    ]
    assert [state for _, state in watcher.availability] == ["online", "offline", "online", "offline"]
    assert processes.said().count("boiler is away") == 3
    assert processes.said().count("reading boiler") == 2


def opened(processes: Starts, times: int) -> Callable[[], bool]:
    return lambda: processes.said().count("reading far") == times


def test_a_port_can_be_a_socket_and_one_dead_port_does_not_hold_up_the_others(
    start: Start, line: Line, watcher: Watcher, processes: Starts, eventually: Wait
) -> None:
    line.plug_in()
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"socket://127.0.0.1:{server.getsockname()[1]}"
        dead = port("dead", line.path.with_name("nowhere"), "json_lines")
        start(dead + port("far", address, "json_lines") + port("near", line.path, "key_value"))
        for count in (1, 2):
            connection, _ = server.accept()
            with connection:
                eventually(opened(processes, count))
                connection.sendall(b'alf a line"}\n{"device": "pump", "time": 1763633000.5, "on": true, "w": NaN}\n')
                eventually(watcher.has_states(count))
        eventually(watcher.is_open("near"))
        line.say(b"t=1\n")
        eventually(watcher.has_states(3))
    assert watcher.states == [("pump", {"on": True}), ("pump", {"on": True}), ("near", {"t": 1})]
    assert watcher.port("dead")["open"] is False


def test_a_configuration_without_ports_is_nothing_to_do(start: Start, watcher: Watcher, eventually: Wait) -> None:
    process = start("[serial_bridge]\n")
    eventually(lambda: watcher.status.get("state") == "online")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0


def test_a_wrong_configuration_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(port("radio", "/dev/null", "morse"))
    command = [sys.executable, "-m", "services.serial_bridge", str(file)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert "no such format: 'morse'; known are json_lines, key_value, rfm2pi" in ended.stderr
