"""Fixtures that many tests share: a real Mosquitto, and processes that end with the test."""

import gc
import getpass
import itertools
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

from cli import programs
from tests.mqtt_recorder import NODE, Recorder
from tests.node import Node

pytest_plugins = ["tests.databases", "tests.real_emoncms"]
ROOT = Path(__file__).parents[1]
BROKER_SECONDS = 10.0
PORTS = range(10_000, 32_000)  # below those that Linux takes for outgoing connections

# "searching" tries other examples every time; "steady" always the same ones: no landing depends on luck.
# "mutation" shows no smallest example: that a mutant is found is enough. "full" is what --full takes.
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "searching")
EXAMPLES = 40  # of a test that does not state its own number
FULL_EXAMPLES = 400
for name, steady, phases, examples in [
    ("searching", False, list(Phase), EXAMPLES),
    ("steady", True, list(Phase), EXAMPLES),
    ("mutation", True, [Phase.explicit, Phase.generate], 100),
    ("full", PROFILE == "steady", list(Phase), FULL_EXAMPLES),
]:
    settings.register_profile(
        name,
        deadline=None,
        derandomize=steady,
        phases=phases,
        max_examples=examples,
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile(PROFILE)

_ports = itertools.cycle(random.sample(PORTS, len(PORTS)))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the long forms of the system tests")
    parser.addoption(
        "--emoncms", help="a checkout of Emoncms, to run its cases against the real one: see docs/tests.md"
    )
    parser.addoption(
        "--timescaledb", help="the address of a database with TimescaleDB, whose schema heliograph is deleted"
    )
    parser.addoption("--day", help="a CSV of Solar Protocol's logger to replay, in place of a simulated day")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--full"):
        settings.load_profile("full")


SERVERS = {
    "broker",
    "guarded_broker",
    "processes",
    "server",
    "own_server",
    "other_broker",
    "engine",
    "browser",
}  # fixtures


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Call slow what starts servers or processes: scripts/test runs it second."""
    for item in items:
        if isinstance(item, pytest.Function) and SERVERS.intersection(item.fixturenames):
            item.add_marker("slow")


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Leave the home of the user who runs the tests as it is: `heliograph start` notes there which node it started."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


def pytest_collection_finish() -> None:
    """Take what was collected out of the sight of garbage collection, which many tests ask for: 0.3 s each time."""
    gc.collect()
    gc.freeze()


def free_port() -> int:
    """Return a port that nothing listens on, and that tests beside this one hardly get."""
    for port in _ports:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("unreachable: the ports never end")


def mosquitto_command() -> str:
    return programs.find("mosquitto")


def optional_program(name: str) -> str:
    """Return the path of a program; without it the test is skipped, in CI it fails."""
    try:
        return programs.find(name)
    except FileNotFoundError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


class LocalBroker:
    """Mosquitto on a loopback port, without persistence: what dies with it is lost."""

    def __init__(self, folder: Path, access: str = "allow_anonymous true") -> None:
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\n{access}\npersistence false\n"
            "set_tcp_nodelay true\nmax_inflight_messages 5000\nmax_queued_messages 1000000\nmax_queued_bytes 67108864\n"
            f"log_dest stderr\nlog_type error\nuser {getpass.getuser()}\n"
        )

    @property
    def section(self) -> str:
        """The [broker] section of a service that connects to it."""
        return f"[broker]\nport = {self.port}\n"

    def set(self, option: str, value: str) -> None:
        """Add an option of mosquitto.conf, for the next start."""
        with self._config.open("a") as file:
            file.write(f"{option} {value}\n")

    def start(self) -> None:
        self.process = subprocess.Popen([mosquitto_command(), "-c", str(self._config)])
        end = time.monotonic() + BROKER_SECONDS
        while time.monotonic() < end:
            assert self.process.poll() is None, f"mosquitto ended; is port {self.port} taken?"
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.01)
        raise AssertionError("mosquitto did not start")

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[LocalBroker]:
    folder = tmp_path / "broker"
    folder.mkdir()
    local = LocalBroker(folder)
    local.start()
    yield local
    local.kill()


class GuardedBroker(LocalBroker):
    """The same with the project's users and rules: the passwords of `heliograph secrets`, and mosquitto/acl."""

    def __init__(self, folder: Path) -> None:
        self.secrets = folder / "secrets"
        self._acl = folder / "acl"
        self._acl.write_text((ROOT / "mosquitto/acl").read_text())
        super().__init__(
            folder, f"allow_anonymous false\nacl_file {self._acl}\npassword_file {self.secrets}/broker/passwords"
        )
        self._make_passwords()

    @property
    def section(self) -> str:
        """The [broker] section of a service that connects to it."""
        return f'{super().section}password = "file:{self.secrets}/{{service}}"\n'

    def add_user(self, user: str, rules: str) -> None:
        """Start again with another user, and the topic lines that it has in the ACL."""
        self.kill()
        self._make_passwords("--user", user)
        with self._acl.open("a") as file:
            file.write(f"\nuser {user}\n{rules}\n")
        self.start()

    def password(self, user: str) -> str:
        return (self.secrets / user).read_text().strip()

    def recorder(self, user: str) -> Recorder:
        """Return what a user receives, to be entered."""
        return Recorder(self.port, user, self.password(user), name="visitor")

    def _make_passwords(self, *options: str) -> None:
        command = [sys.executable, "-m", "cli.secrets", str(self.secrets), *options]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)


