"""The channels that the producers declare, as entities of Home Assistant."""

import json

import pytest

from heliograph.messages import Channel, Info
from services.home_assistant import discovery
from services.modbus_poller import encoding, models
from services.mqtt_importer import families
from services.mqtt_importer.parsing.parsed import ParsedMessage
from services.mqtt_importer.source import MqttSource
from services.sensor_reader.sources import system
from tests.home_assistant.rules import refusals
from tests.mqtt_importer import family_cases


def modbus(name: str) -> Info:
    model = models.load(name)
    return Info(
        model.header.model, {channel: model.channel(channel) for channel in model.registers}, 10.0, "modbus_poller"
    )


@pytest.mark.parametrize("name", models.names())
def test_every_modbus_device_is_shown_with_all_its_classes(name: str) -> None:
    info = modbus(name)
    message = discovery.message("pi", name, info)
    assert refusals(f"pi_{name}", message) == []
    assert len(message["cmps"]) == len(info.channels)
    assert discovery.rejected_classes(info) == 0


def test_registers_that_can_be_written_are_switches_and_numbers() -> None:
    parts = discovery.message("pi", "tracer", modbus("epever_tracer"))["cmps"]
    assert parts["switch_load_switch"]["p"] == "switch"
    number = discovery.message("pi", "gx", modbus("victron_gx"))["cmps"]["number_minimum_soc"]
    assert (number["min"], number["max"], number["step"], number["unit_of_meas"]) == (0, 100, 1, "%")


def test_a_register_with_texts_is_neither_a_switch_nor_a_number() -> None:
    assert modbus("victron_gx").channels["relay_1"].writable is None


def test_a_holding_register_that_is_a_state_takes_what_a_switch_sends() -> None:
    register = models.Register(address=1, table="holding", kind="state", writable=(0, 1))
    model = models.Model(models.Header("x", "x"), {"relay": register})
    assert [encoding.raw(model, "relay", value) for value in (True, False, 1, 0)] == [[1], [0], [1], [0]]
    assert model.channel("relay").writable == (0, 1)


@pytest.mark.parametrize("commands", [True, False])
def test_a_plug_is_a_switch_only_if_its_source_takes_commands(commands: bool) -> None:
    parsed = families.load("tasmota")(MqttSource(family="tasmota")).parse("stat/plug/POWER", b"ON")
    assert isinstance(parsed, ParsedMessage)
    device = family_cases.new_device(commands=commands)
    assert device.update(parsed)[0] == {"relay": True}
    assert device.info.channels == {"relay": Channel(kind="state", writable=(0, 1) if commands else None)}
    info = device.info
    device.update(parsed)
    assert device.info is info  # nothing new


def test_a_number_of_zigbee2mqtt_has_the_limits_that_it_exposes() -> None:
    level = {"type": "numeric", "property": "level", "access": 7, "value_min": 0, "value_max": 254}
    state = {"type": "binary", "property": "state", "access": 7, "value_on": "ON", "value_off": "OFF"}
    lamp = {"friendly_name": "lamp", "definition": {"exposes": [{"type": "light", "features": [level, state]}]}}
    family = families.load("zigbee2mqtt")(MqttSource(family="zigbee2mqtt"))
    family.parse("zigbee2mqtt/bridge/devices", json.dumps([lamp]).encode())
    parsed = family.parse("zigbee2mqtt/lamp", b'{"level": 3, "state": "ON"}')
    assert isinstance(parsed, ParsedMessage)
    device = family_cases.new_device(commands=True)
    device.update(parsed)
    assert {name: channel.writable for name, channel in device.info.channels.items()} == {
        "level": (0, 254),
        "state": (0, 1),
    }


def test_a_number_of_esphome_has_the_limits_of_its_discovery_message() -> None:
    family = families.load("esphome")(MqttSource(family="esphome"))
    topic = "garage/number/delay/state"
    discovered = {"unit_of_meas": "s", "stat_t": topic, "cmd_t": "garage/number/delay/command", "min": 1, "max": 60}
    family.parse("homeassistant/number/garage/delay/config", json.dumps(discovered).encode())
    parsed = family.parse(topic, b"5")
    assert isinstance(parsed, ParsedMessage)
    device = family_cases.new_device(commands=True)
    device.update(parsed)
    assert device.info.channels["delay"].writable == (1, 60)


def test_the_health_of_the_machine_is_shown_with_all_its_classes() -> None:
    channels = {**system.LOAD, **system.DISK, **system.UPTIME}
    assert discovery.rejected_classes(Info("x", channels)) == 0
