import re
import tomllib
from collections.abc import Iterator
from itertools import groupby, pairwise
from pathlib import Path
from time import time
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import pytest
import tomli_w

from heliograph import topics
from heliograph.messages import Block, Frame, encode
from tests.cli.lists import commands
from tests.cli.test_secrets import make
from tests.conftest import ROOT, free_port
from tests.containers.commands import ON_THE_HOST, RUNNING, STOPPED, while_it_is_stopped, while_it_runs
from tests.containers.compose import Project
from tests.containers.witness import READ_STORE, Stored, Witness, stored
from tests.visitor import NOT_AUTHORIZED, Door

pytestmark = [
    pytest.mark.timeout(480),
    # paho leaves a socket open when the broker goes in the middle of a TLS handshake.
    pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning"),
]

SERVICES = [
    "mosquitto",
    "serial_bridge",
    "modbus_poller",
    "sensor_reader",
    "mqtt_importer",
    "calculator",
    "storage",
    "api",
    "uploader",
    "home_assistant",
]
PRODUCERS = ["serial_bridge", "modbus_poller"]  # whose devices are the simulator, which can be stopped
GAP_SECONDS = 6.0  # far longer than any interval of the test's devices
IN_FLIGHT_SECONDS = 1.0  # a reading younger than this need not be in its producer's outbox yet


class Span(NamedTuple):
    """From the moment when a container was stopped until it was back."""

    begun: float
    up: float


class Node:
    """A running node, seen from outside: its containers, its dashboard's port, its bus, its store."""

    def __init__(self, project: Project, name: str, http: int, secrets: Path, mqtts: int) -> None:
        self.project = project
        self.name = name
        self.secrets = secrets
        self.mqtts = mqtts
        self.witness = Witness(name, mqtts, secrets)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{http}", timeout=10)
        self.killed: dict[str, list[Span]] = {}
        self.restarted: dict[str, list[Span]] = {}
        self.silences: list[Span] = []

    def get(self, path: str, **parameters: str) -> Any:
        """Return the answer as JSON, None while there is none."""
        try:
            answer = self.client.get(f"/api/v1/{path}", params=parameters)
        except httpx.TransportError:
            return None
        return answer.json() if answer.status_code == 200 else None

    def stored(self) -> Stored:
        return stored(self.project.execute("storage", "python", "-c", READ_STORE))

    def devices(self, producer: str) -> set[str]:
        owners = self.witness.observed().owners
        return {device for device, owner in owners.items() if owner == producer}

    def flows(self, since: float) -> bool:
        """Whether every device has a reading in the store, by way of the API, that is younger than this."""
        answer = self.get("series", series=f"{self.name}/*/*", **{"from": str(since), "to": str(time() + 60)})
        if answer is None:
            return False
        fresh = {series.split("/")[1] for series, points in answer["series"].items() if points["time"]}
        return fresh == set(self.witness.observed().owners)

    def settled(self) -> bool:
        """Whether every producer's newest frame is committed, by a status younger than the last reading."""
        observed = self.witness.observed()
        simulated = {device for device, owner in observed.owners.items() if owner in PRODUCERS}
        newest = max(max(observed.readings[device]) for device in simulated) / 1000
        for producer in PRODUCERS:
            status = observed.statuses[producer]
            if status.state == "offline" or status.time <= newest + IN_FLIGHT_SECONDS:
                return False
            if status.facts["committed"] != status.facts["last"]:
                return False
        return True

    def disturb(self, victim: str) -> None:
        """Kill and then restart one container; readings flow again after each."""
        begun = time()
        self.project.kill(victim)
        self._recover(victim, self.killed, begun)
        begun = time()
        self.project.compose("restart", victim)
        self._recover(victim, self.restarted, begun)

    def rest(self) -> None:
        """Stop the devices, and wait until all their readings are stored."""
        begun = time()
        self.project.compose("stop", "simulator")
        self.silences.append(Span(begun, time()))
        self.project.eventually(self.settled, "every frame is committed")

    def wake(self) -> None:
        """Start the devices again."""
        self.project.compose("start", "simulator")
        now = time()
        self.project.eventually(lambda: self.flows(now), "readings flow again")

    def _recover(self, victim: str, spans: dict[str, list[Span]], begun: float) -> None:
        up = time()
        spans.setdefault(victim, []).append(Span(begun, up))
        self.project.eventually(lambda: self.flows(up), f"readings flow with {victim} back")


