"""One text has one name, whichever service names it."""

import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph import names
from services.api.errors import RequestRefused
from services.api.ingest import inputs
from services.api.ingest.inputs import Inputs
from services.api.ingest.naming import PostedNames
from services.mqtt_importer import families
from services.mqtt_importer.device_registry import DeviceNames
from services.mqtt_importer.devices import ImportedDevice
from services.mqtt_importer.parsing.parsed import ParsedMessage
from services.mqtt_importer.source import MqttSource, TopicMap
from services.sensor_reader import names as sensor_names
from services.serial_bridge.decoder import DecoderFactory
from services.serial_bridge.options import PortOptions
from services.serial_bridge.parsing.readings import ParsedReading
from services.serial_bridge.source import ParserContext
from services.storage.importers.shared.names import SeriesNames

CONTEXT = ParserContext({})
WORDS = st.text("aAbB1 -_.ü°", min_size=1, max_size=80) | st.text("abc Ö", min_size=60, max_size=200)
TEXTS = WORDS.filter(lambda text: text not in ("device", "time") and not text.strip().isdecimal())


def parsed(port: PortOptions, line: str) -> ParsedReading:
    reading = DecoderFactory(port, CONTEXT).parse(line)
    assert isinstance(reading, ParsedReading)
    return reading


def lines(text: str) -> Iterable[str]:
    return parsed(PortOptions(name="p", port="/x", format="json_lines"), json.dumps({text: 1})).values


def columns(text: str) -> Iterable[str]:
    return parsed(PortOptions(name="p", port="/x", format="csv", columns=(text,)), "1").values


def messages(text: str) -> Iterable[str]:
    options = MqttSource(family="map", maps=(TopicMap(topic="a", device="d"),))
    result = families.load("map")(options).parse("a", json.dumps({text: 1}).encode())
    assert isinstance(result, ParsedMessage)
    return ImportedDevice(options, "d", "d", "", "mqtt_importer").update(result)[0]


def posts(text: str) -> Iterable[str]:
    report = inputs.report("node", Inputs({text: 1}, [], []), None, {}, PostedNames())
    return report.values if report else ()


def imports(text: str) -> Iterable[str]:
    return [SeriesNames().channel("pi", "device", text)]


def name_of(user: Callable[[str], Iterable[str]], text: str) -> list[str]:
    try:
        return list(user(text))
    except (ValueError, RequestRefused):
        return []


def one(user: Callable[[str], str], text: str) -> list[str]:
    return [user(text)]


@given(text=TEXTS)
def test_a_channel_has_one_name_in_every_service(text: str) -> None:
    expected = name_of(partial(one, names.channel), text)
    for user in (lines, columns, messages, posts, imports):
        assert name_of(user, text) == expected


@given(text=TEXTS)
def test_a_device_has_one_name_in_every_service(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder: Path = tmp_path_factory.mktemp("names")
    users: list[Callable[[str], str]] = [
        lambda text: parsed(PortOptions(name="p", port="/x", format="json_lines"), json.dumps({"device": text})).device,
        lambda text: DeviceNames(folder / "devices.json", {}).name("source", text),
        lambda text: inputs.device(text, {}, names.PRESENT),
        lambda text: SeriesNames().device("pi", text),
    ]
    expected = name_of(partial(one, names.device), text)
    for user in users:
        assert name_of(partial(one, user), text) == expected
    assert expected in ([], [sensor_names.device(text, "")])
