"""Tasmota: `tele/<topic>/SENSOR`, `STATE`, `LWT`, and `stat/<topic>/POWER`.

Topics and commands: tasmota.github.io/docs/MQTT. Values: docs/Commands (TelePeriod, Status 8,
10, 11), docs/JSON-Status-Responses; docs/Counters; docs/Smart-Meter-Interface (the names in its
examples); docs/Zigbee ("ZbReceived", SetOption89: a topic for each radio device). `topic` of the source is the device's FullTopic.
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
NOT_MEASURED = re.compile("(id|address|uid|name|(.*_)?(number|id|nr|serial)|.*time|iphostname)", re.IGNORECASE)
ENERGY_NOT_MEASURED = frozenset({"TotalStartTime", "Period"})
KWH = measured_in("kWh")
METER = (  # names of values in the examples of scripts for smart meters, which say no units
    (re.compile("(total|e|energy|enrg)_(in|out|imp|exp|import|export)(_?[tlp]?[0-9])?", re.IGNORECASE), KWH),
    (re.compile("power_(curr?|act|in|out|total|[lp][0-9]|phase[0-9])", re.IGNORECASE), measured_in("W")),
    (re.compile("volt(age)?_?[lp][0-9]", re.IGNORECASE), measured_in("V")),
    (re.compile("(amp|ampere|amperage|curr|current)_?[lp][0-9]", re.IGNORECASE), measured_in("A")),
    (re.compile("hz|freq", re.IGNORECASE), measured_in("Hz")),
)
COUNTS = Channel(kind="counter")
ON_OFF = Channel(kind="state")
MAX_RADIO_DEVICES = 1_000
RADIO = {
    "Power": ON_OFF,  # of a switch; ActivePower has the watts
    "Contact": ON_OFF,
    "Occupancy": ON_OFF,
    "ActivePower": measured_in("W"),
    "RMSVoltage": measured_in("V"),
    "RMSCurrent": measured_in("A"),
    "BatteryPercentage": measured_in("%"),
    "LinkQuality": measured_in(""),
}
RADIO_NOT_MEASURED = frozenset({"Device", "Name", "Endpoint", "Group", "IEEEAddr", "Manufacturer", "ModelId"})
STATE_NOT_MEASURED = frozenset(
    {"Time", "Uptime", "Heap", "SleepMode", "Sleep", "LoadAvg", "MqttCount", "Berry", "Wifi", "Hostname", "IPAddress"}
) | {"Color", "HSBColor", "White", "CT", "Channel", "Scheme", "Fade", "Speed", "LedTable", "Width", "PowerOnState"}
UNITS = {"TempUnit": "temperature", "PressureUnit": "pressure", "SpeedUnit": "speed"}


class Tasmota:
    """Parses the messages of all devices that have one FullTopic."""

    default_model = "Tasmota"

    def __init__(self, full_topic: str) -> None:
        self._levels = full_topic.rstrip("/").split("/")
        for token in ("%prefix%", "%topic%"):
            if self._levels.count(token) != 1:
                raise ValueError(f"topic: {full_topic!r} does not have {token} as one of its levels")
        self._radio_devices: dict[str, str] = {}  # and their bridges
        self.filters = tuple(self._filled(prefix, "+") + "/#" for prefix in ("tele", "stat"))
        self.command_filters = (self._filled("cmnd", "+") + "/+",)

    def parse(self, topic: str, payload: bytes) -> ParseResult:
        """Return what a message says; see parsed.Family."""
        levels = topic.split("/")
        if len(levels) == len(self._levels) + 2 and levels[-1] == "SENSOR":
            del levels[-2]  # the radio device, whose report names it as well
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
        if what == "RESULT" and prefix == "tele":  # what a bridge receives of radio devices, in older versions
            document = payloads.json_object(payload)
            return self._sensor(device, document) if "ZbReceived" in document else None
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
            below = [name for name, bridge in self._radio_devices.items() if bridge == device]
            others = tuple(ParsedMessage(name, availability="offline") for name in below)
            return ParsedMessage(device, availability="offline", others=others)
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
        unknown = []
        command_topics = {}
        for path, leaf in payloads.leaves(document):
            try:
                if len(path) == 1 and (match := _POWER.fullmatch(path[0])):
                    name = "_".join(filter(None, ("relay", match[1])))
                    values.append(ChannelValue(name, payloads.on_or_off(str(leaf)), Channel(kind="state")))
                    command_topics[name] = CommandTopic(f"{self._filled('cmnd', device)}/{path[0]}", "ON", "OFF")
                elif path in STATE:
                    values.append(ChannelValue(STATE[path][0], payloads.value(leaf), STATE[path][1]))
                elif path and path[0] not in STATE_NOT_MEASURED:
                    unknown.append((".".join(path)[:80], payloads.compact_json(leaf)))
            except NotUnderstood as error:
                rejected.append(f"{'.'.join(path)[:80]}: {error}")
        time = document.get("Time")
        return ParsedMessage(
            device, tuple(values), time, command_topics=command_topics, rejected=tuple(rejected), unknown=tuple(unknown)
        )

    def _sensor(self, device: str, document: Mapping[str, object]) -> ParseResult:
        radio = document.get("ZbReceived")
        others = tuple(self._radio(device, radio)) if isinstance(radio, dict) else ()
        units = {word: unit for key, word in UNITS.items() if isinstance(unit := document.get(key), str)}
        own = {
            key: value for key, value in document.items() if key not in UNITS and (key != "ZbReceived" or not others)
        }
        parsed = _sensors(device, own, units)._replace(time=document.get("Time"))
        if others and not (parsed.values or parsed.rejected or parsed.unknown):
            return others[0]._replace(others=others[1:])
        return parsed._replace(others=others)

    def _radio(self, bridge: str, reports: Mapping[str, object]) -> Iterator[ParsedMessage]:
        """Yield what a Zigbee bridge has received of each radio device."""
        for address, report in reports.items():
            if not isinstance(report, dict):
                continue
            name, model = report.get("Name"), report.get("ModelId")
            device = f"{bridge}/{name if isinstance(name, str) and name else address}"
            if len(self._radio_devices) < MAX_RADIO_DEVICES:
                self._radio_devices[device] = bridge
            measured = {key: value for key, value in report.items() if key not in RADIO_NOT_MEASURED}
            parsed = _sensors(device, measured, {})
            values = tuple(value._replace(channel=RADIO.get(value.text, value.channel)) for value in parsed.values)
            yield parsed._replace(values=values, model=model[:80] if isinstance(model, str) else "")


def _sensors(device: str, document: Mapping[str, object], units: Mapping[str, str]) -> ParsedMessage:
    values: list[ChannelValue] = []
    rejected: list[str] = []
    unknown: list[tuple[str, str]] = []
    for path, leaf in payloads.leaves(document):
        text = ".".join(path)[:80]
        try:
            values.append(_sensor_value(path, leaf, units))
        except NotUnderstood as error:
            rejected.append(f"{text}: {error}")
        except LookupError:
            if not _is_not_measured(path):
                unknown.append((text, payloads.compact_json(leaf)))
    return ParsedMessage(device, tuple(values), rejected=tuple(rejected), unknown=tuple(unknown))


def _is_not_measured(path: tuple[str, ...]) -> bool:
    return (
        not path
        or (path[0] == "ENERGY" and path[1:2] and path[1] in ENERGY_NOT_MEASURED)
        or bool(NOT_MEASURED.fullmatch(path[-1]))
    )


def _info(device: str, document: Mapping[str, object]) -> ParseResult:
    inner = document.get("Info1", document)
    module = inner.get("Module") if isinstance(inner, dict) else None
    return ParsedMessage(device, model=f"Tasmota {module}"[:80]) if isinstance(module, str) and module else IGNORED


def _sensor_value(path: tuple[str, ...], leaf: object, units: Mapping[str, str]) -> ChannelValue:
    """Return the value at a path; raise LookupError if it is nothing that is measured, as far as is known."""
    if path[0] == "ENERGY":
        name, channel = ENERGY[path[1]]
        return ChannelValue("_".join((name, *path[2:])), payloads.value(leaf), channel)  # several phases: a list
    value = payloads.value(leaf)
    if isinstance(value, str) or (isinstance(value, bool) and not _SWITCH.fullmatch(path[0])):
        raise LookupError("an address of a sensor, or the name of a mode")
    return ChannelValue(".".join(path), value, _sensor_channel(path, value, units))


def _sensor_channel(path: tuple[str, ...], value: object, units: Mapping[str, str]) -> Channel | None:
    word = path[-1].lower()
    if word in units:
        return measured_in(units[word], "gauge") if value is not None else None
    if path[0] == "COUNTER":
        return COUNTS if isinstance(value, int) else None  # with CounterType 1 it is the seconds of a pulse
    return next((channel for pattern, channel in METER if pattern.fullmatch(path[-1])), None)


def family(source: MqttSource) -> Family:
    """Return the parser of a source's messages."""
    return Tasmota(source.topic or FULL_TOPIC)