def configuration() -> dict[str, Any]:
    """The simulated site's configuration, with shorter intervals."""
    options = tomllib.loads((ROOT / "simulator/compose.toml").read_text())
    options["storage"] = {"commit_seconds": 1.0}
    # Of the sensors of the machine under test only its health, which every machine has.
    options["sensor_reader"] = {"system_interval": 0.5, "ignore": ["[!s]*", "s[!y]*"]}
    for line in options["modbus_poller"]["lines"]:
        for device in line["devices"]:
            device["interval"] = 0.5
    return options


@pytest.fixture(scope="module")
def node(engine: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("node")
    secrets, config = folder / "secrets", folder / "config.toml"
    made = make(secrets, "--tls", "127.0.0.1")
    assert made.returncode == 0, made.stderr
    options = configuration()
    config.write_text(tomli_w.dumps(options))
    http, mqtts = free_port(), free_port()
    environment = engine | {
        "HELIOGRAPH_DEMO_CONFIG": str(config),
        "HELIOGRAPH_SECRETS": str(secrets),
        "HELIOGRAPH_HTTP": f"127.0.0.1:{http}",
        "HELIOGRAPH_MQTTS": f"127.0.0.1:{mqtts}",
    }
    project = Project(f"heliograph-test-{uuid4().hex[:8]}", environment, ROOT / "tests/containers/override.yaml")
    project.compose("build")
    try:
        project.start()
        running = Node(project, options["node"]["name"], http, secrets, mqtts)
        with running.witness.bus, running.client:
            project.eventually(
                lambda: set(running.witness.observed().owners.values()) == {*PRODUCERS, "sensor_reader"},
                "producers declare",
            )
            yield running
    finally:
        project.remove()


@pytest.fixture
def door(node: Node) -> Iterator[Door]:
    opened = Door(node.secrets, {"tls": node.mqtts})
    yield opened
    opened.close()


def test_readings_of_every_device_come_out_of_the_api(node: Node) -> None:
    begun = time()
    node.project.eventually(lambda: node.flows(begun), "readings flow")
    assert {device["device"] for device in node.get("devices")} == set(node.witness.observed().owners)


def test_the_health_of_the_machine_is_read_inside_a_container(node: Node) -> None:
    for channel in ("memory_used", "disk_used", "load", "uptime"):
        series = f"{node.name}/system/{channel}"

        def points(series: str = series) -> list[float]:
            answer = node.get("series", series=series, **{"from": str(time() - 600), "to": str(time() + 60)}) or {}
            times: list[float] = answer.get("series", {}).get(series, {}).get("time", [])
            return times

        node.project.eventually(points, f"{series} is stored")


def test_a_target_that_is_added_gets_what_is_stored(node: Node) -> None:
    put = 'echo \'{"kind": "file", "from": "beginning"}\' | heliograph uploads put card'
    node.project.execute("uploader", "sh", "-c", put)

    def target() -> dict[str, Any] | None:
        """From the api, which asks the uploader over the broker."""
        targets: list[dict[str, Any]] = (node.get("uploads") or {}).get("targets", [])
        return next((one for one in targets if one["name"] == "card" and one["sent"]), None)

    card = node.project.eventually(target, "the target gets something")
    assert card
    assert (card["kind"], card["configured"]) == ("file", False)
    written = node.project.execute("uploader", "sh", "-c", "cat $(find /data -name 'card-*.csv')")
    assert written.startswith("time,node,device,name,value,unit\n")
    assert f",{node.name}," in written


def test_the_dashboard_is_served_with_all_its_parts(node: Node) -> None:
    for path in ("/", "/vendor/lit/index.js", "/vendor/uplot/dist/uPlot.esm.js"):
        assert node.client.get(path).status_code == 200, path


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_has_no_rights_it_does_not_need(node: Node, service: str) -> None:
    script = "id -u; touch /mark 2>/dev/null && echo writable; grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/1/status"
    uid, *rest = node.project.execute(service, "sh", "-c", script).split()
    assert uid != "0"
    assert rest == ["CapEff:", "0" * 16, "CapBnd:", "0" * 16, "NoNewPrivs:", "1"]
    assert node.project.inspect(service)["HostConfig"]["Memory"] > 0


@pytest.mark.parametrize(
    ("service", "secrets"), [("storage", ["storage", "store_url"]), ("modbus_poller", ["modbus_poller"])]
)
def test_a_service_sees_only_its_own_password_and_the_store_s_if_it_opens_the_store(
    node: Node, service: str, secrets: list[str]
) -> None:
    assert node.project.execute(service, "ls", "/run/secrets").split() == secrets


def test_storage_reaches_the_broker_and_nothing_else(node: Node) -> None:
    assert list(node.project.inspect("storage")["NetworkSettings"]["Networks"]) == [f"{node.project.name}_bus"]


@pytest.mark.parametrize("service", ["serial_bridge", "storage", "api"])
def test_an_image_holds_one_service_and_no_other(node: Node, service: str) -> None:
    script = "import services; print(*services.__path__)"
    folder = node.project.execute(service, "python", "-c", script).strip()
    assert node.project.execute(service, "ls", folder).split() == [service]


def test_the_command_is_in_every_container_and_says_where_it_works(node: Node) -> None:
    for service in SERVICES[1:]:
        assert node.project.execute(service, "heliograph", "version").startswith("heliograph ")
    for service, name, where in (
        ("api", "store", "docker compose exec storage heliograph store"),
        ("storage", "start", "scripts/heliograph start"),
    ):
        refused = f"heliograph {name} --help 2>&1 || echo refused"
        assert re.search(rf"{where}.*\nrefused", node.project.execute(service, "sh", "-c", refused))


def test_a_user_that_is_added_gets_in_while_the_broker_runs(node: Node, door: Door) -> None:
    """Case K4: services that an update brought stayed locked out until somebody restarted the broker."""
    since = node.project.started("mosquitto")
    made = make(node.secrets, "--user", "plug")
    assert made.returncode == 0, made.stderr
    visitor = door.enter("plug")
    node.project.eventually(lambda: visitor.client.is_connected(), "the broker knows the new user")
    assert node.project.started("mosquitto") == since


def test_another_configuration_changes_every_service_but_the_broker(node: Node) -> None:
    """Case K3: `up` with another configuration changed nothing."""
    one, other = (node.project.hashes(HELIOGRAPH_CONFIG=path) for path in ("one.toml", "other.toml"))
    assert {service for service in one if one[service] == other[service]} == {"mosquitto", "simulator"}


def test_images_share_every_layer_but_their_own(node: Node) -> None:
    """Case K5: an update cost 0.5 GB of images."""
    layers = {service: node.project.layers(service) for service in SERVICES if service != "mosquitto"}
    shared = next(iter(layers.values()))[:-1]
    assert all(own[:-1] == shared for own in layers.values())
    for service in layers:
        assert node.project.newest_layer_bytes(service) < 10_000_000, service


def test_a_wrong_password_is_refused(door: Door) -> None:
    assert door.enter("storage", password="wrong").greeting == NOT_AUTHORIZED


def test_a_forged_frame_is_refused_and_does_not_reach_the_store(node: Node, door: Door) -> None:
    frame = encode(Frame([Block("forged", ("power",), [[time(), 1.0]])]))
    topic = topics.service(node.name, "serial_bridge", "journal")
    for forger in ("modbus_poller", "storage", "viewer"):
        assert door.enter(forger).publish(topic, frame) == NOT_AUTHORIZED
    sent = time()
    node.project.eventually(lambda: node.flows(sent), "readings flow")
    assert "forged" not in {device for device, _ in node.stored().readings}


def test_killing_and_restarting_each_container_loses_nothing(node: Node) -> None:
    for victim in ("mosquitto", "storage", "api"):
        node.disturb(victim)
    node.rest()
    check(node)
    # Since its start, storage has been killed and the producers have not: so their counters and the store agree.
    stored_now, statuses = node.stored(), node.witness.observed().statuses
    for producer in PRODUCERS:
        assert len(stored_now.of(node.devices(producer))) == statuses[producer].counters["readings"]

    node.wake()
    for victim in PRODUCERS:
        node.disturb(victim)
    node.rest()
    check(node)


def check(node: Node) -> None:
    """Prove that each frame ever written to an outbox is stored once, and that no reading is missing."""
    observed, stored_now = node.witness.observed(), node.stored()
    assert len(stored_now.readings) == len(set(stored_now.readings))

    for producer in PRODUCERS:
        status = observed.statuses[producer]
        outboxes = [row for row in stored_now.progress if row["producer"] == f"{node.name}/{producer}"]
        assert len(outboxes) == 1, f"{producer} has lost its outbox"
        progress = outboxes[0]
        assert progress["epoch"] == status.facts["epoch"]
        assert progress["last"] == status.facts["last"] > 0
        assert progress["lost"] == 0
        for counter in ("frames_dropped", "outbox_damaged", "readings_lost_in_memory", "set_aside"):
            assert status.counters.get(counter, 0) == 0, counter

        killed, restarted = node.killed.get(producer, []), node.restarted.get(producer, [])
        readings = sorted(stored_now.of(node.devices(producer)))
        on_the_bus = {(device, ms) for device in node.devices(producer) for ms in observed.readings[device]}
        for device, ms in on_the_bus - set(readings):
            assert any(begun - IN_FLIGHT_SECONDS <= ms / 1000 <= up for begun, up in killed), f"{device} at {ms}"
        away = [*killed, *restarted, *node.silences]
        for device, group in groupby(readings, key=lambda reading: reading[0]):
            for (_, before), (_, after) in pairwise(group):
                gap = after - before > GAP_SECONDS * 1000
                assert not gap or any(before <= up * 1000 and begun * 1000 <= after for begun, up in away), (
                    f"{device} after {before}"
                )


def test_what_is_stopped_says_goodbye_before_the_broker_stops(node: Node) -> None:
    """Case K8: the broker stopped with the others, and devices stayed online in what it kept."""
    node.project.compose("stop")
    node.project.compose("start", "mosquitto")
    command = (
        "mosquitto_sub -u viewer -P {} -W 3 -v -t heliograph/+/devices/+/availability -t heliograph/+/services/+/status"
    ).format((node.secrets / "viewer").read_text().strip())
    kept = node.project.execute("mosquitto", "sh", "-c", f"XDG_CONFIG_HOME=/tmp {command} || true").splitlines()
    states = dict(line.split(" ", 1) for line in kept if line.startswith("heliograph/"))
    assert len(states) > len(PRODUCERS)
    assert not [topic for topic, state in states.items() if "offline" not in state]
    node.project.start()


def test_every_command_does_in_its_container_what_the_pages_say(node: Node) -> None:
    node.project.eventually(lambda: node.flows(time() - IN_FLIGHT_SECONDS), "readings flow again")
    for service in RUNNING:
        while_it_runs(node.project, service, node.name)
    for service in STOPPED:
        while_it_is_stopped(node.project, service)


def test_every_command_is_one_of_a_container_or_of_the_host() -> None:
    called = {call.arguments for calls in (*RUNNING.values(), *STOPPED.values()) for call in calls}
    missing = [name for name in commands() if not any(f"{call} ".startswith(f"{name} ") for call in called)]
    assert set(missing) == ON_THE_HOST
