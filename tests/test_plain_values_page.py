"""docs/plain-values.md: its file runs, and each recipe reads what that node publishes."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from heliograph.bus import Bus, Message
from heliograph.config import Broker
from tests.conftest import ROOT, GuardedBroker, LocalBroker, Processes, optional_program

Eventually = Callable[..., Any]
PAGE = (ROOT / "docs/plain-values.md").read_text()
RECIPES = dict(section.split("\n", 1) for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:])
TOPICS = set(re.findall(r"heliograph/house/devices/grid/(?:value/(?:\w+|\+)|availability)", PAGE))
DEVICE = "heliograph/house/devices/grid/"


def block(title: str, kind: str, number: int = 0) -> str:
    blocks: list[str] = re.findall(rf"```{kind}\n(.*?)```", RECIPES[title], re.DOTALL)
    return blocks[number]


def of_yaml(text: str) -> Any:
    return pytest.importorskip("yaml").safe_load(text)  # there is no wheel of it for 32-bit machines


@contextmanager
def listening(port: int, user: str, password: str, topic_filter: str) -> Iterator[dict[str, str]]:
    """What is retained, and what comes: topics and the newest payload."""
    received: dict[str, str] = {}

    def note(message: Message) -> None:
        received[message.topic] = message.payload.decode()

    with Bus(Broker(port=port, password=password), "visitor", user) as bus:
        bus.subscribe(topic_filter, note)
        assert bus.wait_connected(20)
        yield received


def test_every_recipe_reads_what_the_node_of_the_page_publishes(
    tmp_path: Path, guarded_broker: GuardedBroker, processes: Processes, eventually: Eventually
) -> None:
    user, rules = block("Where the broker is", "acl").removeprefix("user ").split("\n", 1)
    guarded_broker.add_user(user, rules)
    processes.start("simulator", "--link-folder", str(tmp_path / "site"))
    line = tmp_path / "site/tracer"
    file = PAGE.split("```toml\n")[1].partition("```")[0]
    for there, here in {"/dev/ttyUSB0": str(line), "unit_id = 1": "unit_id = 2"}.items():
        assert there in file
        file = file.replace(there, here)
    config = tmp_path / "config.toml"
    config.write_text(f'node.data = "{tmp_path}/data"\nnode.clock = "trust"\n{file}{guarded_broker.section}')
    eventually(line.exists)
    processes.start("services.modbus_poller", str(config))
    port, viewer = guarded_broker.port, guarded_broker.password("viewer")
    with listening(port, "viewer", viewer, "heliograph/#") as received:
        named = {topic for topic in TOPICS if not topic.endswith("+")}
        eventually(lambda: named <= received.keys())
        info = json.loads(received[f"{DEVICE}info"])["channels"]
        published = {f"{DEVICE}value/{channel}" for channel in info}
        eventually(lambda: published <= received.keys())
        values = {topic: text for topic, text in list(received.items()) if "/value/" in topic}
        assert values.keys() == published
        assert all(float(text) == json.loads(text) for text in values.values())
    with listening(port, user, guarded_broker.password(user), "heliograph/#") as received:
        eventually(lambda: named <= received.keys())
        assert {topic.split("/")[4] for topic in received} == {"value", "availability"}
    assert_units(info)
    read_by_shell(guarded_broker)
    read_by_the_bridge_of_another_broker(tmp_path, guarded_broker, eventually)


def assert_units(info: dict[str, Any]) -> None:
    """The recipes name the units that the channels have."""
    openhab = dict(re.findall(r'value/(\w+)", unit="(\w+)"', block("openHAB", "text")))
    sensor = of_yaml(block("Home Assistant, without discovery", "yaml"))["mqtt"]["sensor"][0]
    openhab[sensor["state_topic"].rpartition("/")[2]] = sensor["unit_of_measurement"]
    assert openhab.keys() == {"power", "energy_import"}
    assert openhab == {name: info[name]["unit"] for name in openhab}


def read_by_shell(broker: GuardedBroker) -> None:
    command = block("Shell", "sh").strip()
    for there, here in {"1883": str(broker.port), "data/secrets": str(broker.secrets)}.items():
        assert there in command
        command = command.replace(there, here)
    folder = Path(optional_program("mosquitto_sub")).parent
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run(
        [*("sh", "-c"), f"{command} -C 1 -W 20"], env=environment, capture_output=True, text=True, check=True
    )
    float(done.stdout)


def read_by_the_bridge_of_another_broker(folder: Path, broker: GuardedBroker, eventually: Eventually) -> None:
    lines = block("openWB, and programs that want topics of their own", "conf")
    password = broker.password("viewer")
    for there, here in {
        "192.168.1.20:1884": f"127.0.0.1:{broker.port}",
        "the content of data/secrets/viewer": password,
    }.items():
        assert there in lines
        lines = lines.replace(there, here)
    other = folder / "openwb"
    other.mkdir()
    theirs = LocalBroker(other)
    for option in lines.splitlines():
        theirs.set(*option.split(" ", 1))
    theirs.start()
    try:
        with listening(theirs.port, "openwb", "", "openWB/#") as received:
            eventually(lambda: "openWB/set/mqtt/counter/8/get/power" in received)
            float(received["openWB/set/mqtt/counter/8/get/power"])
    finally:
        theirs.kill()


def test_the_recipe_for_evcc_is_yaml_with_a_meter_of_topics_that_are_ours() -> None:
    file = of_yaml(block("evcc", "yaml"))
    (meter,) = file["meters"]
    assert (meter["name"], meter["type"]) == (file["site"]["meters"]["grid"], "custom")
    for key in ("power", "energy"):
        assert meter[key].keys() == {"source", "topic", "timeout"}
        assert meter[key]["source"] == "mqtt"
        assert meter[key]["topic"] in TOPICS
    assert file["mqtt"].keys() == {"broker", "user", "password"}


def test_the_flow_for_node_red_is_whole() -> None:
    flow = json.loads(block("Node-RED", "json"))
    nodes = {node["id"]: node for node in flow}
    assert len(nodes) == len(flow)
    for node in flow:
        assert all(target in nodes for output in node.get("wires", []) for target in output)
        if node["type"] == "mqtt in":
            assert nodes[node["broker"]]["type"] == "mqtt-broker"
            assert node["topic"] in TOPICS
    assert {node["type"] for node in flow} == {"mqtt-broker", "mqtt in", "debug"}


def test_the_items_for_openhab_are_linked_to_channels_of_the_thing() -> None:
    things, items = block("openHAB", "text"), block("openHAB", "text", 1)
    thing = re.search(r"^Thing (\S+) .*\((\S+)\)", things, re.MULTILINE)
    assert thing
    assert thing[2] == (re.search(r"^Bridge (\S+)", things) or "")[1]
    channels = {f"{thing[1]}:{name}" for name in re.findall(r"Type \w+ : (\w+)", things)}
    assert set(re.findall(r'channel="(\S+)"', items)) == channels
    assert things.count("[") == things.count("]")
    assert things.count("{") == things.count("}")


def test_the_sensor_for_home_assistant_has_topics_that_are_ours() -> None:
    (sensor,) = of_yaml(block("Home Assistant, without discovery", "yaml"))["mqtt"]["sensor"]
    assert {sensor["state_topic"], sensor["availability_topic"]} <= TOPICS
