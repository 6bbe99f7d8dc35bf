import json
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).parents[2]
START = str(ROOT / "scripts/start")


class Node:
    """scripts/start with a data folder and ports of its own."""

    def __init__(self, folder: Path, free_port: Callable[[], int]) -> None:
        self.folder = folder
        self.port = free_port()
        self.broker_port = free_port()
        self.log = folder / "start.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> None:
        options = [
            "--data",
            str(self.folder / "data"),
            "--port",
            str(self.port),
            "--broker-port",
            str(self.broker_port),
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [START, *options, *arguments], cwd=self.folder, stdout=log, stderr=subprocess.STDOUT
            )

    def stop(self) -> int:
        assert self.process
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=60)

    def ask(self, path: str) -> Any:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as response:
                return json.load(response)
        except (urllib.error.URLError, ConnectionError):
            return None

    def stored(self, series: str) -> list[float]:
        answer = self.ask(f"/api/v1/series?series={series}&from=0&to=4000000000") or {"series": {}}
        found: list[float] = answer["series"].get(series, {"time": []})["time"]
        return found

    def children(self) -> list[psutil.Process]:
        assert self.process
        return psutil.Process(self.process.pid).children(recursive=True)

    def child(self, name: str) -> psutil.Process:
        return next(child for child in self.children() if any(name in part for part in child.cmdline()))


@pytest.fixture
def node(tmp_path: Path, free_ports: Callable[[], int]) -> Iterator[Node]:
    made = Node(tmp_path, free_ports)
    yield made
    if made.process and made.process.poll() is None:
        for process in [*made.children(), psutil.Process(made.process.pid)]:
            process.kill()
        made.process.wait()


@pytest.mark.timeout(300)
def test_the_simulated_site_is_live_and_stored_and_survives_a_restart(
    node: Node, eventually: Callable[..., Any]
) -> None:
    node.start()
    devices = eventually(lambda: node.ask("/api/v1/devices"), 120)
    name = devices[0]["node"]
    for series in ("tracer/pv_voltage", "grid/voltage", "emontx/power1"):
        eventually(lambda series=series: node.stored(f"{name}/{series}"), 90)
    assert node.ask("/api/v1/health")["status"] == "ok"
    with urllib.request.urlopen(f"http://127.0.0.1:{node.port}/", timeout=10) as page:
        assert b"<script" in page.read()
    before = node.stored(f"{name}/tracer/pv_voltage")
    children = node.children()
    assert node.stop() == 0
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    node.start()
    after = eventually(
        lambda: (found := node.stored(f"{name}/tracer/pv_voltage")) and len(found) > len(before) and found, 90
    )
    assert after[: len(before)] == before
    assert node.stop() == 0


@pytest.mark.timeout(300)
def test_a_service_that_dies_is_started_again(node: Node, eventually: Callable[..., Any]) -> None:
    node.start()
    eventually(lambda: node.ask("/api/v1/devices"), 120)
    victim = node.child("services.storage")
    victim.kill()

    def another() -> bool:
        return any("services.storage" in " ".join(child.cmdline()) and child.pid != victim.pid for child in living())

    def living() -> list[psutil.Process]:
        return [child for child in node.children() if child.status() != psutil.STATUS_ZOMBIE]

    eventually(another, 60)
    children = node.children()
    assert node.process
    node.process.send_signal(signal.SIGHUP)  # the terminal was closed
    assert node.process.wait(timeout=60) == 0
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


def said(folder: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run([START, *arguments], cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    return done.returncode, done.stderr


def test_a_wrong_configuration_is_told_before_anything_starts(tmp_path: Path, free_ports: Callable[[], int]) -> None:
    config = tmp_path / "mine.toml"
    config.write_text("[storage]\ncommit_secs = 5\n[api]\nport = 'http'\n")
    ports = ("--port", str(free_ports()), "--broker-port", str(free_ports()))
    code, error = said(tmp_path, "--config", str(config), *ports)
    assert code == 1
    assert "storage: " in error
    assert "mine.toml: [storage]: no such option: commit_secs" in error
    assert "Traceback" not in error


def test_a_port_in_use_is_told_with_the_option_that_helps(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, error = said(tmp_path, "--broker-port", str(taken.getsockname()[1]))
    assert code == 1
    assert "--broker-port" in error


def test_no_configuration_and_no_simulation_is_told(tmp_path: Path) -> None:
    code, error = said(tmp_path, "--no-simulate")
    assert code == 1
    assert "config.toml" in error


def test_help_names_every_option(tmp_path: Path) -> None:
    done = subprocess.run([START, "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=True)
    for option in ("--config", "--data", "--port", "--broker-port", "--simulate / --no-simulate", "--help"):
        assert option in done.stdout
    assert not list(tmp_path.iterdir())
