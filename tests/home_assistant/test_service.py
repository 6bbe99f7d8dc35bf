"""The whole service on a broker with the project's users and rules."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from heliograph import topics
from heliograph.bus import Bus, Message
from heliograph.config import Broker
from heliograph.messages import Channel, Info, Reading, encode
from tests.conftest import ROOT, GuardedBroker, Processes
from tests.home_assistant.rules import refusals

Eventually = Callable[[Callable[[], object]], object]
NODE = "pi_1"
QUICK = "tests.home_assistant.quick"
METER = "homeassistant/device/pi_U1_meter/config"
MIRROR = "homeassistant/heliograph/pi_U1_door/state"
POWER = Info("SDM120", {"power": Channel("W")}, 5.0, "modbus_poller")
DOOR = Info("door", {"open": Channel(kind="state"), "battery": Channel("%")}, 0.0, "mqtt_importer")


class House:
    """A producer, Home Assistant, and an observer who sees everything, at a broker with the project's users and rules."""

    def __init__(self, folder: Path, broker: GuardedBroker, processes: Processes) -> None:
        self.folder = folder
        self.broker = broker
        self._processes = processes
        self.newest: dict[str, bytes] = {}
        self.payloads: dict[str, list[bytes]] = {}  # not the retained ones
        self._lock = threading.Lock()
        broker.add_user("plug", "topic readwrite #")  # another program, which may read and write everything
        self.observer = self.enter("plug")
        self.observer.subscribe("#", self._seen)
        self.producer = self.enter("modbus_poller")
        self.home = self.enter("homeassistant")

    def enter(self, user: str) -> Bus:
        return Bus(Broker(port=self.broker.port, password=self.broker.password(user)), "visitor", user)

    def start(self, options: str = "", module: str = "services.home_assistant") -> "subprocess.Popen[bytes]":
        file = self.folder / "config.toml"
        file.write_text(
            f'[node]\nname = "{NODE}"\ndata = "{self.folder}/data"\nclock = "trust"\n'
            f"{self.broker.section}[home_assistant]\n{options}"
        )
        return self._processes.start(module, str(file))

    def _seen(self, message: Message) -> None:
        with self._lock:
            self.newest[message.topic] = message.payload
            if not message.retained:
                self.payloads.setdefault(message.topic, []).append(message.payload)

    def json(self, topic: str) -> Any:
        payload = self.newest.get(topic)
        return json.loads(payload) if payload else None

    def count(self, topic: str) -> int:
        return len(self.payloads.get(topic, []))

    def counter(self, name: str) -> int:
        status = self.json(topics.service(NODE, "home_assistant", "status")) or {}
        return int(status.get("counters", {}).get(name, 0))

    def declare(self, device: str, info: Info) -> None:
        assert self.producer.publish(topics.device(NODE, device, "info"), encode(info), qos=1, retain=True)
        assert self.producer.publish(topics.device(NODE, device, "availability"), b"online", qos=1, retain=True)

    def clear(self, device: str) -> None:
        for topic in (topics.device(NODE, device, "info"), topics.device(NODE, device, "availability")):
            assert self.producer.publish(topic, b"", qos=1, retain=True)

    def state(self, device: str, **values: float | bool | str) -> None:
        assert self.producer.publish(topics.device(NODE, device, "state"), encode(Reading(1.0e9, values)), qos=1)

    def shows(self, device_topic: str, *components: str) -> bool:
        message = self.json(device_topic)
        return message is not None and set(message["cmps"]) == set(components)


@pytest.fixture
def house(
    tmp_path: Path, guarded_broker: GuardedBroker, processes: Processes, eventually: Eventually
) -> Iterator[House]:
    made = House(tmp_path, guarded_broker, processes)
    with made.observer, made.producer, made.home:
        assert all(bus.wait_connected(30) for bus in (made.observer, made.producer, made.home))
        assert made.observer.publish("observer", b"ready", qos=1)  # after its own subscription
        eventually(lambda: "observer" in made.newest)
        yield made


def test_a_device_is_announced_once_and_removed_with_its_description(house: House, eventually: Eventually) -> None:
    house.declare("meter", POWER)
    house.start()
    eventually(lambda: house.shows(METER, "sensor_power"))
    message = house.json(METER)
    assert refusals("pi_U1_meter", message) == []
    assert [one["t"].rpartition("/")[2] for one in message["avty"]] == ["availability", "status"]
    assert message["stat_t"] == f"heliograph/{NODE}/devices/meter/state"

    house.declare("meter", POWER)  # nothing new
    house.declare("other", POWER)
    eventually(lambda: house.shows("homeassistant/device/pi_U1_other/config", "sensor_power"))
    assert house.count(METER) == 1

    house.clear("meter")
    eventually(lambda: house.newest[METER] == b"")


def test_our_orphans_are_removed_and_other_programs_devices_stay(house: House, eventually: Eventually) -> None:
    ours = {"dev": {"ids": ["x"]}, "o": {"name": "Heliograph"}, "cmps": {"sensor_x": {"p": "sensor", "uniq_id": "x"}}}
    theirs = {**ours, "o": {"name": "Zigbee2MQTT"}}
    kept = {
        "homeassistant/device/pi_U1_gone/config": (ours, False),
        "homeassistant/device/pi_U1_theirs/config": (theirs, True),
        "homeassistant/device/barn_gone/config": (ours, True),  # of another node
        "homeassistant/device/0x00158d/config": (ours, True),
        "homeassistant/device/pi_U1_odd/config": (ours, True),  # its description cannot be read
    }
    for topic, (message, _) in kept.items():
        assert house.observer.publish(topic, json.dumps(message).encode(), qos=1, retain=True)
    assert house.observer.publish("homeassistant/device/pi_U1_broken/config", b"{", qos=1, retain=True)
    assert house.producer.publish(topics.device(NODE, "odd", "info"), b"{", qos=1, retain=True)
    eventually(lambda: set(kept) <= set(house.newest))
    house.start(module=QUICK)
    eventually(lambda: house.counter("orphans_removed") == 1)
    assert {topic: bool(house.newest[topic]) for topic in kept} == {topic: stays for topic, (_, stays) in kept.items()}
    assert house.newest["homeassistant/device/pi_U1_broken/config"] == b"{"
    assert house.counter("set_aside") == 1


