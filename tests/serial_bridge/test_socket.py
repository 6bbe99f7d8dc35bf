"""Devices that send over TCP, to the real process."""

import asyncio
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.conftest import Processes
from tests.serial_bridge.conftest import BridgeRecorder, Line, Start, Wait, Write, is_gone, port

NODE = '[serial_bridge.nodes.30]\nname = "tank"\nnames = ["level"]\nscale = 0.1\n'
CI_CLIENTS = 400
FULL_CLIENTS = 10_000
LINES = 3
DEVICES = 100
SECONDS = 300.0


class Door:
    """The section of a socket, and connections to it."""

    def __init__(self, number: int) -> None:
        self.port = number
        self._open = ExitStack()

    def section(self, *options: str, line_format: str = "node_values") -> str:
        head = f'[[serial_bridge.sockets]]\nname = "door"\nport = {self.port}\nformat = "{line_format}"\n'
        return head + "".join(f"{option}\n" for option in options)

    def enter(self) -> socket.socket:
        return self._open.enter_context(socket.create_connection(("127.0.0.1", self.port), timeout=60))

    def close(self) -> None:
        self._open.close()


@pytest.fixture
def door(free_ports: Callable[[], int]) -> Iterator[Door]:
    door = Door(free_ports())
    yield door
    door.close()


@pytest.fixture
def opened(start: Start, processes: Processes, watcher: BridgeRecorder, eventually: Wait) -> Callable[[str], None]:
    def with_section(section: str) -> None:
        start(section)
        eventually(lambda: "door listens at" in processes.output())
        eventually(lambda: watcher.status.get("state") == "online")  # what is live before that is lost

    return with_section


Opened = Callable[[str], None]


def has_counted(watcher: BridgeRecorder, line: Line, eventually: Wait, **expected: int) -> None:
    """Pull out the port, so that the status comes at once, and compare its counters."""
    line.pull_out()
    eventually(watcher.is_open("bell", is_open=False))
    assert {name: watcher.counter(name) for name in expected} == expected


def test_nodes_that_are_not_listed_are_devices_all_the_same_and_names_do_not_end_in_point_zero(
    opened: Opened, door: Door, watcher: BridgeRecorder, eventually: Wait
) -> None:
    opened(door.section())
    door.enter().sendall(b"15 69 1664\r\n18\r\n19 abc\r\n16 1.5 -2\r\n17 3 4\r\n")
    eventually(watcher.has_states(3))
    assert watcher.states == [
        ("node15", {"1": 69, "2": 1664}),
        ("node16", {"1": 1.5, "2": -2}),
        ("node17", {"1": 3, "2": 4}),
    ]


def test_every_client_has_its_own_half_line(
    opened: Opened, door: Door, watcher: BridgeRecorder, line: Line, eventually: Wait
) -> None:
    line.plug_in()
    opened(door.section() + port("bell", line.path, "key_value"))
    eventually(watcher.is_open("bell"))
    first, second = door.enter(), door.enter()
    first.sendall(b"20 5")
    second.sendall(b"6\r\n21 1\r\n")
    eventually(watcher.has_states(1))
    first.sendall(b"7\r\n22 8")
    eventually(watcher.has_states(2))
    assert watcher.states == [("node21", {"1": 1}), ("node20", {"1": 57})]
    first.close()
    second.close()
    door.enter().sendall(b"23 1\r\n")
    eventually(watcher.has_states(3))
    has_counted(watcher, line, eventually, clients=3, lines_parsed=3, noise_lines=1, unfinished_lines=1)


def test_a_line_without_the_key_is_refused_and_its_words_are_not_shown(
    opened: Opened, door: Door, watcher: BridgeRecorder, line: Line, eventually: Wait
) -> None:
    key = "0123456789abcdef0123456789abcdef"
    line.plug_in()
    opened(door.section(f'key = "{key}"', "timestamped = true") + NODE + port("bell", line.path, "key_value"))
    eventually(watcher.is_open("bell"))
    words = [
        f"1763633000 30 {key} 205",
        f"{key} 2025-11-20T11:03:21.5+01:00 30 206",
        f"1763633000 30 1 {key[:-1]}x",
        "1763633000 30 1",
    ]
    words += [f"30 1 {key}", f"soon 30 1 {key}", key]
    door.enter().sendall("".join(f"{line}\r\n" for line in words).encode())
    eventually(watcher.has_states(2))
    assert watcher.states == [("tank", {"level": 20.5}), ("tank", {"level": 20.6})]
    has_counted(watcher, line, eventually, lines_parsed=2, wrong_keys=2, invalid_timestamps=3)
    assert key[:20] not in str(watcher.status)


