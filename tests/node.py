"""A whole node as its owner starts it."""

import json
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
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
        times: list[float] = answer["series"].get(series, {"time": []})["time"]
        return times

    def children(self) -> list[psutil.Process]:
        assert self.process
        return psutil.Process(self.process.pid).children(recursive=True)

    def child(self, name: str) -> psutil.Process:
        return next(child for child in self.children() if any(name in part for part in child.cmdline()))

    def kill(self) -> None:
        """Kill whatever is left."""
        if self.process and self.process.poll() is None:
            for process in [*self.children(), psutil.Process(self.process.pid)]:
                process.kill()
            self.process.wait()