def test_a_service_that_restarts_publishes_nothing_twice(house: House, eventually: Eventually) -> None:
    house.declare("meter", POWER)
    first = house.start()
    eventually(lambda: house.shows(METER, "sensor_power"))
    first.send_signal(signal.SIGTERM)
    assert first.wait(10) == 0
    house.declare("late", POWER)
    house.start()
    eventually(lambda: house.shows("homeassistant/device/pi_U1_late/config", "sensor_power"))
    assert house.count(METER) == 1


def test_a_channel_that_went_while_the_service_was_away_is_removed(house: House, eventually: Eventually) -> None:
    house.declare("meter", Info("SDM120", {"power": Channel("W"), "voltage": Channel("V")}, 5.0, "modbus_poller"))
    first = house.start()
    eventually(lambda: house.shows(METER, "sensor_power", "sensor_voltage"))
    first.send_signal(signal.SIGTERM)
    assert first.wait(10) == 0
    house.declare("meter", POWER)
    house.start(module=QUICK)
    eventually(lambda: house.shows(METER, "sensor_power"))
    *_, removing, removed = [json.loads(payload)["cmps"] for payload in house.payloads[METER]]
    assert removing["sensor_voltage"] == {"p": "sensor"}
    assert set(removed) == {"sensor_power"}


def test_discovery_is_published_again_when_home_assistant_starts(house: House, eventually: Eventually) -> None:
    house.declare("meter", POWER)
    house.start(module=QUICK)
    eventually(lambda: house.shows(METER, "sensor_power"))
    assert house.home.publish("homeassistant/status", b"online")
    eventually(lambda: house.count(METER) == 2)


def test_the_states_of_irregular_devices_are_merged_and_retained(house: House, eventually: Eventually) -> None:
    service = house.start()
    house.declare("other", POWER)
    eventually(lambda: house.shows("homeassistant/device/pi_U1_other/config", "sensor_power"))

    def mirrored(**values: float | bool) -> bool:
        state = house.json(MIRROR)
        return state is not None and state["values"] == values

    house.declare("door", DOOR)
    house.state("door", open=True)  # its first message
    eventually(lambda: mirrored(open=True))
    house.state("door", battery=80)
    eventually(lambda: mirrored(open=True, battery=80))
    eventually(lambda: house.json("homeassistant/device/pi_U1_door/config"))
    assert house.json("homeassistant/device/pi_U1_door/config")["stat_t"] == MIRROR

    service.send_signal(signal.SIGTERM)
    assert service.wait(10) == 0
    eventually(lambda: house.counter("devices") == 0)  # its last will
    house.start()
    eventually(lambda: house.counter("devices") == 2)
    house.state("door", open=False)
    eventually(lambda: mirrored(open=False, battery=80))

    house.clear("door")
    eventually(lambda: house.newest[MIRROR] == b"")


def test_devices_come_back_with_a_broker_that_has_forgotten_everything(house: House, eventually: Eventually) -> None:
    house.declare("meter", POWER)
    house.start()
    eventually(lambda: house.shows(METER, "sensor_power"))
    connects = house.producer.connects
    house.broker.kill()
    house.newest.clear()
    house.broker.start()
    eventually(lambda: house.producer.connects > connects and house.producer.connected and house.observer.connected)
    house.declare("meter", POWER)
    eventually(lambda: house.shows(METER, "sensor_power"))


def test_other_nodes_are_shown_if_they_are_named(house: House, eventually: Eventually) -> None:
    topic = topics.device("barn", "meter", "info")
    assert house.producer.publish(topic, encode(POWER), qos=1, retain=True)
    house.declare("meter", POWER)
    house.start('nodes = ["barn"]\ndiscovery_prefix = "homeassistant"')
    eventually(lambda: house.shows("homeassistant/device/barn_meter/config", "sensor_power"))
    assert METER not in house.newest


def test_a_device_is_forgotten_for_good(house: House, eventually: Eventually) -> None:
    house.declare("meter", POWER)
    house.start()
    eventually(lambda: house.shows(METER, "sensor_power"))
    config = str(house.folder / "config.toml")
    command = [sys.executable, "-m", "cli", "forget", f"{NODE}/meter", "--config", config, "--service", "modbus_poller"]
    subprocess.run(command, check=True, cwd=ROOT, timeout=60)
    eventually(lambda: house.newest[METER] == b"")
    assert house.newest[topics.device(NODE, "meter", "info")] == b""
    assert house.newest[topics.device(NODE, "meter", "availability")] == b""


def test_a_name_that_a_device_cannot_have_is_refused_in_one_line(house: House) -> None:
    house.start()
    command = [
        sys.executable,
        "-m",
        "cli",
        "forget",
        f"{NODE}/#",
        "--config",
        str(house.folder / "config.toml"),
        "--service",
        "modbus_poller",
    ]
    done = subprocess.run(command, check=False, cwd=ROOT, timeout=60, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1
