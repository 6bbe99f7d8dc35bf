"""What the system tests share: a node whose processes die and come back."""

import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.stored import arrivals
from tests.system.io_faults import Faults, faulty_disk

START = 1_700_000_000.0  # as in numbered.py
PRODUCERS = ("numbered", "clocked")


class Site:
    """A broker, numbered producers and services in a folder, each of which can be killed and started.

    `sections` are those of other services than storage.
    """

    def __init__(
        self, folder: Path, broker: Any, processes: Any, *, count: int, per_second: float, sections: str = ""
    ) -> None:
        self.data = folder / "data"
        self.broker = broker
        self.count = count
        self._processes = processes
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._config = folder / "config.toml"
        self._config.write_text(
            f'[node]\nname = "pi1"\ndata = "{self.data}"\nclock = "trust"\n[broker]\nport = {broker.port}\n'
            f"[storage]\ncommit_seconds = 0.2\n[numbered]\ncount = {count}\nper_second = {per_second}\n{sections}"
        )

    def add_section(self, section: str) -> None:
        """Add a section to the configuration, for those that start from now on."""
        partial = self._config.with_suffix(".partial")
        partial.write_text(self._config.read_text() + section)
        partial.replace(self._config)

    def start(self, name: str) -> None:
        if name == "broker":
            self.broker.start()
        else:
            package = "tests.system" if name in PRODUCERS else "services"
            self._running[name] = self._processes.start(f"{package}.{name}", str(self._config))

    def kill(self, name: str) -> None:
        if name == "broker":
            self.broker.kill()
        else:
            self._running[name].kill()
            self._running[name].wait()

    def stop(self, name: str) -> int:
        self._running[name].terminate()
        return self._running[name].wait(timeout=20)

    def published(self) -> bool:
        return (self.data / "numbered.done").exists()

    def stored(self) -> list[int]:
        """The numbers of all readings, each checked against its time."""
        numbers = []
        for arrival in arrivals(self.data):
            value = float(arrival.values["number"])
            assert arrival.time == START + value
            numbers.append(int(value))
        return numbers

    def complete(self) -> bool:
        return self._newest() >= self.count

    def stores(self) -> bool:
        return self._newest() > 0

    def _newest(self) -> int:
        newest = "SELECT coalesce(max(seq), (SELECT value FROM meta WHERE key='last'), 0) FROM frame"
        try:
            return int(self._rows(newest)[0][0])
        except sqlite3.OperationalError:  # storage is just making it
            return 0

    def declared_lost(self) -> int:
        return int(self._rows("SELECT coalesce(sum(lost), 0) FROM progress")[0][0])

    def _rows(self, query: str) -> list[Any]:
        path = self.data / "store" / "hot.db"
        if not path.exists():
            return [(0,)]
        database = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        try:
            return database.execute(query).fetchall()
        finally:
            database.close()


@pytest.fixture
def site(tmp_path: Path, broker: Any, processes: Any) -> Callable[..., Site]:
    made: list[Site] = []

    def make(count: int, per_second: float, sections: str = "") -> Site:
        made.append(Site(tmp_path, broker, processes, count=count, per_second=per_second, sections=sections))
        return made[-1]

    return make


@pytest.fixture(scope="module")
def disk() -> Iterator[Faults]:
    """Calls of the disk that fail on demand."""
    with faulty_disk() as faults:
        yield faults
