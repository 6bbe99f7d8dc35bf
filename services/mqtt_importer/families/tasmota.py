"""Tasmota: `tele/<topic>/SENSOR`, `STATE`, `LWT`, and `stat/<topic>/POWER`.

Topics and commands: tasmota.github.io/docs/MQTT. Values: docs/Commands (TelePeriod, Status 8,
10, 11), docs/JSON-Status-Responses. `topic` of the source is the device's FullTopic.
"""

import re
from collections.abc import Iterator, Mapping

from heliograph.messages import Channel
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

FULL_TOPIC = "%prefix%/%topic%"
PREFIXES = ("tele", "stat", "cmnd")
_POWER = re.compile(r"POWER([0-9]{0,2})")
_SWITCH = re.compile(r"Switch[0-9]{1,2}")
KNOWN = frozenset({"INFO1", "INFO2", "INFO3", "UPTIME", "STATUS", "LOGGING", "RESULT", "HASS_STATE", "MARGINS"})
ENERGY = {
    "Total": ("energy", measured_in("kWh")),
    "Today": ("energy_today", measured_in("kWh")),
    "Yesterday": ("energy_yesterday", measured_in("kWh", "gauge")),
    "ExportActive": ("energy_returned", measured_in("kWh")),
    "Power": ("power", measured_in("W")),
    "ApparentPower": ("apparent_power", measured_in("VA")),
    "ReactivePower": ("reactive_power", measured_in("var")),
    "Factor": ("power_factor", measured_in("")),
    "Frequency": ("frequency", measured_in("Hz")),
    "Voltage": ("voltage", measured_in("V")),
    "Current": ("current", measured_in("A")),
}
STATE = {
    ("UptimeSec",): ("uptime", measured_in("s")),
    ("Vcc",): ("supply_voltage", measured_in("V")),
    ("Dimmer",): ("dimmer", measured_in("%")),
    ("Wifi", "RSSI"): ("wifi_quality", measured_in("%")),
    ("Wifi", "Signal"): ("wifi_signal", measured_in("dBm")),
}
UNITS = {"TempUnit": "temperature", "PressureUnit": "pressure", "SpeedUnit": "speed"}


class Tasmota:
    """Parses the messages of all devices that have one FullTopic."""

    default_model = "Tasmota"

    def __init__(self, full_topic: str) -> None:
        self._levels = full_topic.rstrip("/").split("/")
        for token in ("%prefix%", "%topic%"):
            if self._levels.count(token) != 1:
                raise ValueError(f"topic: {full_topic!r} does not have {token} as one of its levels")
        self.filters = tuple(self._filled(prefix, "+") + "/#" for prefix in ("tele", "stat"))
        self.command_filters = (self._filled("cmnd", "+") + "/+",)

    def parse(self, topic: str, payload: bytes) -> ParseResult:
        """Return what a message says; see parsed.Family."""
        levels = topic.split("/")
        if len(levels) != len(self._levels) + 1:
            return None
        parts = dict(zip(self._levels, levels, strict=False))
        prefix, device, what = parts["%prefix%"], parts["%topic%"], levels[-1]
        if prefix not in PREFIXES or self._filled(prefix, device) != "/".join(levels[:-1]):
            return None
        if prefix == "stat" and _POWER.fullmatch(what):
            return self._state(device, {what: payloads.text(payload)})
        if what == "LWT" and prefix == "tele":
            return self._availability(device, payloads.text(payload))
        if what == "SENSOR" and prefix == "tele":
            return self._sensor(device, payloads.json_object(payload))
        if what == "STATE" and prefix == "tele":
            return self._state(device, payloads.json_object(payload))
        if what == "INFO1" and prefix == "tele":
            return _info(device, payloads.json_object(payload))
        if prefix == "stat" and what in ("RESULT", "STATUS8", "STATUS10", "STATUS11"):
            return self._command_result(device, payloads.json_object(payload))
        return IGNORED if what in KNOWN or what.rstrip("0123456789") == "STATUS" else None

    def _filled(self, prefix: str, device: str) -> str:
        tokens = {"%prefix%": prefix, "%topic%": device}
        return "/".join(tokens.get(level, level) for level in self._levels)

    def _availability(self, device: str, written: str) -> ParsedMessage:
        if payloads.availability(written, "Online", "Offline") == "offline":
            return ParsedMessage(device, availability="offline")
        # Otherwise the state comes every TelePeriod, by default five minutes.
        request = (f"{self._filled('cmnd', device)}/STATE", "")
        return ParsedMessage(device, availability="online", requests=(request,))

    def _command_result(self, device: str, document: Mapping[str, object]) -> ParseResult:
        for key, parse in (("StatusSNS", self._sensor), ("StatusSTS", self._state)):
            inner = document.get(key)
            if isinstance(inner, dict):
                return parse(device, inner)
        return self._state(device, document) if "Time" in document else IGNORED  # without: stat/…/POWER has it as well

    def _state(self, device: str, document: Mapping[str, object]) -> ParsedMessage:
        values: list[ChannelValue] = []
        rejected = []
        command_topics = {}
        for path, leaf in payloads.leaves(document):
            try:
                if len(path) == 1 and (match := _POWER.fullmatch(path[0])):
                    name = "_".join(filter(None, ("relay", match[1])))
                    values.append(ChannelValue(name, payloads.on_or_off(str(leaf)), Channel(kind="state")))
                    command_topics[name] = CommandTopic(f"{self._filled('cmnd', device)}/{path[0]}", "ON", "OFF")
                elif path in STATE:
                    values.append(ChannelValue(STATE[path][0], payloads.value(leaf), STATE[path][1]))
            except NotUnderstood as error:
                rejected.append(f"{'.'.join(path)[:80]}: {error}")
        time = document.get("Time")
        return ParsedMessage(device, tuple(values), time, command_topics=command_topics, rejected=tuple(rejected))

    def _sensor(self, device: str, document: Mapping[str, object]) -> ParsedMessage:
        values: list[ChannelValue] = []
        rejected = []
        units = {word: unit for key, word in UNITS.items() if isinstance(unit := document.get(key), str)}
        for path, leaf in payloads.leaves(document):
            if path[0] == "Time" or path[0] in UNITS:
                continue
            try:
                values.extend(_sensor_value(path, leaf, units))
            except NotUnderstood as error:
                rejected.append(f"{'.'.join(path)[:80]}: {error}")
        return ParsedMessage(device, tuple(values), document.get("Time"), rejected=tuple(rejected))


def _info(device: str, document: Mapping[str, object]) -> ParseResult:
    inner = document.get("Info1", document)
    module = inner.get("Module") if isinstance(inner, dict) else None
    return ParsedMessage(device, model=f"Tasmota {module}"[:80]) if isinstance(module, str) and module else IGNORED


def _sensor_value(path: tuple[str, ...], leaf: object, units: Mapping[str, str]) -> Iterator[ChannelValue]:
    if path[0] == "ENERGY":
        if path[1:2] and path[1] in ENERGY:
            name, channel = ENERGY[path[1]]
            yield ChannelValue("_".join((name, *path[2:])), payloads.value(leaf), channel)  # several phases: a list
        return
    value = payloads.value(leaf)
    if isinstance(value, str) or (isinstance(value, bool) and not _SWITCH.fullmatch(path[0])):
        return  # addresses of sensors, names of modes
    text, word = ".".join(path), path[-1].lower()
    known = value is not None and word in units
    yield ChannelValue(text, value, measured_in(units[word], "gauge") if known else None)


def family(source: MqttSource) -> Family:
    """Return the parser of a source's messages."""
    return Tasmota(source.topic or FULL_TOPIC)
