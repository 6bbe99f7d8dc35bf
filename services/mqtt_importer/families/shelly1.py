"""Shelly, first generation: `shellies/<id>/relay/0`, `…/power`, `…/energy`, emeters, sensors, `…/online`.

Topics: shelly-api-docs.shelly.cloud/gen1 (MQTT, and the MQTT section of every device):
relay and roller energy is in watt-minutes, that of an emeter in Wh (`total`); a TRV
publishes all it has in `info` and `status`. `topic` of the source replaces `shellies`.
"""

from collections.abc import Callable, Mapping
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
NO_PROBE = 999  # home-assistant/core, issue 49415


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


def _probed(name: str, unit: str) -> TopicChannel:
    """Return a channel of a probe: 999 is what the device writes while it is not there, or fails."""
    return TopicChannel(name, _of_probe, measured_in(unit))


def _of_probe(written: str) -> float | None:
    value = payloads.number(written)
    return None if value == NO_PROBE else value


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
    "temperature": _probed("temperature", "°C"),
    "humidity": _probed("humidity", "%"),
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
    "color": {"power": POWER, "energy": ENERGY},
    "white": {"power": POWER, "energy": ENERGY},
    "roller": {"power": POWER, "energy": ENERGY, "pos": _number("position", "%")},
    "emeter": METER,
}
SWITCHED = ("relay", "light", "color", "white")
ROLLER = TopicChannel("roller", payloads.short_text, Channel(kind="text"))
SINGLE = {
    "temperature": SENSORS["temperature"],
    "voltage": METER["voltage"],
    "overtemperature": _state("overtemperature"),
}
NUMBERED_SINGLE = {
    "input": _state("input"),
    "ext_temperature": _probed("ext_temperature", "°C"),
    "ext_humidity": _probed("ext_humidity", "%"),
    "adc": _number("adc", "V"),
}
TRV = {  # by the path in `status`, and in the items of `thermostats` of `info`
    ("tmp", "value"): _number("temperature", "°C"),
    ("target_t", "value"): _number("target_temperature", "°C"),
    ("pos",): _number("valve_position", "%"),
    ("bat",): SENSORS["battery"],
}
WITHOUT_VALUES = frozenset({"announce", "info", "command", "temperature_f", "temperature_status", "settings", "status"})
SENSORS_WITHOUT_VALUES = frozenset(
    {"temperature_f", "temperature_status", "act_reasons", "self_test", "error", "active"}
)
NUMBERED_WITHOUT_VALUES = frozenset({"longpush", "input_event", "input_event_cnt"})
WITHIN_NUMBERED_WITHOUT_VALUES = frozenset(  # commands, what other topics have as well, and why a blind stopped
    {"command", "set", "status", "overpower_value", "stop_reason", "energy", "returned_energy", "reactive_energy"}
)


class Shelly1:
    """Parses the messages of all devices below one topic."""

    default_model = "Shelly"

    def __init__(self, root: str) -> None:
        self._root = root
        self._levels = root.count("/") + 1
        self.filters = (f"{root}/#",)
        self.command_filters = (f"{root}/+/command", *(f"{root}/+/{kind}/+/command" for kind in SWITCHED))

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
            case ["info" | "status"]:
                return _trv(device, payloads.json_object(payload))
            case ["online"]:
                online = payloads.on_or_off(payloads.text(payload))
                requests = ((f"{self._root}/{device}/command", "update"),) if online else ()
                return ParsedMessage(device, availability="online" if online else "offline", requests=requests)
            case [kind, number] if number.isdigit() and kind in SWITCHED:
                return self._switch(device, kind, number, payloads.text(payload))
            case ["roller", number] if number.isdigit():
                return _measured(device, ROLLER, number, payload)
            case [kind, number, what] if number.isdigit() and what in NUMBERED.get(kind, ()):
                return _measured(device, NUMBERED[kind][what], number, payload)
            case [kind, number] if number.isdigit() and kind in NUMBERED_SINGLE:
                return _measured(device, NUMBERED_SINGLE[kind], number, payload)
            case ["sensor", name] if name in SENSORS:
                return _measured(device, SENSORS[name], "0", payload)
            case [name] if name in SINGLE:
                return _measured(device, SINGLE[name], "0", payload)
        return IGNORED if _has_no_values(below) else None

    def _switch(self, device: str, kind: str, number: str, written: str) -> ParsedMessage:
        name = _numbered(kind, number)
        on = False if written == "overpower" else payloads.on_or_off(written)
        command_topic = CommandTopic(f"{self._root}/{device}/{kind}/{number}/command", "on", "off")
        return ParsedMessage(device, (ChannelValue(name, on, STATE),), command_topics={name: command_topic})


def _measured(device: str, topic_channel: TopicChannel, number: str, payload: bytes) -> ParsedMessage:
    value = topic_channel.parse(payloads.text(payload))
    return ParsedMessage(device, (ChannelValue(_numbered(topic_channel.name, number), value, topic_channel.channel),))


def _has_no_values(below: list[str]) -> bool:
    """Whether a topic of a device is known to have nothing to import."""
    match below:
        case [name]:
            return name in WITHOUT_VALUES
        case ["sensor", name]:
            return name in SENSORS_WITHOUT_VALUES
        case ["ext_temperature_f" | "ext_temperatures" | "ext_temperatures_f" | "ext_humidities" | "ext_sensors", *_]:
            return True
        case [name, number]:
            return number.isdigit() and name in NUMBERED_WITHOUT_VALUES
        case [kind, number, name, *_]:
            return (
                number.isdigit()
                and (kind in NUMBERED or kind == "thermostat")
                and name in WITHIN_NUMBERED_WITHOUT_VALUES
            )
    return False


def _trv(device: str, document: Mapping[str, object]) -> ParseResult:
    """Return what a TRV reports, and nothing of other devices: they have a topic for each value as well.

    `info` has the battery beside a list of thermostats, `status` beside the temperatures.
    """
    thermostats = document.get("thermostats")
    thermostat = thermostats[0] if isinstance(thermostats, list) and thermostats else document
    if not isinstance(thermostat, dict) or thermostat.keys().isdisjoint({"tmp", "target_t"}):
        return IGNORED
    leaves = dict(payloads.leaves(thermostat))
    if "bat" in document:
        battery = document["bat"]
        leaves["bat",] = battery.get("value") if isinstance(battery, dict) else battery
    values, rejected = [], []
    for path, topic_channel in TRV.items():
        is_valid = leaves.get((*path[:-1], "is_valid")) is not False
        unit = leaves.get((*path[:-1], "units"))
        channel = measured_in(f"°{unit}") if path[-1] == "value" and isinstance(unit, str) else topic_channel.channel
        if path in leaves:
            try:
                value = payloads.value(leaves[path]) if is_valid else None
                values.append(ChannelValue(topic_channel.name, value, channel))
            except NotUnderstood as error:
                rejected.append(f"{'.'.join(path)}: {error}")
    return ParsedMessage(device, tuple(values), rejected=tuple(rejected))


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
