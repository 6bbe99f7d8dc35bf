"""A real Home Assistant beside a node: it shows every channel, switches, and refuses nothing."""

import json
import re
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import tomli_w

from heliograph import topics
from heliograph.bus import Bus, Message
from heliograph.config import Broker
from heliograph.messages import Channel, Info, Reading, decode, encode
from services.home_assistant import device_classes
from services.home_assistant.entity_description import describe
from tests.cli.test_secrets import make
from tests.conftest import ROOT, free_port
from tests.containers import core
from tests.containers.compose import Project
from tests.containers.conftest import SCRATCH, variables
from tests.containers.core import Core
from tests.containers.test_node import configuration

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning"),
]

NODE = "simulated"
SETTINGS = """
[device]
model = "EPEVER Tracer, its settings"
document = "EPEVER B-series Modbus specification V2.5"
table = "holding"

[channels]
disconnect_voltage = { address = 0x9003, scale = 0.01, unit = "V", writable = [14.0, 17.0] }
"""
INTERVAL_SECONDS = 2.0
PATIENCE_SECONDS = 240.0  # Home Assistant takes its time on a machine that has much else to do
NOTHING = ("unknown", "unavailable", "")
# Complaints of Home Assistant's log about our messages; not that the machine is slow.
COMPLAINT = re.compile(
    r"(WARNING|ERROR|CRITICAL).*\[homeassistant\."
    r"(components\.(mqtt|sensor|binary_sensor|switch|number)\b|helpers\.(template|entity))"
)
SLOWNESS = re.compile(r"No ACK from MQTT|is taking (over|longer)")


class House:
    """A node, its Home Assistant, a recorder of the node's messages, and a publisher that acts as a device."""

    def __init__(self, project: Project, home: Core, secrets: Path, mqtts: int) -> None:
        self.project = project
        self.home = home
        self.secrets = secrets
        self.mqtts = mqtts
        self.infos: dict[str, Info] = {}
        self.values: dict[str, dict[str, set[Any]]] = defaultdict(lambda: defaultdict(set))
        self._lock = threading.Lock()
        self.recorder = Bus(self.broker("viewer"), "recorder", "viewer")
        self.recorder.subscribe(topics.every_device("info", NODE), self._info)
        self.recorder.subscribe(topics.every_device("state", NODE), self._state)
        self.publisher = Bus(self.broker("mqtt_importer"), "publisher", "mqtt_importer")

    def broker(self, user: str) -> Broker:
        password = (self.secrets / user).read_text().strip()
        return Broker(host="127.0.0.1", port=self.mqtts, password=password, ca=str(self.secrets / "broker/ca.crt"))

    def _info(self, message: Message) -> None:
        device = topics.parse(message.topic).owner
        with self._lock:
            if message.payload:
                self.infos[device] = decode(Info, message.payload)
            else:
                self.infos.pop(device, None)

    def _state(self, message: Message) -> None:
        with self._lock:
            for channel, value in decode(Reading, message.payload).values.items():
                self.values[topics.parse(message.topic).owner][channel].add(value)

    def channels(self) -> dict[tuple[str, str], Channel]:
        """Every channel that has ever had a value."""
        with self._lock:
            return {
                (device, name): channel
                for device, info in self.infos.items()
                for name, channel in info.channels.items()
                if self.values[device][name]
            }

    def wrong(self) -> list[str]:
        """What Home Assistant shows otherwise than the node reports it."""
        shown = self.home.states()
        return [
            reason
            for (device, name), channel in self.channels().items()
            if (reason := self._wrong(shown, device, name, channel))
        ]

    def _wrong(self, shown: dict[str, dict[str, Any]], device: str, name: str, channel: Channel) -> str:
        entity = f"{platform(channel)}.{device}_{name}"
        if entity not in shown:
            return f"{entity} is not there"
        state, attributes = shown[entity]["state"], shown[entity]["attributes"]
        if state in NOTHING:
            return f"{entity} is {state}"
        with self._lock:
            reported = set(self.values[device][name])
        value: Any
        if channel.kind == "state":
            value = {"on": True, "off": False}.get(state)
        elif channel.kind == "text":
            value = state
        else:
            value = float(state)
            described = describe(name, channel)
            expected = (described.unit, described.device_class, "" if channel.writable else described.state_class)
            actual = tuple(attributes.get(key, "") for key in ("unit_of_measurement", "device_class", "state_class"))
            if actual != expected:
                return f"{entity} is {actual}, not {expected}"
        return "" if value in reported else f"{entity} is {state}, which the node did not report"

    def publish(self, device: str, info: Info, **values: float | bool | str) -> None:
        """Publish as a device."""
        for kind, payload in (("info", encode(info)), ("availability", b"online")):
            topic = topics.device(NODE, device, "info" if kind == "info" else "availability")
            assert self.publisher.publish(topic, payload, qos=1, retain=True)
        assert self.publisher.publish(topics.device(NODE, device, "state"), encode(Reading(1.0e9, values)), qos=1)

    def eventually(self, check: Callable[[], object], what: str) -> None:
        """As the project's own, but with fewer checks: every check is a request to Home Assistant."""

        def look() -> object:
            time.sleep(0.4)
            return check()

        self.project.eventually(look, what)

    def complaints(self) -> list[str]:
        lines = self.project.compose("logs", "homeassistant").splitlines()
        return [line for line in lines if COMPLAINT.search(line) and not SLOWNESS.search(line)]


