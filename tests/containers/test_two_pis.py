"""docs/second-pi.md, In containers: its files and commands start two machines, each a compose project."""

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.cli.test_secrets import make
from tests.conftest import ROOT, free_port
from tests.containers.compose import Project
from tests.containers.sender import Sender
from tests.containers.witness import READ_STORE, stored
from tests.system.numbered import START

pytestmark = pytest.mark.timeout(480)
PAGE = (ROOT / "docs/second-pi.md").read_text()
CONTAINERS = PAGE.split("\n## In containers\n")[1].split("\n## ")[0]
OVERRIDE = ROOT / "tests/containers/override.yaml"
PRODUCERS = ("serial_bridge", "modbus_poller", "sensor_reader", "mqtt_importer")
READINGS = """
[sensor_reader]
count = 1000000
per_second = 20
"""
FULL_ROUNDS = 20
TWIN = """
[node]
name = "shed"
clock = "trust"
"""


def file_of(machine: str) -> str:
    """Return a config.toml of the page."""
    block = re.search(rf"```toml\n# config\.toml of {machine}\n(.*?)```", PAGE, re.DOTALL)
    assert block
    return block[1]


def here(text: str, **replaced: str) -> str:
    """Return a file of the page with what is different on this machine: the devices are the simulator's."""
    devices = {"epever_tracer": "tcp://simulator:5020", "eastron_sdm120": "rtu+tcp://simulator:4001"}
    port = next(port for model, port in devices.items() if model in text)
    for old, new in {"/dev/ttyUSB0": port, "[node]\n": '[node]\nclock = "trust"\n', **replaced}.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


class Pi:
    """A machine with a checkout of its own, but for the code: its config.toml, secrets and containers."""

    def __init__(self, folder: Path, name: str, engine: dict[str, str], *files: Path, address: str) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self.secrets = self.folder / "secrets"
        self.mqtts = free_port()
        http = free_port()
        environment = engine | {
            "HELIOGRAPH_DEMO_CONFIG": str(self.folder / "config.toml"),
            "HELIOGRAPH_SECRETS": str(self.secrets),
            "HELIOGRAPH_HTTP": f"127.0.0.1:{http}",
            "HELIOGRAPH_MQTTS": f"{address}:{self.mqtts}",
        }
        self.project = Project(f"heliograph-test-{name}-{uuid4().hex[:8]}", environment, *files, OVERRIDE, profiles="")
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{http}", timeout=10)

    def start(self, config: str) -> None:
        (self.folder / "config.toml").write_text(config)
        self.project.compose("build")
        self.up()

    def up(self) -> None:
        """Start the containers as the page does, without waiting for anything."""
        self.project.compose("up", "--detach")

    def get(self, path: str, **parameters: str) -> Any:
        """Return the answer as JSON, whatever its status; None while there is none."""
        try:
            return self.client.get(f"/api/v1/{path}", params=parameters).json()
        except (httpx.TransportError, json.JSONDecodeError):
            return None

    def online(self) -> set[str]:
        """Return the devices that are online on the page, as node/device, but for the machine's own sensors."""
        devices = self.get("devices")
        names = {f"{one['node']}/{one['device']}" for one in devices or [] if one["availability"] == "online"}
        return {name for name in names if not name.endswith("/system")}

    def problems(self) -> dict[str, str]:
        return {one["code"]: one["summary"] for one in (self.get("health") or {}).get("problems", [])}

    def numbers(self) -> list[int]:
        """Return the numbered readings that are stored here, in order, as often as they are."""
        rows = stored(self.project.execute("storage", "python", "-c", READ_STORE)).of({"counter"})
        return sorted(round(ms / 1000 - START) for _, ms in rows)

    def remove(self) -> None:
        self.client.close()
        self.project.remove()


@pytest.fixture
def pi(engine: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Pi]]:
    made: list[Pi] = []

    def new(name: str, *files: Path, address: str = "127.0.0.1") -> Pi:
        made.append(Pi(tmp_path, name, engine, *files, address=address))
        return made[-1]

    yield new
    for one in made:
        one.remove()


@pytest.fixture
def address(engine: dict[str, str]) -> str:
    """An address of this machine that containers reach."""
    command = ["docker", "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}"]
    return subprocess.check_output(command, text=True).strip()


