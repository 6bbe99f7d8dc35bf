"""Other databases that the store is compared with on the same data: started and stopped here.

`scripts/setup --dev` unpacks the servers. DuckDB takes `.venv/bin/pip install --target .tools/duckdb duckdb`.
"""

import argparse
import importlib
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import psutil

from benchmarks.processes import Measured
from benchmarks.store_data import Day
from cli.programs import ROOT

PACKAGES = ROOT / ".tools/duckdb"
MODULES = {
    "sqlite": "benchmarks.store_rivals_sqlite",
    "duckdb": "benchmarks.store_rivals_duckdb",
    "influx": "benchmarks.store_rivals_influx",
    "victoria": "benchmarks.store_rivals_victoria",
    "postgres": "benchmarks.store_rivals_postgres",
}
UNPRIVILEGED = 65534


class Rival(Protocol):
    """A database in a folder of its own; CPU seconds are its server's, or its library's in this process."""

    name: str
    cpu: float

    def load(self, day: Day) -> None:
        """Take a day; what the client needs to form it is not counted, where there is a server."""
        ...

    def settle(self) -> None:
        """Compact what it can."""
        ...

    def live(self, days: Sequence[Day]) -> None:
        """Take the readings of a commit interval, durably."""
        ...

    def bytes(self) -> int:
        """Return how many bytes it has on disk."""
        ...

    def bucketed(self, channel: str, start: float, end: float, seconds: int) -> int:
        """Ask for the mean of the meter's channel per bucket of [start, end); return how many there are."""
        ...

    def stop(self) -> None:
        """End it."""
        ...


def option(parser: argparse.ArgumentParser, default: str) -> None:
    """Add --rivals."""
    names = ",".join(MODULES)
    parser.add_argument(
        "--rivals", default=default, help=f"none, or some of {names} (default: {default}); see store_rivals.py"
    )


@contextmanager
def started(names: str, folder: Path) -> Iterator[list[Rival]]:
    """Yield the rivals of a list of names, each in a folder of its own; what is not installed is named and left out."""
    with ExitStack() as running:
        rivals = []
        for name in [name for name in names.split(",") if name and name != "none"]:
            data = folder / name
            data.mkdir(parents=True)
            try:
                module = importlib.import_module(MODULES[name])
                rival: Rival = module.start(data)
            except (FileNotFoundError, ModuleNotFoundError) as error:
                print(f"  without {name}: {error}; benchmarks/store_rivals.py says how to install it", flush=True)
                continue
            running.callback(rival.stop)
            rivals.append(rival)
        yield rivals


def library(name: str) -> object:
    """Import a Python package, also from PACKAGES; raise ModuleNotFoundError."""
    if str(PACKAGES) not in sys.path:
        sys.path.append(str(PACKAGES))
    return importlib.import_module(name)


class RivalServer(Measured):
    """A server and its children."""

    @property
    def cpu(self) -> float:
        """CPU seconds so far of the server, of its children, and of those that have ended."""
        own = self._info.cpu_times()
        used = own.user + own.system + own.children_user + own.children_system
        for child in self._info.children(recursive=True):
            try:
                times = child.cpu_times()
            except psutil.NoSuchProcess:
                continue
            used += times.user + times.system
        return float(used)

    def wait_idle(self, seconds: float = 3.0, longest: float = 120.0) -> None:
        """Wait until the server does nothing worth mentioning; compaction happens in the background."""
        end = time.monotonic() + longest
        before = self.cpu
        while time.monotonic() < end:
            time.sleep(seconds)
            now = self.cpu
            if now - before < 0.02 * seconds:
                return
            before = now
