import json
import queue
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from heliograph import topics
from heliograph.bus import Message
from heliograph.config import Broker
from heliograph.trial import TrialBus
from tests.conftest import LocalBroker, Processes, Starter, free_port
from tests.mqtt_recorder import NODE, Recorder
from tests.trials import tried

SENSOR = json.dumps({"Time": "2026-06-01T12:00:00", "ENERGY": {"Power": 42, "Total": 1.5}})


def test_sources_are_read_on_every_broker_while_the_node_continues_undisturbed(
    tmp_path: Path, broker: LocalBroker, processes: Processes, recorder: Recorder
) -> None:
    """The trial has client ids of its own: a broker disconnects the older of two clients with one."""
    (tmp_path / "house").mkdir()
    other = LocalBroker(tmp_path / "house")
    other.start()
    house = f'[mqtt_importer.brokers.house]\nhost = "127.0.0.1"\nport = {other.port}\n'
    sources = (
        '[[mqtt_importer.sources]]\nfamily = "tasmota"\nbroker = "house"\n'
        '[[mqtt_importer.sources]]\nfamily = "shelly1"\n'
        '[[mqtt_importer.sources]]\nfamily = "esphome"\nbroker = "gone"\n'
        f'[mqtt_importer.brokers.gone]\nhost = "127.0.0.1"\nport = {free_port()}\n'
    )
    Starter("mqtt_importer", tmp_path, broker, processes).start(sources + house)

    with Recorder(other.port) as devices:

        def feed() -> None:
            devices.publish("tele/freezer/SENSOR", SENSOR)
            recorder.publish("shellies/kitchen/relay/0/power", "7.5")

        result = tried("mqtt_importer", tmp_path / "trial", broker.section + sources + house, seconds=6, feed=feed)
    assert "lost" not in processes.output()
    other.kill()
    assert result.status == 0
    assert "mqtt_importer: 2 of 3 inputs were read\n" in result.text
    assert "tasmota on broker house\n" in result.text
    assert result.values("freezer")["power"] == "42 W"
    assert "shelly1 on the node's own broker\n" in result.text
    assert list(result.values("kitchen").values()) == ["7.5 W"]
    assert re.search(r"esphome on broker gone: NOT READ: broker gone at 127\.0\.0\.1:\d+ is away\n", result.text)
    assert "what to do: check host, port, user and password in [mqtt_importer.brokers.gone]" in result.text
    assert recorder.of("freezer")  # of the service that runs


@pytest.mark.slow
def test_without_any_broker_each_source_has_its_reason(tmp_path: Path) -> None:
    sources = f'[broker]\nport = {free_port()}\n[[mqtt_importer.sources]]\nfamily = "tasmota"\n'
    result = tried("mqtt_importer", tmp_path, sources)
    assert result.status == 3
    assert "tasmota on the node's own broker: NOT READ: the broker at 127.0.0.1:" in result.text
    assert "what to do: start the node" in result.text


def test_the_bus_of_a_trial_passes_no_command_on_and_publishes_nothing(
    broker: LocalBroker, recorder: Recorder, eventually: Callable[..., object]
) -> None:
    received: queue.SimpleQueue[Message] = queue.SimpleQueue()
    bus = TrialBus(Broker(port=broker.port), NODE, "mqtt_importer")
    bus.subscribe("#", received.put)

    def is_subscribed() -> bool:  # the broker has no order among clients
        recorder.publish("tele/plug/LWT", "Online")
        return not received.empty()

    with bus:
        eventually(is_subscribed)
        assert bus.publish(topics.device(NODE, "plug", "state"), b'{"time":1,"values":{"power":3}}')
        recorder.set("plug", {"relay": True})
        recorder.publish("tele/plug/END", "")
        topic = ""
        while topic != "tele/plug/END":
            topic = received.get(timeout=30).topic
            assert topic in ("tele/plug/LWT", "tele/plug/END")
        assert bus.readings["plug"].values["power"][0] == 3
    assert not recorder.states
