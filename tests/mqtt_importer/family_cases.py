"""The messages of each family of devices, and what they are, as files: cases/FAMILY.toml.

A case is a source with `options` and the messages that come one after the other. A message has `result` if it is
"unknown" (not a topic of this family), "ignored" or "not understood"; else it has what it is: the device, as its
maker's topics spell it, and all that there is of `values`, `time`, `model`, `availability`, `all_devices`, `requests`
(topics and payloads that make the device report), `rejected`, `unknown` (parts of the payload), `others` (further devices) and `commands`: for every channel that can be set, a
value and what is published to set it. `channels` are those to be looked at: "kWh counter", "W" (a gauge), "state", "text".

The first case of each file goes through the whole service, too: its devices must be online at its end, so a last will
goes into another case.
"""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from heliograph.messages import Channel
from services.mqtt_importer import families
from services.mqtt_importer.devices import ImportedDevice
from services.mqtt_importer.parsing.parsed import Family
from services.mqtt_importer.source import MqttSource

FOLDER = Path(__file__).parent / "cases"


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    channel: str
    value: bool | int | float | str
    topic: str
    payload: str


class Message(msgspec.Struct, forbid_unknown_fields=True):
    topic: str
    payload: str
    result: str = ""
    device: str = ""
    values: dict[str, bool | int | float | str] = {}
    channels: dict[str, str] = {}
    time: object = None
    model: str = ""
    availability: str = ""
    all_devices: bool = False
    requests: list[tuple[str, str]] = []
    rejected: list[str] = []
    unknown: list[tuple[str, str]] = []
    others: list[str] = []
    commands: list[Command] = []


class Case(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    message: list[Message]
    options: dict[str, Any] = {}

    def family(self, name: str) -> Family:
        return families.load(name)(msgspec.convert({"family": name, **self.options}, MqttSource))


class File(msgspec.Struct, forbid_unknown_fields=True):
    case: list[Case]


@cache
def of(family: str) -> list[Case]:
    file = FOLDER / f"{family}.toml"
    assert file.exists(), f"the family {family} needs a file with its messages: tests/mqtt_importer/cases/{family}.toml"
    return msgspec.convert(tomllib.loads(file.read_text()), File).case


def every() -> list[tuple[str, Case]]:
    return [(family, case) for family in families.known() for case in of(family)]


def new_device(*, commands: bool = False) -> ImportedDevice:
    return ImportedDevice(MqttSource(family="any", commands=commands), "x", "x", "x", "mqtt_importer")


def described(channel: Channel) -> str:
    """Return a channel as the cases write it."""
    kind = "" if channel.kind == "gauge" else channel.kind
    return f"{channel.unit or channel.label} {kind}".strip()