def test_any_format_of_lines_can_come_through_a_socket(
    opened: Opened, door: Door, watcher: BridgeRecorder, eventually: Wait
) -> None:
    opened(door.section("key = 'k'", line_format="json_lines"))
    door.enter().sendall(b'k {"device": "boiler", "mode": "a  b"}\n')
    eventually(watcher.has_states(1))
    assert watcher.states == [("boiler", {"mode": "a  b"})]


def test_a_silent_client_is_disconnected_and_one_that_speaks_is_not(
    opened: Opened, door: Door, watcher: BridgeRecorder, eventually: Wait
) -> None:
    opened(door.section("idle_timeout = 4.0"))
    silent, speaking = door.enter(), door.enter()
    silent.settimeout(0.1)
    spoken = 0

    def silent_is_gone() -> bool:
        nonlocal spoken
        spoken += 1
        speaking.sendall(b"15 1\r\n")
        try:
            return is_gone(silent)
        except TimeoutError:
            return False

    eventually(silent_is_gone)
    speaking.sendall(b"16 1\r\n")
    eventually(lambda: ("node16", {"1": 1}) in watcher.states)
    assert spoken > 1


def test_when_there_are_too_many_the_one_that_was_silent_for_longest_has_to_go(
    opened: Opened, door: Door, watcher: BridgeRecorder, eventually: Wait
) -> None:
    opened(door.section("max_clients = 2"))
    first, second = door.enter(), door.enter()
    for count, client in enumerate((first, second, first), 1):
        client.sendall(b"15 %d\r\n" % count)
        eventually(watcher.has_states(count))
    third = door.enter()
    assert is_gone(second)
    for count, client in enumerate((first, third), 4):
        client.sendall(b"15 %d\r\n" % count)
        eventually(watcher.has_states(count))


def test_settings_that_are_changed_keep_clients_and_their_half_lines(
    opened: Opened, write: Write, door: Door, processes: Processes, watcher: BridgeRecorder, eventually: Wait
) -> None:
    opened(door.section() + NODE)
    client = door.enter()
    client.sendall(b"30 205\r\n30 2")
    eventually(watcher.has_states(1))
    write(door.section("idle_timeout = 60.0", "model = 'x'") + NODE.replace("0.1", "0.01"))
    eventually(lambda: "the configuration has changed" in processes.output())
    client.sendall(b"06\r\n")
    eventually(watcher.has_states(2))
    assert watcher.states == [("tank", {"level": 20.5}), ("tank", {"level": 2.06})]


def test_an_address_in_use_is_waited_for(
    start: Start, door: Door, processes: Processes, watcher: BridgeRecorder, eventually: Wait
) -> None:
    with socket.create_server(("127.0.0.1", door.port)):
        start(door.section())
        eventually(lambda: "door cannot listen at" in processes.output())
    eventually(lambda: "door listens at" in processes.output())
    eventually(lambda: watcher.status.get("state") == "online")
    door.enter().sendall(b"15 1\n")
    eventually(watcher.has_states(1))


async def crowd(number: int, clients: int) -> None:
    """Connect so many clients, every other one silent; the others speak in halves of lines, and a newcomer is last."""
    writers = []
    for _ in range(clients):
        _, writer = await asyncio.open_connection("127.0.0.1", number)
        writers.append(writer)
    for turn in range(LINES):
        for index, writer in enumerate(writers[::2]):
            writer.write(b"d%d turn=%d half=" % (index % DEVICES, turn))
            await writer.drain()
        for index, writer in enumerate(writers[::2]):
            writer.write(b"%d\n" % index)
            await writer.drain()
    _, newcomer = await asyncio.open_connection("127.0.0.1", number)
    newcomer.write(b"newcomer here=1\n")
    await newcomer.drain()
    for writer in [*writers, newcomer]:
        writer.close()
        await writer.wait_closed()


@pytest.mark.timeout(900)
def test_a_crowd_of_which_half_is_silent_starves_no_client(
    opened: Opened,
    door: Door,
    watcher: BridgeRecorder,
    line: Line,
    processes: Processes,
    eventually: Callable[[Callable[[], object], float], object],
    request: pytest.FixtureRequest,
) -> None:
    clients = FULL_CLIENTS if request.config.getoption("--full") else CI_CLIENTS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard >= clients + 500, "the machine does not allow so many files"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, clients + 500), hard))
    try:
        line.plug_in()
        opened(door.section(line_format="key_value") + port("bell", line.path, "key_value"))
        eventually(watcher.is_open("bell"), 60.0)
        asyncio.run(crowd(door.port, clients))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    eventually(lambda: ("newcomer", {"here": 1}) in watcher.states, SECONDS)
    line.pull_out()
    eventually(watcher.is_open("bell", is_open=False), SECONDS)
    counted = {name: watcher.counter(name) for name in ("clients", "lines_parsed", "set_aside", "clients_evicted")}
    parsed = (clients + 1) // 2 * LINES + 1
    assert counted == {"clients": clients + 1, "lines_parsed": parsed, "set_aside": 0, "clients_evicted": 0}
