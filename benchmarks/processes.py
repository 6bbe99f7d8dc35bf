"""Processes under measurement: started, watched and stopped by the benchmark."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import psutil

from cli import programs


def free_port() -> int:
    """Return a loopback port that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Measured:
    """One process, with the CPU seconds it has used."""

    def __init__(self, name: str, *command: str, stdout: IO[bytes] | None = None) -> None:
        self.name = name
        self._process = subprocess.Popen(command, cwd=programs.ROOT, stdout=stdout, stderr=subprocess.DEVNULL)
        self._info = psutil.Process(self._process.pid)

    @classmethod
    def module(cls, module: str, config: Path) -> "Measured":
        """Start one of our own modules."""
        return cls(module, sys.executable, "-m", module, str(config))

    @property
    def cpu(self) -> float:
        """CPU seconds, user and system, so far."""
        times = self._info.cpu_times()
        return float(times.user + times.system)

    @property
    def rss(self) -> float:
        """Resident memory in MB."""
        return float(self._info.memory_info().rss) / 1e6

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait()


def wait_for(done: Callable[[], bool], what: str, seconds: float = 600) -> None:
    """Wait until something is true; raise TimeoutError if it never comes."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.02)
