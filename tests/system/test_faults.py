"""Faults, planted for real in a whole node: page, `/health`, `heliograph status` and `heliograph doctor` report the same."""

import fcntl
import grp
import json
import logging
import os
import signal
import subprocess
import sys
import time
import tty
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from cli.node_api import NodeApi, NotReachable
from tests.browser import Page, chromium
from tests.conftest import ROOT, free_port, optional_program
from tests.node import Node
from tests.system.loop_device import Devices

log = logging.getLogger(__name__)

PATIENCE = 150.0  # on a busy machine; on one that is not it takes 15 s at most
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


class Port:
    """A serial port of this machine: a pseudo-terminal under a name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ends: list[int] = []

    def plug_in(self, *, group: str = "", locked: bool = False) -> None:
        self._ends = list(os.openpty())
        tty.setraw(self._ends[1])
        name = os.ttyname(self._ends[1])
        if group:
            os.chown(name, -1, grp.getgrnam(group).gr_gid)
            Path(name).chmod(0o060)
        if locked:  # as pyserial does it
            self._ends.append(os.open(name, os.O_RDWR | os.O_NOCTTY))
            fcntl.flock(self._ends[-1], fcntl.LOCK_EX)
        self.path.symlink_to(name)

    def pull_out(self) -> None:
        self.path.unlink(missing_ok=True)
        while self._ends:
            os.close(self._ends.pop())


class FaultyNode(Node):
    """A node with a disk of its own, ports, and a page that shows it."""

    def __init__(self, folder: Path, disk: Path, page: Callable[[str], Page]) -> None:
        super().__init__(folder, free_port)
        self.disk = disk
        self.run = disk / "data/run"
        self.config = folder / "config.toml"
        self.ports = {name: Port(folder / name) for name in ("pulled", "closed", "taken")}
        self.config.write_text(
            CONFIG.format(data=disk / "data", port=self.port, broker_port=self.broker_port, ports=folder)
        )
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(folder / "state")}
        self.backup = folder / "usb"
        self.backup.mkdir()
        for port in self.ports.values():
            port.plug_in()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*AS_A_USER, sys.executable, "-c", START, "start", "--config", str(self.config)],
                cwd=folder,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._await_start()
        self.page = page(f"http://127.0.0.1:{self.port}/")

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

    def answers(self) -> dict[str, str]:
        """Return what each says of the node, in words; an empty text if nothing is wrong."""
        commands = {
            name: subprocess.Popen(
                [sys.executable, "-m", "cli", name, "--config", str(self.config)],
                cwd="/",
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for name in ("status", "doctor")
        }
        answers = {"health": self._health(), "page": self.page.text(".banner")}
        if not answers["page"] and not self.page.text(".pill").startswith("Live"):
            answers["page"] = self.page.text(".pill")
        for name, command in commands.items():
            text = command.communicate(timeout=PATIENCE)[0]
            answers[name] = text if command.returncode else ""
        return answers

    def _health(self) -> str:
        try:
            problems = NodeApi(f"http://127.0.0.1:{self.port}").health()["problems"]
        except NotReachable as error:
            return str(error)
        return "\n".join(one["summary"] for one in problems)

    def until(self, sound: Callable[[Mapping[str, str]], bool]) -> float:
        """Return after how many seconds the answers are as they should be."""
        start = time.monotonic()
        while True:
            asked = time.monotonic()
            answers = self.answers()
            if sound(answers):
                return asked - start
            assert asked - start < PATIENCE, f"{answers}\n{self.log.read_text()[-5000:]}"

    def until_all_report(self, *sentences: str) -> float:
        return self.until(lambda answers: all(one in text for one in sentences for text in answers.values()))

    def until_sound(self) -> float:
        return self.until(lambda answers: not any(answers.values()))

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
        listed.write_text(json.dumps(json.loads(listed.read_text()) | {"made": "2020-02-02T03:00:00+00:00"}))
        self.backup.chmod(0o555)

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


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[FaultyNode]:
    with ExitStack() as opened:
        browser = opened.enter_context(chromium(optional_program("chromium-headless-shell"), tmp_path))
        disk = Devices(tmp_path, opened).new().mount
        node = FaultyNode(tmp_path, disk, browser.open)
        opened.callback(node.close)
        yield node


@pytest.mark.timeout(600)
def test_page_health_status_and_doctor_report_the_same_faults(
    faulty: FaultyNode, request: pytest.FixtureRequest
) -> None:
    noted("sound", faulty.until_sound())
    _plant_many(faulty)
    _hang_broker(faulty)
    if request.config.getoption("--full"):
        _more(faulty)
    assert faulty.process
    faulty.process.send_signal(signal.SIGINT)
    assert faulty.process.wait(timeout=PATIENCE) == 0


def noted(what: str, seconds: float) -> None:
    log.info("%s: %.1f s", what, seconds)  # pytest --log-cli-level=INFO shows it


def _plant_many(faulty: FaultyNode) -> None:
    faulty.spoil_backup()
    noted("backup too old", faulty.until_all_report("the last backup in "))
    passwords = faulty.run / "broker/passwords"
    whole = passwords.read_text()
    faulty.ports["pulled"].pull_out()
    for name, fault in (("closed", {"group": "dialout"}), ("taken", {"locked": True})):
        faulty.ports[name].pull_out()
        faulty.ports[name].plug_in(**fault)
    passwords.write_text("".join(line for line in whole.splitlines(True) if not line.startswith("uploader:")))
    faulty.of("broker").send_signal(signal.SIGHUP)
    faulty.change('clock = "trust"', f'clock = "file"\nclock_file = "{faulty.folder}/set"')
    faulty.change("system.load_1 + 1", "system.load_1 +")
    stopped = [faulty.of("storage"), faulty.of("mqtt_importer")]
    faulty.of("sensor_reader").terminate()
    faulty.of("calculator").kill()
    for process in stopped:
        process.suspend()
    faulty.fill_disk()
    seconds = faulty.until_all_report(
        "no reading is stored until it runs again",
        "mqtt_importer ",
        "calculator keeps dying: it ended with exit status 1",
        "uploader: the broker refuses uploader: Not authorized",
        "the clock is not set: readings are kept back since ",
        "/pulled: No such file or directory",
        "/closed belongs to group dialout; add the user ",
        "/taken: in use by another program",
        f"the disk of {faulty.disk}/data is nearly full: ",
    )
    noted("many", seconds)
    (faulty.disk / "filling").unlink()
    faulty.backup.chmod(0o755)
    for process in stopped:
        process.resume()
    stopped[0].terminate()  # it tries the backup again at its start
    for port in faulty.ports.values():
        port.pull_out()
        port.plug_in()
    passwords.write_text(whole)
    faulty.of("broker").send_signal(signal.SIGHUP)
    faulty.change('clock = "file"', 'clock = "trust"')
    faulty.change("system.load_1 +", "system.load_1 + 1")
    faulty.of("sensor_reader").terminate()
    noted("sound after many", faulty.until_sound())


def _hang_broker(faulty: FaultyNode) -> None:
    broker = faulty.of("broker")
    broker.suspend()
    noted("broker hangs", faulty.until_all_report("the broker hangs: it has sent nothing since "))
    broker.resume()
    noted("sound after it", faulty.until_sound())


def _more(faulty: FaultyNode) -> None:
    settings = faulty.run / "mosquitto.conf"
    whole = settings.read_text()
    settings.write_text(whole.replace(f"listener {faulty.broker_port} ", f"listener {free_port()} "))
    faulty.of("broker").kill()
    noted("broker away", faulty.until_all_report("no connection to the broker: "))
    settings.write_text(whole)
    faulty.of("broker").kill()
    noted("sound after it", faulty.until_sound())
    api = faulty.of("api")
    api.suspend()
    noted(
        "api hangs",
        faulty.until(lambda answers: "Connection lost" in answers["page"] and "no answer from" in answers["doctor"]),
    )
    assert "no answer from" in faulty.answers()["status"]
    api.resume()
    noted("sound after it", faulty.until_sound())
