"""A whole node whose parts can be spoilt, and all that say how it is."""

import json
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psutil

from cli.node_api import NodeApi, NotReachable
from heliograph.messages import Block, Channel, Info
from heliograph.store import history, open_writer
from tests.browser import Page
from tests.conftest import ROOT, free_port
from tests.node import Node
from tests.system.faulty_parts import PATIENCE, Port, UploadTarget

log = logging.getLogger(__name__)

COMMANDS = ("status", "doctor")
ALL = ("health", "page", *COMMANDS)
COMMAND_PAUSE = 1.0  # between two runs of a command: the node needs the processor, too
# Root opens everything, whatever its mode, unless it gives these up.
AS_A_USER = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
START = (
    "import sys\nfrom cli.start import supervision\nsupervision.PAUSE_SECONDS = 3.0\nfrom cli.main import run\nrun()\n"
)
CONFIG = """[node]
name = "roof"
data = "{data}"
clock = "trust"
[api]
port = {port}
[broker]
port = {broker_port}
[storage]
commit_seconds = 0.5
backup = "{ports}/usb"
[sensor_reader]
system_interval = 1.0
[mqtt_importer]
[[uploader.targets]]
name = "hook"
kind = "webhook"
url = "http://127.0.0.1:{target_port}/"
timeout = 5.0
[calculator.devices.sum.channels.load]
formula = "system.load_1 + 1"
[[serial_bridge.ports]]
name = "pulled"
port = "{ports}/pulled"
format = "key_value"
[[serial_bridge.ports]]
name = "closed"
port = "{ports}/closed"
format = "key_value"
[[serial_bridge.ports]]
name = "taken"
port = "{ports}/taken"
format = "key_value"
"""


