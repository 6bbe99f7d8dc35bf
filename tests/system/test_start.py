import logging
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from heliograph import logs
from tests.node import ROOT, START, Node


def lives(process: psutil.Process) -> bool:
    """Whether a process has not ended; an orphan that ended may be a zombie for good, where process 1 does not wait for it."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


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
    for command in (["uploads", "list"], ["store", "info"]):  # case N6: without any option, from another folder
        done = subprocess.run(
            [sys.executable, "-m", "cli", *command],
            cwd="/",
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
    before = node.stored(f"{name}/tracer/pv_voltage")
    children = node.children()
    assert node.stop() == 0
    assert not [child for child in children if lives(child)]
    node.start()
    after = eventually(
        lambda: (points := node.stored(f"{name}/tracer/pv_voltage")) and len(points) > len(before) and points, 90
    )
    assert after[: len(before)] == before
    assert node.stop() == 0
    logged = [line for text in node.log.read_text().splitlines() if (line := logs.parsed(text))]
    assert {"supervisor", "storage", "modbus_poller"} <= {line.service for line in logged}
    assert [str(line) for line in logged if line.severity >= logging.WARNING] == []
    shown = subprocess.run(
        [sys.executable, "-m", "cli", "logs", "--since", "1d"],
        cwd="/",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.splitlines() == [str(line) for line in logged]


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
    assert "storage was ended by signal 9 (Killed); starting it again" in node.log.read_text()
    children = node.children()
    assert node.process
    node.process.send_signal(signal.SIGHUP)  # the terminal was closed
    assert node.process.wait(timeout=60) == 0
    assert not [child for child in children if lives(child)]


@pytest.mark.timeout(300)
def test_what_a_killed_supervisor_left_running_is_stopped_by_the_next_start(
    node: Node, eventually: Callable[..., Any]
) -> None:
    """Case N17."""
    node.start()
    eventually(lambda: node.ask("/api/v1/devices"), 120)
    orphans = node.children()
    assert node.process
    node.process.kill()
    node.process.wait()
    assert all(map(lives, orphans))
    eventually(lambda: "supervisor_away" in str(node.ask("/api/v1/health")), 60)
    node.start()
    eventually(lambda: not any(map(lives, orphans)), 60)
    eventually(lambda: node.ask("/api/v1/devices"), 120)
    assert "Stopping what an earlier start of this node left running: " in node.log.read_text()
    assert node.stop() == 0


def output_of(folder: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run([START, *arguments], cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    return done.returncode, done.stderr


def test_a_wrong_configuration_is_reported_before_anything_starts(
    tmp_path: Path, free_ports: Callable[[], int]
) -> None:
    config = tmp_path / "mine.toml"
    config.write_text("[storage]\ncommit_secs = 5\n[api]\nport = 'http'\n")
    ports = ("--port", str(free_ports()), "--broker-port", str(free_ports()))
    code, error = output_of(tmp_path, "--config", str(config), *ports)
    assert code == 1
    assert "storage: " in error
    assert "mine.toml: [storage]: no such option: commit_secs" in error
    assert "Traceback" not in error


def test_a_port_in_use_is_reported_with_the_option_that_helps(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, error = output_of(tmp_path, "--broker-port", str(taken.getsockname()[1]))
    assert code == 1
    assert "--broker-port" in error


def test_no_configuration_and_no_simulation_is_reported(tmp_path: Path) -> None:
    code, error = output_of(tmp_path, "--no-simulate")
    assert code == 1
    assert "config.toml" in error


def test_help_names_every_option(tmp_path: Path) -> None:
    done = subprocess.run([START, "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=True)
    for option in (
        "--config",
        "--data",
        "--port",
        "--broker-port",
        "--simulate, --no-simulate",
        "--logfile",
        "--help",
        "--version",
    ):
        assert option in done.stdout
    assert not list(tmp_path.iterdir())
