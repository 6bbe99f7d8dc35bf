import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.api.receiver import KEY, Receiver, receiver_at
from tests.conftest import ROOT, free_port

DOCS = ROOT / "docs"
CURL = re.findall(r"```sh\n(curl .*?)```", (DOCS / "clients.md").read_text(), re.DOTALL)


def module(name: str) -> Any:
    specification = importlib.util.spec_from_file_location(name, DOCS / "clients" / f"{name}.py")
    assert specification
    assert specification.loader
    loaded: ModuleType = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(loaded)
    return loaded


heliograph_client = module("heliograph_client")
micropython_client = module("micropython_client")


@pytest.fixture
def receiver(tmp_path: Path, data: Path) -> Iterator[Receiver]:
    with receiver_at(tmp_path) as made:
        yield made


@pytest.fixture
def make_client(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    made = []

    def make(url: str, key: str = KEY) -> Any:
        made.append(heliograph_client.Client(url, key, tmp_path / "queue.db"))
        return made[-1]

    yield make
    for client in made:
        client.close()


def test_there_are_two_commands_for_the_shell() -> None:
    assert len(CURL) == 2


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
@pytest.mark.parametrize("command", CURL)
def test_the_commands_for_the_shell_work(receiver: Receiver, command: str) -> None:
    assert "http://roof.local:8000" in command
    script = command.replace("http://roof.local:8000", receiver.url)
    done = subprocess.run(
        ["sh", "-c", script], env={"KEY": KEY, "PATH": "/usr/bin:/bin"}, capture_output=True, check=True
    )
    assert json.loads(done.stdout) == {"accepted": 1}
    assert len(receiver.producer.readings) == 1


def test_the_client_hands_over_what_it_keeps_and_forgets_it(
    receiver: Receiver, make_client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heliograph_client, "BATCH", 50)
    client = make_client(receiver.url)
    for number in range(120):
        client.add("attic", {"number": number}, at=1763600000.5 + number)
    assert client.waiting() == 120
    assert client.send()
    assert client.waiting() == 0
    expected = [("attic", {"number": number}, 1763600000.5 + number) for number in range(120)]
    assert receiver.producer.readings == expected


def test_the_client_keeps_readings_over_its_own_death_and_the_nodes(
    receiver: Receiver, make_client: Callable[..., Any]
) -> None:
    client = make_client(f"http://127.0.0.1:{free_port()}")
    client.add("attic", {"number": 1}, at=1763600000)
    assert not client.send()
    assert client.problem
    client.close()
    again = make_client(receiver.url)
    assert again.send()
    assert receiver.producer.readings == [("attic", {"number": 1}, 1763600000)]


class Clock:
    """A replacement for the module `time`: sleeping takes none."""

    def __init__(self) -> None:
        self.slept = 0.0

    def time(self) -> float:
        return 1763600000.0 + self.slept

    def monotonic(self) -> float:
        return self.slept

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


def test_the_client_waits_as_long_as_it_should_and_sends_the_same_again(
    receiver: Receiver, make_client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(heliograph_client, "time", clock)
    client = make_client(receiver.url)
    client.add("attic", {"number": 1})
    receiver.producer.disk_is_full = True
    assert not client.send()
    assert not client.send()  # at once: it does not even try
    assert len(receiver.producer.readings) == 1
    receiver.producer.disk_is_full = False
    client.wait()
    assert clock.slept == 2  # the seconds of Retry-After
    receiver.skipped = clock.slept
    assert client.send()
    first, second = receiver.producer.readings
    assert first == second
    assert isinstance(first[2], float)


def test_a_reading_that_is_refused_does_not_stop_the_others(
    receiver: Receiver, make_client: Callable[..., Any]
) -> None:
    client = make_client(receiver.url)
    for number in range(9):
        client.add("Attic!" if number == 4 else "attic", {"number": number})
    assert client.send()
    assert [values["number"] for _, values, _ in receiver.producer.readings] == [0, 1, 2, 3, 5, 6, 7, 8]
    (body, why), *rest = client.refused()
    assert not rest
    assert json.loads(body)["values"] == {"number": 4}
    assert "is not the name of a device" in why


def test_a_wrong_key_loses_nothing(receiver: Receiver, make_client: Callable[..., Any]) -> None:
    client = make_client(receiver.url, "wrong")
    client.add("attic", {"number": 1})
    assert not client.send()
    assert client.waiting() == 1
    assert "not a key of this node" in client.problem


def test_the_client_is_a_program_too(receiver: Receiver, tmp_path: Path) -> None:
    reading = {"device": "attic", "values": {"number": 1}, "time": 1763600000}
    subprocess.run(
        [sys.executable, DOCS / "clients/heliograph_client.py", receiver.url, "--queue", tmp_path / "queue.db"],
        input=json.dumps(reading) + "\n",
        env={"HELIOGRAPH_KEY": KEY},
        text=True,
        check=True,
    )
    assert receiver.producer.readings == [("attic", {"number": 1}, 1763600000)]


def test_the_client_for_microcontrollers_sends_what_it_keeps(receiver: Receiver) -> None:
    client = micropython_client.Client("127.0.0.1", receiver.running.port, KEY)
    client.add("attic", {"temperature": 21.4}, {"channels": {"temperature": {"unit": "°C"}}})
    client.add("attic", {"temperature": 21.5})
    assert client.send()
    assert client.waiting == []
    assert client.send()
    assert [values for _, values, _ in receiver.producer.readings] == [{"temperature": 21.4}, {"temperature": 21.5}]
    assert receiver.producer.infos["attic"].channels["temperature"].unit == "°C"


def test_the_client_for_microcontrollers_keeps_the_newest_while_the_node_is_away(receiver: Receiver) -> None:
    client = micropython_client.Client("127.0.0.1", free_port(), KEY)
    for number in range(60):
        client.add("attic", {"number": number})
    assert not client.send()
    assert [reading["values"]["number"] for reading in client.waiting] == list(range(10, 60))
    client.port = receiver.running.port
    assert client.send()
    assert len(receiver.producer.readings) == 50


@pytest.mark.skipif(not shutil.which("micropython"), reason="there is no micropython")
def test_the_client_for_microcontrollers_runs_in_micropython(receiver: Receiver) -> None:
    script = (
        "from micropython_client import Client\n"
        f"client = Client('127.0.0.1', {receiver.running.port}, '{KEY}')\n"
        "client.add('attic', {'temperature': 21.5})\nassert client.send()\n"
    )
    subprocess.run(["micropython", "-c", script], cwd=DOCS / "clients", check=True)
    assert [values for _, values, _ in receiver.producer.readings] == [{"temperature": 21.5}]
