"""Messages of one moment, or with one second of their own: each is a reading of its own."""

from pathlib import Path

import msgspec
import pytest

from heliograph import names
from services.mqtt_importer.commands import CommandForwarder
from services.mqtt_importer.device_registry import DeviceNames, DeviceRegistry
from services.mqtt_importer.message_queue import OWN_BROKER, ReceivedMessage
from services.mqtt_importer.options import MqttImporter
from services.mqtt_importer.reader import MqttReader
from services.mqtt_importer.routing import Router, subscriptions
from tests.service_stub import ServiceStub

NOON = 1_795_003_200.0  # 2026-11-18 12:00 UTC


@pytest.fixture
def stub(tmp_path: Path) -> ServiceStub:
    return ServiceStub(tmp_path)


@pytest.fixture
def reader(stub: ServiceStub, tmp_path: Path) -> MqttReader:
    options = msgspec.convert({"sources": [{"family": "tasmota", "timezone": "UTC"}]}, MqttImporter)
    devices = DeviceRegistry(DeviceNames(tmp_path / "devices.json", {}), names.PRESENT, "mqtt_importer", 100)
    router = Router(options.sources, {OWN_BROKER: subscriptions(options, OWN_BROKER)})
    return MqttReader(router, devices, CommandForwarder(stub.service, devices, {}), stub.service, stub.producer)


def say(reader: MqttReader, payload: str, at: float | None, topic: str = "tele/plug/SENSOR") -> None:
    reader.read(ReceivedMessage(OWN_BROKER, topic, payload.encode(), False, at))


def test_messages_with_the_same_second_of_the_device_have_times_of_their_own(
    reader: MqttReader, stub: ServiceStub
) -> None:
    for power in range(4):
        say(reader, f'{{"Time":"2026-11-18T12:00:00","ENERGY":{{"Power":{power}}}}}', NOON + 0.2)
    say(reader, '{"Time":"2026-11-18T12:00:10","ENERGY":{"Power":9}}', NOON + 10.2)
    assert [values["power"] for _, values in stub.readings] == [0, 1, 2, 3, 9]
    assert stub.times == pytest.approx([NOON, NOON + 0.001, NOON + 0.002, NOON + 0.003, NOON + 10], abs=1e-6)


def test_messages_without_a_time_are_stamped_when_they_came(reader: MqttReader, stub: ServiceStub) -> None:
    for power in range(3):
        say(reader, f'{{"ENERGY":{{"Power":{power}}}}}', NOON)
    assert stub.arrived == [NOON] * 3  # the producer gives each a millisecond
    assert stub.times == [None] * 3