def platform(channel: Channel) -> str:
    if channel.kind == "state":
        return "switch" if channel.writable == (0, 1) else "binary_sensor"
    return "number" if channel.writable and channel.kind != "text" else "sensor"


@pytest.fixture(scope="module")
def house(engine: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    image = variables("images", str(SCRATCH), "home_assistant")
    folder = tmp_path_factory.mktemp("house")
    secrets, config, settings = folder / "secrets", folder / "config.toml", folder / "settings.toml"
    made = make(secrets, "--tls", "127.0.0.1")
    assert made.returncode == 0, made.stderr
    options = configuration()
    device = {"name": "settings", "model": "/settings.toml", "unit_id": 1}
    options["modbus_poller"]["lines"][1]["devices"].append(device)
    for line in options["modbus_poller"]["lines"]:
        for one in line["devices"]:
            one["interval"] = INTERVAL_SECONDS
    options["sensor_reader"]["system_interval"] = INTERVAL_SECONDS
    config.write_text(tomli_w.dumps(options))
    settings.write_text(SETTINGS)
    mqtts, port, password = free_port(), free_port(), core.password()
    environment = {
        **engine,
        **image,
        "HELIOGRAPH_DEMO_CONFIG": str(config),
        "HELIOGRAPH_SECRETS": str(secrets),
        "HELIOGRAPH_HTTP": f"127.0.0.1:{free_port()}",
        "HELIOGRAPH_MQTTS": f"127.0.0.1:{mqtts}",
        "HOME_ASSISTANT_PORT": str(port),
        "VISITOR_PASSWORD": password,
        "SETTINGS_FILE": str(settings),
    }
    overrides = [ROOT / "tests/containers" / name for name in ("override.yaml", "home_assistant.yaml")]
    project = Project(f"heliograph-test-{uuid4().hex[:8]}", environment, *overrides)
    project.patience = PATIENCE_SECONDS
    project.compose("build")
    try:
        project.start()
        running = House(project, Core(port, password), secrets, mqtts)
        with running.recorder, running.publisher, running.home.http:
            assert running.recorder.wait_connected(60)
            assert running.publisher.wait_connected(60)
            running.home.log_in()
            own = (secrets / "homeassistant").read_text().strip()
            running.eventually(partial(running.home.connect, "mosquitto", "homeassistant", own), "it has the broker")
            yield running
    finally:
        project.remove()


def test_every_device_is_shown_with_unit_class_and_values(house: House) -> None:
    def all_is_there() -> bool:
        devices = {device for device, _ in house.channels()}
        return (
            devices >= {"tracer", "grid", "settings", "emontx", "emonth", "emontx_cm", "system"} and not house.wrong()
        )

    try:
        house.eventually(all_is_there, "everything is shown")
    except AssertionError as error:
        raise AssertionError("\n".join([*house.wrong(), *house.complaints(), str(error)])) from None
    assert len(house.channels()) > 60


def test_home_assistant_accepts_what_our_table_says(house: House) -> None:
    units, states = json.loads(house.project.execute("homeassistant", "python", "-c", core.TABLES))
    for name, rule in device_classes.RULES.items():
        assert rule.units <= set(units[name]), name
        assert rule.states <= set(states[name]), name


def test_a_switch_is_switched_from_home_assistant(house: House) -> None:
    entity = "switch.tracer_load_switch"
    house.eventually(lambda: house.home.state(entity) in ("on", "off"), "the switch is there")
    for state in ("on", "off", "on"):
        house.home.call(f"switch/turn_{state}", entity)
        house.eventually(partial(house.home.shows, entity, state), f"the load is {state}")
    assert house.values["tracer"]["load_switch"] == {True, False}


def test_a_number_is_set_from_home_assistant(house: House) -> None:
    entity = "number.settings_disconnect_voltage"
    house.eventually(lambda: house.home.state(entity) not in NOTHING, "the number is there")
    house.home.call("number/set_value", entity, value=15.5)
    house.eventually(lambda: house.home.state(entity) == "15.5", "the number is set")
    assert 15.5 in house.values["settings"]["disconnect_voltage"]


def test_a_device_that_published_once_is_still_known_when_home_assistant_restarts(house: House) -> None:
    channels = {"open": Channel(kind="state"), "battery": Channel("%"), "mode": Channel(kind="text")}
    house.publish("door", Info("door", channels, service="mqtt_importer"), open=True, battery=87.5)
    entities = {"binary_sensor.door_open": "on", "sensor.door_battery": "87.5"}

    def shown() -> bool:
        states = house.home.states()
        return all(states.get(entity, {}).get("state") == state for entity, state in entities.items())

    house.eventually(shown, "the door is shown")
    house.project.compose("restart", "homeassistant")
    house.eventually(shown, "the door is shown again")


def test_a_device_that_is_forgotten_is_gone(house: House, tmp_path: Path) -> None:
    house.publish("old", Info("old", {"power": Channel("W")}, service="mqtt_importer"), power=1.5)
    house.eventually(lambda: house.home.state("sensor.old_power") == "1.5", "it is shown")
    broker = house.broker("mqtt_importer")
    config = tmp_path / "config.toml"
    section = {"host": broker.host, "port": broker.port, "password": broker.password, "ca": broker.ca}
    config.write_text(tomli_w.dumps({"node": {"name": NODE}, "broker": section}))
    command = [
        sys.executable,
        "-m",
        "cli",
        "forget",
        f"{NODE}/old",
        "--config",
        str(config),
        "--service",
        "mqtt_importer",
    ]
    subprocess.run(command, check=True, cwd=ROOT, timeout=60)
    house.eventually(lambda: "sensor.old_power" not in house.home.states(), "it is gone")


def test_a_service_that_dies_is_seen(house: House) -> None:
    entity = "sensor.grid_power"
    house.eventually(lambda: house.home.state(entity) not in NOTHING, "the meter is shown")
    house.project.compose("stop", "modbus_poller")
    house.eventually(lambda: house.home.state(entity) == "unavailable", "it is unavailable")
    house.project.compose("start", "modbus_poller")
    house.eventually(lambda: house.home.state(entity) not in NOTHING, "it is back")


def test_home_assistant_has_logged_no_complaint(house: House) -> None:
    house.eventually(lambda: not house.wrong(), "everything is shown")
    assert house.complaints() == []
