"""`heliograph forget`: what the broker retains of a node that is gone."""

import subprocess
import sys
from pathlib import Path
from queue import Empty, SimpleQueue

from heliograph import topics
from heliograph.bus import Bus, Message
from heliograph.config import Broker
from heliograph.forget import discovery_topic
from heliograph.messages import Block
from heliograph.store import open_writer
from services.home_assistant.identifiers import join
from tests.conftest import GuardedBroker

PARTS = ("modbus_poller", "storage", "home_assistant", "api")


def retain(guarded: GuardedBroker, user: str, *names: str) -> None:
    broker = Broker(port=guarded.port, password=guarded.password(user))
    with Bus(broker, "roof", user) as bus:
        assert bus.wait_connected(10)
        for topic in names:
            bus.publish(topic, b"{}", qos=1, retain=True)


def retained(guarded: GuardedBroker) -> set[str]:
    """The topics of which something is retained, as those who may read them see them."""
    seen: set[str] = set()
    for user in ("api", "home_assistant", "modbus_poller"):
        arrived: SimpleQueue[Message] = SimpleQueue()
        with Bus(Broker(port=guarded.port, password=guarded.password(user)), "roof", user) as bus:
            bus.subscribe("#", arrived.put)
            assert bus.wait_connected(10)
            try:
                while message := arrived.get(timeout=1):
                    seen.add(message.topic)
            except Empty:
                continue
    return seen


def retain_all_of(guarded_broker: GuardedBroker, node: str) -> None:
    retain(
        guarded_broker,
        "modbus_poller",
        topics.device(node, "meter", "info"),
        topics.device(node, "meter", "availability"),
        topics.service(node, "modbus_poller", "status"),
    )
    retain(guarded_broker, "home_assistant", discovery_topic(node, "meter"))
    retain(guarded_broker, "storage", topics.service(node, "modbus_poller", "committed"))
    retain(guarded_broker, "storage", topics.service(node, "storage", "status"))


def forget(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cli", "forget", *arguments, "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def configured(folder: Path, guarded: GuardedBroker) -> Path:
    config = folder / "config.toml"
    sections = "".join(f"[{name}]\n" for name in PARTS)
    config.write_text(f'[node]\nname = "alpha_b"\ndata = "{folder}"\n{guarded.section}{sections}')
    return config


def test_all_that_is_retained_of_a_node_is_removed_and_nothing_of_another(
    tmp_path: Path, guarded_broker: GuardedBroker
) -> None:
    """Case Y10: alpha was renamed to alpha_b."""
    for node in ("alpha", "alpha_b"):
        retain_all_of(guarded_broker, node)
    config = configured(tmp_path, guarded_broker)
    done = forget(config, "alpha")
    assert done.returncode == 0, done.stderr
    assert "heliograph/alpha/devices/meter/info" in done.stdout.split()
    again = forget(config, "alpha")
    assert (again.returncode, again.stderr) == (1, "Error: the broker retains nothing of alpha\n")
    left = {topic for topic in retained(guarded_broker) if "alpha" in topic}
    assert not {topic for topic in left if "alpha/" in topic or "/alpha_meter" in topic}
    assert len({topic for topic in left if "alpha_b" in topic or "alpha_Ub" in topic}) >= 6


def test_a_device_that_only_the_store_has_is_forgotten_too(tmp_path: Path, guarded_broker: GuardedBroker) -> None:
    """Case N4: the page shows what the store has."""
    writer = open_writer(tmp_path / "data")
    for node in ("shed", "hub"):
        writer.write(node, [Block("meter", ("power",), [[1_763_633_000.0, 1.0]])])
    writer.commit({})
    writer.close()
    config = tmp_path / "config.toml"
    config.write_text(f'[node]\nname = "hub"\ndata = "{tmp_path}/data"\n{guarded_broker.section}[modbus_poller]\n')
    cleared: SimpleQueue[Message] = SimpleQueue()
    with Bus(Broker(port=guarded_broker.port, password=guarded_broker.password("api")), "roof", "api") as bus:
        bus.subscribe("heliograph/+/devices/+/info", cleared.put)
        assert bus.wait_connected(10)
        command = [sys.executable, "-m", "cli", "forget", "shed", "--config", str(config)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        message = cleared.get(timeout=10)
    assert (message.topic, message.payload) == ("heliograph/shed/devices/meter/info", b"")


def test_a_container_has_one_password_and_says_what_it_may_not_remove(
    tmp_path: Path, guarded_broker: GuardedBroker
) -> None:
    retain_all_of(guarded_broker, "alpha")
    config = configured(tmp_path, guarded_broker)
    by_api = forget(config, "alpha", "--service", "api")
    devices = [f"heliograph/alpha/devices/meter/{kind}" for kind in ("availability", "info")]
    assert by_api.stdout.split() == devices
    assert by_api.returncode == 1
    for left in ("modbus_poller/committed", "modbus_poller/status", "storage/status"):
        assert f"heliograph/alpha/services/{left}" in by_api.stderr
    assert not retained(guarded_broker) & set(devices)
    by_poller = forget(config, "alpha", "--service", "modbus_poller")
    assert (by_poller.returncode, by_poller.stdout) == (1, "")
    assert by_poller.stderr.endswith(" may remove heliograph/alpha/services/modbus_poller/committed\n")
    assert "heliograph/alpha/services/modbus_poller/status" not in retained(guarded_broker)


def test_home_assistants_topic_is_the_one_that_the_service_uses() -> None:
    assert discovery_topic("my_node", "a_meter-1") == f"homeassistant/device/{join('my_node', 'a_meter-1')}/config"
