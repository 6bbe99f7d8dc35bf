"""Shelly, first generation: `shellies/<id>/relay/0`, `…/power`, `…/energy`, emeters, sensors, `…/online`.

Topics: shelly-api-docs.shelly.cloud/gen1 (MQTT, and the MQTT section of every device):
relay and roller energy is in watt-minutes, that of an emeter in Wh (`total`).
`topic` of the source replaces `shellies`.
"""

from collections.abc import Callable
from typing import NamedTuple

from heliograph.messages import Channel, Value
from services.mqtt_importer.parsing import payloads
from services.mqtt_importer.parsing.channels import measured_in
from services.mqtt_importer.parsing.parsed import (
    IGNORED,
    ChannelValue,
    CommandTopic,
    Family,
    NotUnderstood,
    ParsedMessage,
    ParseResult,
)
from services.mqtt_importer.source import MqttSource

ROOT = "shellies"
STATE = Channel(kind="state")


class TopicChannel(NamedTuple):
    """The channel of a topic: its name, how the payload is parsed, its description."""

    name: str
    parse: Callable[[str], Value | None]
    channel: Channel


def _watt_hours(written: str) -> float | None:
    minutes = payloads.number(written)
    return None if minutes is None else round(minutes / 60, 3)


def _number(name: str, unit: str) -> TopicChannel:
    return TopicChannel(name, payloads.number, measured_in(unit))


def _state(name: str) -> TopicChannel:
    return TopicChannel(name, payloads.on_or_off, STATE)


POWER = _number("power", "W")
ENERGY = TopicChannel("energy", _watt_hours, measured_in("Wh"))
METER = {
    "power": POWER,
    "voltage": _number("voltage", "V"),
    "current": _number("current", "A"),
    "pf": _number("power_factor", ""),
    "reactive_power": _number("reactive_power", "var"),
    "total": _number("energy", "Wh"),
    "total_returned": _number("energy_returned", "Wh"),
}
SENSORS = {
    "temperature": _number("temperature", "°C"),
    "humidity": _number("humidity", "%"),
    "battery": _number("battery", "%"),
    "lux": _number("illuminance", "lx"),
    "tilt": _number("tilt", "°"),
    "concentration": _number("concentration", "ppm"),
    **{name: _state(name) for name in ("flood", "smoke", "motion", "vibration")},
    "state": _state("open"),
}
NUMBERED = {
    "relay": {"power": POWER, "energy": ENERGY},
    "light": {"power": POWER, "energy": ENERGY},
    "roller": {"power": POWER, "energy": ENERGY, "pos": _number("position", "%")},
    "emeter": METER,
}
SINGLE = {
    "temperature": SENSORS["temperature"],
    "voltage": METER["voltage"],
    "overtemperature": _state("overtemperature"),
}
NUMBERED_SINGLE = {
    "input": _state("input"),
    "ext_temperature": _number("ext_temperature", "°C"),
    "ext_humidity": _number("ext_humidity", "%"),
    "adc": _number("adc", "V"),
}
KNOWN = frozenset(
    {"announce", "info", "command", "temperature_f", "temperature_status", "longpush", "input_event", "sensor", "white"}
) | set(NUMBERED)


class Shelly1:
    """Parses the messages of all devices below one topic."""

    default_model = "Shelly"

    def __init__(self, root: str) -> None:
        self._root = root
        self._levels = root.count("/") + 1
        self.filters = (f"{root}/#",)
        self.command_filters = (f"{root}/+/command", f"{root}/+/relay/+/command", f"{root}/+/light/+/command")

    def parse(self, topic: str, payload: bytes) -> ParseResult:
        """Return what a message says; see parsed.Family."""
        levels = topic.split("/")
        if levels[: self._levels] != self._root.split("/"):
            return None
        device, *below = levels[self._levels :] or [""]
        match below:
            case [] if device in ("announce", "command"):
                return IGNORED
            case ["announce"]:
                return _announcement(device, payloads.json_object(payload))
            case ["online"]:
                online = payloads.on_or_off(payloads.text(payload))
                requests = ((f"{self._root}/{device}/command", "update"),) if online else ()
                return ParsedMessage(device, availability="online" if online else "offline", requests=requests)
            case ["relay" | "light" as kind, number] if number.isdigit():
                return self._switch(device, kind, number, payloads.text(payload))
            case [kind, number, what] if number.isdigit() and kind in NUMBERED:
                topic_channel = NUMBERED[kind].get(what)
                return _measured(device, topic_channel, number, payload) if topic_channel else IGNORED
            case [kind, number] if number.isdigit() and kind in NUMBERED_SINGLE:
                return _measured(device, NUMBERED_SINGLE[kind], number, payload)
            case ["sensor", name] if name in SENSORS:
                return _measured(device, SENSORS[name], "0", payload)
            case [name] if name in SINGLE:
                return _measured(device, SINGLE[name], "0", payload)
        return IGNORED if below and below[0] in KNOWN else None

    def _switch(self, device: str, kind: str, number: str, written: str) -> ParsedMessage:
        name = _numbered(kind, number)
        on = False if written == "overpower" else payloads.on_or_off(written)
        command_topic = CommandTopic(f"{self._root}/{device}/{kind}/{number}/command", "on", "off")
        return ParsedMessage(device, (ChannelValue(name, on, STATE),), command_topics={name: command_topic})


def _measured(device: str, topic_channel: TopicChannel, number: str, payload: bytes) -> ParsedMessage:
    value = topic_channel.parse(payloads.text(payload))
    return ParsedMessage(device, (ChannelValue(_numbered(topic_channel.name, number), value, topic_channel.channel),))


def _numbered(name: str, number: str) -> str:
    """Return the name of a channel: the first has no number, for most devices have no second."""
    if len(number) > 2:
        raise NotUnderstood("no device has so many")
    return name if number == "0" else f"{name}_{number}"


def _announcement(device: str, document: dict[str, object]) -> ParseResult:
    model = document.get("model")
    return ParsedMessage(device, model=f"Shelly {model}"[:80]) if isinstance(model, str) and model else IGNORED


def family(source: MqttSource) -> Family:
    """Return the parser of a source's messages."""
    return Shelly1(source.topic or ROOT)