class FaultyNode(Node):
    """A node with a disk of its own, a year of readings, ports, an upload target, and a page that shows it."""

    def __init__(self, folder: Path, disk: Path, page: Callable[[str], Page]) -> None:
        super().__init__(folder, free_port)
        self.target = UploadTarget()
        self.disk = disk
        self.run = disk / "data/run"
        self.config = folder / "config.toml"
        self.ports = {name: Port(folder / name) for name in ("pulled", "closed", "taken")}
        self.config.write_text(
            CONFIG.format(
                data=disk / "data",
                port=self.port,
                broker_port=self.broker_port,
                ports=folder,
                target_port=self.target.port,
            )
        )
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(folder / "state")}
        self.backup = folder / "usb"
        self.backup.mkdir()
        self.year = _year(disk / "data")
        self._open_page = page

    def begin(self) -> None:
        """Start the node, and open its page."""
        for port in self.ports.values():
            port.plug_in()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*AS_A_USER, sys.executable, "-c", START, "start", "--config", str(self.config)],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._await_start()
        self.page = self._open_page(f"http://127.0.0.1:{self.port}/")

    def _await_start(self) -> None:
        end = time.monotonic() + PATIENCE
        while self.ask("/api/v1/health") is None:
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.1)

    def of(self, name: str) -> psutil.Process:
        """Return the process of a service, or the broker."""
        wanted = "mosquitto.conf" if name == "broker" else f"services.{name}"
        living = [child for child in self.children() if child.status() != psutil.STATUS_ZOMBIE]
        return next(child for child in living if any(wanted in part for part in child.cmdline()))

    def answers(self) -> Iterator[tuple[str, str]]:
        """Ask all four again and again; yield one of them, and its answer in words; an empty text if nothing is wrong."""
        running: dict[str, subprocess.Popen[str]] = {}
        due = dict.fromkeys(COMMANDS, 0.0)
        try:
            while True:
                yield "health", self._health()
                yield "page", self._page()
                for name in COMMANDS:
                    if name not in running and time.monotonic() >= due[name]:
                        running[name] = self.command(name)
                    elif name in running and running[name].poll() is not None:
                        command = running.pop(name)
                        text = command.communicate()[0]
                        due[name] = time.monotonic() + COMMAND_PAUSE
                        yield name, text if command.returncode else ""
                time.sleep(0.1)
        finally:
            for command in running.values():
                command.kill()
                command.communicate()

    def command(self, name: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "cli", name, "--config", str(self.config)],
            cwd="/",
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _page(self) -> str:
        pill = self.page.text(".pill")
        return self.page.text(".banner") or ("" if pill.startswith("Live") else pill)

    def _health(self) -> str:
        try:
            problems = NodeApi(f"http://127.0.0.1:{self.port}").health()["problems"]
        except NotReachable as error:
            return str(error)
        return "\n".join(one["summary"] for one in problems)

    def until(self, *, reported: Mapping[str, str] | None = None, gone: Collection[str] = ()) -> None:
        """Wait until all four say each of these sentences (fault: its pattern), or, if there is none, nothing at all.

        Log after how many seconds each of them did so for the first time.
        """
        start = time.monotonic()
        wanted = reported or {}
        seconds: dict[str, dict[str, float]] = {what: {} for what in [*wanted, *gone]}
        latest: dict[str, str] = {}
        for source, text in self.answers():
            passed = time.monotonic() - start
            latest[source] = text
            for what, sentence in wanted.items():
                if re.search(sentence, text):
                    seconds[what].setdefault(source, passed)
            for sentence in gone:
                if re.search(sentence, text):
                    seconds[sentence].pop(source, None)
                else:
                    seconds[sentence].setdefault(source, passed)
            if latest.keys() >= set(ALL) and all(
                all(re.search(one, text) for one in wanted.values()) if wanted else not text for text in latest.values()
            ):
                break
            assert passed < PATIENCE, f"{latest}\n{self.log.read_text()[-5000:]}"
        for what, by in seconds.items():
            each = ", ".join(f"{source} {by[source]:.1f}" for source in ALL if source in by)
            log.info("%-60s %5.1f s  (%s)", what, max(by.values(), default=0.0), each)

    def change(self, before: str, after: str) -> None:
        """Change the configuration that services read when they start."""
        path = self.run / "config.toml"
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after))

    def spoil_backup(self) -> None:
        """Make the last backup an old one, on a disk that takes nothing any more."""
        listed = self.backup / "backup.json"
        end = time.monotonic() + PATIENCE
        while not (listed.exists() and json.loads(listed.read_text())["made"]):
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.1)
        partial = listed.with_suffix(".partial")  # storage never reads half of it
        partial.write_text(json.dumps(json.loads(listed.read_text()) | {"made": "2020-02-02T03:00:00+00:00"}))
        partial.replace(listed)
        self.backup.chmod(0o555)

    def replace_year(self, content: bytes) -> bytes:
        """Put another file in the place of a year, as who copies one back does; return what it was."""
        whole = self.year.read_bytes()
        partial = self.year.with_suffix(".partial")
        partial.write_bytes(content)
        partial.replace(self.year)
        return whole

    def fill_disk(self) -> None:
        with (self.disk / "filling").open("wb") as file:
            try:
                while True:
                    file.write(bytes(1 << 20))
                    file.flush()
            except OSError:
                return

    def close(self) -> None:
        self.kill()
        for port in self.ports.values():
            port.pull_out()
        self.target.close()


def _year(data: Path) -> Path:
    """Write readings of a year that is over into a store; return the file of the year."""
    start = datetime(2020, 6, 1, tzinfo=UTC).timestamp()
    with closing(open_writer(data, lambda: False)) as writer:
        writer.declare("roof", "test", Info("meter", {"power": Channel("W")}))
        writer.write("roof", [Block("meter", ("power",), [[start + 60 * n, n] for n in range(1000)])])
        writer.commit({})
        writer.settle()
        while writer.maintain():
            pass
    (year,) = history.files(data / "store").values()
    return year
