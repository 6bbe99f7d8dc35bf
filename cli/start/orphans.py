"""Stops what an earlier start of the same node left running: its supervisor was killed, its processes were not."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import click

TERMINATE_SECONDS = 10.0
PROCESSES = Path("/proc")


def stop(run_folder: Path, terminate_seconds: float = TERMINATE_SECONDS) -> None:
    """End the processes that use the files of a node's run folder; call this with the folder locked, before they are started.

    It says which they are. One that does not end by itself is killed.
    """
    orphans = dict(_processes(run_folder))
    if not orphans:
        return
    listed = ", ".join(f"{name} (process {pid})" for pid, name in orphans.items())
    click.echo(f"Stopping what an earlier start of this node left running: {listed}")
    for pid in orphans:
        _send(pid, signal.SIGTERM)
    end = time.monotonic() + terminate_seconds
    while time.monotonic() < end and any(pid in orphans for pid, _ in _processes(run_folder)):
        time.sleep(0.1)
    for pid, _ in _processes(run_folder):
        _send(pid, signal.SIGKILL)


def _processes(run_folder: Path) -> Iterator[tuple[int, str]]:
    """Yield process id and name of the services, simulators and brokers that were started with a file of the folder."""
    folder = f"{run_folder}{os.sep}"
    for path in PROCESSES.iterdir():
        if not path.name.isdecimal() or int(path.name) == os.getpid():
            continue
        try:
            arguments = (path / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # it has ended, or is of another user
        name = _name(arguments)
        if name and any(argument.startswith(folder) for argument in arguments[1:]):
            yield int(path.name), name


def _name(arguments: list[str]) -> str:
    """Return the service that a command line runs, or "" if it is nothing that `heliograph start` starts."""
    match arguments:
        case [_, "-m", module, *_] if module == "simulator" or module.startswith("services."):
            return module.removeprefix("services.")
        case [program, "-c", *_] if Path(program).name == "mosquitto":
            return "broker"
    return ""


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
