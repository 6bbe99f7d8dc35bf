"""Every family of devices against the messages in cases/, which are those of its makers' documents, or captured."""

from typing import Any

import pytest

from heliograph import names
from services.mqtt_importer import families
from services.mqtt_importer.devices import ImportedDevice
from services.mqtt_importer.parsing import topic_filters
from services.mqtt_importer.parsing.parsed import Family, Ignored, NotUnderstood, ParsedMessage
from services.mqtt_importer.source import MqttSource
from tests.mqtt_importer import family_cases
from tests.mqtt_importer.family_cases import FOLDER, Case, Message


def outcome(family: Family, message: Message, devices: dict[str, ImportedDevice]) -> dict[str, Any]:
    """Return what a family makes of a message, by the keys of a case."""
    try:
        parsed = family.parse(message.topic, message.payload.encode())
    except NotUnderstood:
        return {"result": "not understood"}
    if not isinstance(parsed, ParsedMessage):
        return {"result": "ignored" if isinstance(parsed, Ignored) else "unknown"}
    device = devices.setdefault(parsed.device, family_cases.new_device())
    values, rejected = device.update(parsed)
    command_topics = {names.channel(text): topic for text, topic in parsed.command_topics.items()}
    commands = {}
    for command in message.commands:
        if command_topic := command_topics.get(command.channel):
            commands[command.channel] = (command_topic.topic, command_topic.payload(command.value))
    return {
        "device": parsed.device,
        "values": exactly(values),
        "channels": {
            name: family_cases.described(device.info.channels[name])
            for name in message.channels
            if name in device.info.channels
        },
        "time": parsed.time,
        "model": parsed.model,
        "availability": parsed.availability or "",
        "all_devices": parsed.all_devices,
        "requests": list(parsed.requests),
        "rejected": rejected,
        "unknown": list(parsed.unknown),
        "others": [other.device for other in parsed.others],
        "commands": dict.fromkeys(command_topics) | commands,
    }


def expectation(message: Message) -> dict[str, Any]:
    if message.result:
        return {"result": message.result}
    return {
        "device": message.device,
        "values": exactly(message.values),
        "channels": message.channels,
        "time": message.time,
        "model": message.model,
        "availability": message.availability,
        "all_devices": message.all_devices,
        "requests": message.requests,
        "rejected": message.rejected,
        "unknown": message.unknown,
        "others": message.others,
        "commands": {command.channel: (command.topic, command.payload) for command in message.commands},
    }


def exactly(values: dict[str, Any]) -> dict[str, str]:
    return {name: repr(value) for name, value in values.items()}  # 1, 1.0 and true are three


@pytest.mark.parametrize(
    ("name", "case"),
    [pytest.param(name, case, id=f"{name}: {case.name}") for name, case in family_cases.every()],
)
def test_every_message_is_what_its_case_says(name: str, case: Case) -> None:
    family = case.family(name)
    devices: dict[str, ImportedDevice] = {}
    for message in case.message:
        assert outcome(family, message, devices) == expectation(message), message.topic


@pytest.mark.parametrize("name", families.known())
def test_a_family_names_every_topic_that_it_reads_and_writes(name: str) -> None:
    for case in family_cases.of(name):
        family = case.family(name)
        for message in case.message:
            if message.result != "unknown":
                assert matches(family.filters, message.topic), f"{message.topic}: not in `filters`"
            published = [*(command.topic for command in message.commands), *(topic for topic, _ in message.requests)]
            for topic in published:
                assert matches(family.command_filters, topic), f"{topic}: not in `command_filters`"


def matches(filters: tuple[str, ...], topic: str) -> bool:
    return any(topic_filters.matches(one, topic) for one in filters)


def test_cases_are_of_families_that_there_are() -> None:
    assert {path.stem for path in FOLDER.iterdir()} <= set(families.known())


def test_tasmota_refuses_a_full_topic_without_its_tokens() -> None:
    with pytest.raises(ValueError, match="%prefix%"):
        families.load("tasmota")(MqttSource(family="tasmota", topic="tasmota/%topic%"))