def test_a_pi_that_only_reads_and_its_hub_lose_nothing(
    pi: Callable[..., Pi], address: str, request: pytest.FixtureRequest
) -> None:
    """Case K1."""
    rounds = FULL_ROUNDS if request.config.getoption("--full") else 1
    hub = pi("hub", address=address)
    assert "heliograph secrets --tls hub.local 192.168.1.10 --for shed\n" in CONTAINERS
    done = make(hub.secrets, "--tls", address, "--for", "shed")
    assert done.returncode == 0, done.stderr
    hub.start(here(file_of("the hub")))

    assert "COMPOSE_FILE=compose.yaml:compose.producers.yaml" in CONTAINERS
    shed = pi("shed", ROOT / "compose.producers.yaml", ROOT / "tests/containers/numbered.yaml")
    assert "scp -r hub.local:heliograph/secrets/for/shed secrets" in CONTAINERS
    (hub.secrets / "for/shed").rename(shed.secrets)
    broker = re.search(r"```toml\n(.*?)```", CONTAINERS, re.DOTALL)
    devices = re.search(r"^\[\[modbus.*", file_of("shed"), re.DOTALL | re.MULTILINE)
    assert broker
    assert devices
    different = {"192.168.1.10": address, "8883": str(hub.mqtts)}
    shed.start(here(broker[1] + devices[0], **different) + READINGS)
    assert set(shed.project.compose("ps", "--services").split()) == {*PRODUCERS, "simulator"}  # and no store

    hub.client.headers["X-Api-Key"] = (hub.secrets / "api.key").read_text().strip()
    sender = Sender(hub.client)
    sender.start()
    both = {"hub/grid", "shed/tracer"}
    hub.project.eventually(lambda: both <= hub.online(), "both machines' devices are online on the hub's page")
    assert {node["node"] for node in hub.get("nodes")} == {"hub", "shed"}
    refuses_a_second_storage(hub)
    says_where_it_can_be_asked(shed)

    for _ in range(rounds):
        disturb(hub, shed)
    hub.project.eventually(lambda: both <= hub.online(), "both are online again")
    then, goal = len(sender.accepted), hub.numbers()[-1] + 50
    hub.project.eventually(lambda: len(sender.accepted) > then, "the hub accepts readings again")
    sender.stop()
    wanted = list(range(goal))
    hub.project.eventually(
        lambda: [number for number in hub.numbers() if number < goal] == wanted,
        "each reading of shed is stored on the hub, once",
    )
    own = "hub/sender/number"
    hub.project.eventually(lambda: len(sender.stored(own)) >= len(sender.accepted), "all readings of the hub are")
    assert sender.stored(own) == sorted(sender.accepted.items())
    measured = "shed/tracer/pv_voltage"
    now = {"from": str(time.time() - 3600), "to": str(time.time() + 60)}
    assert hub.get("series", series=measured, **now)["series"][measured]["time"]
    assert "Traceback" not in hub.project.compose("logs") + shed.project.compose("logs")


def disturb(hub: Pi, shed: Pi) -> None:
    """Kill and restart containers on either side, then stop the hub while everything on the other side restarts."""
    for one, victims in ((hub, ("mosquitto", "storage")), (shed, ("modbus_poller", "sensor_reader"))):
        for victim in victims:
            one.project.kill(victim)
            one.project.compose("restart", victim)
    hub.project.compose("stop")
    shed.project.compose("restart")
    hub.up()


def refuses_a_second_storage(hub: Pi) -> None:
    """Start a storage of shed, with a store of its own, beside that of the hub, until the hub's page says that it refuses."""
    twin = hub.folder / "twin.toml"
    twin.write_text(TWIN)
    volumes = ("--volume", f"{twin}:/twin.toml:ro", "--volume", "/data/store")
    command = ("storage", "python", "-m", "services.storage", "/twin.toml")
    container = hub.project.compose("run", "--detach", "--no-deps", *volumes, *command).split()[-1]
    try:
        hub.project.eventually(lambda: "second_storage" in hub.problems(), "the younger storage refuses")
        summary = hub.problems()["second_storage"]
        assert "node shed: not stored here, because the storage of node hub (another store) owns it" in summary
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", container], check=True, capture_output=True)
    hub.project.eventually(lambda: "second_storage" not in hub.problems(), "it is no problem once it has gone")


def says_where_it_can_be_asked(shed: Pi) -> None:
    """Look after a machine that only reads, with the commands of the page."""
    answer = shed.project.execute("modbus_poller", "sh", "-c", "heliograph status 2>&1; heliograph doctor")
    assert "has the store and the API: name its address with --url" in answer
    assert "shed: nothing found" in answer


def test_two_complete_nodes_side_by_side_know_nothing_of_each_other(pi: Callable[..., Pi]) -> None:
    roof, barn = pi("roof"), pi("barn")
    for one in (roof, barn):
        done = make(one.secrets)
        assert done.returncode == 0, done.stderr
    roof.start(here(file_of("roof")))
    barn.start(here(file_of("barn")))
    roof.project.eventually(lambda: roof.online() == {"roof/grid"}, "what roof reads is online, and nothing else")
    barn.project.eventually(lambda: barn.online() == {"barn/tracer"}, "what barn reads is online, and nothing else")
    # and nothing of the samples (case K13)
    assert {one["device"] for one in roof.get("devices")} <= {"grid", "system"}
    assert [node["node"] for node in roof.get("nodes")] == ["roof"]
    assert [node["node"] for node in barn.get("nodes")] == ["barn"]