@pytest.fixture
def guarded_broker(tmp_path: Path) -> Iterator[GuardedBroker]:
    folder = tmp_path / "guarded_broker"
    folder.mkdir()
    guarded = GuardedBroker(folder)
    guarded.start()
    yield guarded
    guarded.kill()


class Processes:
    """Starts `python -m MODULE ARGUMENT…` in the repository, and kills what is left at the end."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.running: list[subprocess.Popen[bytes]] = []
        self._modules: list[str] = []

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=ROOT,
                env={**os.environ, **environment},
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        self.running.append(process)
        self._modules.append(arguments[0])
        return process

    def starts(self, module: str) -> int:
        return self._modules.count(module)

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    started = Processes(tmp_path / "processes.log")
    yield started
    for process in started.running:
        if process.poll() is None:
            process.kill()
        process.wait()
    sys.stderr.write(started.output()[-10_000:])  # shown by pytest when the test fails


class Starter:
    """Starts one of our services beside a broker, with its section of the configuration."""

    def __init__(self, service: str, folder: Path, broker: LocalBroker, processes: Processes) -> None:
        self.broker = broker
        self._service = service
        self._folder = folder
        self._processes = processes

    def write(self, section: str) -> Path:
        """Write the node's file, also while the service reads it: no reader ever sees half of it."""
        file, partial = self._folder / "config.toml", self._folder / "config.partial"
        partial.write_text(
            f'[node]\nname = "{NODE}"\ndata = "{self._folder / "data"}"\nclock = "trust"\n'
            f"{self.broker.section}{section}"
        )
        return partial.replace(file)

    def start(self, section: str, **environment: str) -> subprocess.Popen[bytes]:
        return self._processes.start(f"services.{self._service}", str(self.write(section)), **environment)

    def output(self) -> str:
        return self._processes.output()


@pytest.fixture
def recorder(broker: LocalBroker) -> Iterator[Recorder]:
    with Recorder(broker.port) as listening:
        yield listening


@pytest.fixture
def eventually() -> object:
    """`eventually(check)` waits until check() is truthy and returns it, or fails after a generous while, naming `what`."""

    def wait(check: object, seconds: float = 30.0, *, what: str = "") -> object:
        assert callable(check)
        end = time.monotonic() + seconds
        while True:
            result = check()
            if result:
                return result
            assert time.monotonic() < end, f"never came true: {what or check}"
            time.sleep(0.02)

    return wait


@pytest.fixture
def free_ports() -> Callable[[], int]:
    return free_port


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path, free_port)
    yield made
    made.kill()


class WrongClock:
    """The system clock as processes with this environment see it; the machine's own stays as it is."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "wrong-clock"
        self.environment = {"PYTHONPATH": str(ROOT / "tests/wrong_clock"), "WRONG_CLOCK": str(self._file)}
        self.be_off_by(0)

    def be_off_by(self, seconds: float) -> None:
        partial = self._file.with_suffix(".partial")
        partial.write_text(f"{seconds:.6f}")
        partial.replace(self._file)

    def say(self, moment: float) -> None:
        self.be_off_by(moment - time.time())


@pytest.fixture
def wrong_clock(tmp_path: Path) -> WrongClock:
    return WrongClock(tmp_path)
