"""Tasmota: `tele/<topic>/SENSOR`, `STATE`, `LWT`, and `stat/<topic>/POWER`.

Topics and commands: tasmota.github.io/docs/MQTT. Values: docs/Commands (TelePeriod, Status 8,
10, 11), docs/JSON-Status-Responses. `topic` of the source is the device's FullTopic.
"""

import re
from collections.abc import Iterator, Mapping

from heliograph.messages import Channel
from services.mqtt_importer import naming, payloads
from services.mqtt_importer.channels import channel, guessed
from services.mqtt_importer.heard import SILENCE, Family, Heard, Member, NotUnderstood, Said, Switch
from services.mqtt_importer.options import Source

FULL_TOPIC = "%prefix%/%topic%"
PREFIXES = ("tele", "stat", "cmnd")
_POWER = re.compile(r"POWER([0-9]{0,2})")
_SWITCH = re.compile(r"Switch[0-9]{1,2}")
KNOWN = frozenset({"INFO1", "INFO2", "INFO3", "UPTIME", "STATUS", "LOGGING", "RESULT", "HASS_STATE", "MARGINS"})
ENERGY = {
    "Total": ("energy", channel("kWh")),
    "Today": ("energy_today", channel("kWh")),
    "Yesterday": ("energy_yesterday", channel("kWh", "gauge")),
    "ExportActive": ("energy_returned", channel("kWh")),
    "Power": ("power", channel("W")),
    "ApparentPower": ("apparent_power", channel("VA")),
    "ReactivePower": ("reactive_power", channel("var")),
    "Factor": ("power_factor", channel("")),
    "Frequency": ("frequency", channel("Hz")),
    "Voltage": ("voltage", channel("V")),
    "Current": ("current", channel("A")),
}
STATE = {
    ("UptimeSec",): ("uptime", channel("s")),
    ("Vcc",): ("supply_voltage", channel("V")),
    ("Dimmer",): ("dimmer", channel("%")),
    ("Wifi", "RSSI"): ("wifi_quality", channel("%")),
    ("Wifi", "Signal"): ("wifi_signal", channel("dBm")),
}
UNITS = {"TempUnit": "temperature", "PressureUnit": "pressure", "SpeedUnit": "speed"}


class Tasmota:
    """Reads the messages of all devices that have one FullTopic."""

    default_model = "Tasmota"

    def __init__(self, full_topic: str) -> None:
        self._levels = full_topic.rstrip("/").split("/")
        for token in ("%prefix%", "%topic%"):
            if self._levels.count(token) != 1:
                raise ValueError(f"topic: {full_topic!r} does not have {token} as one of its levels")
        self.filters = tuple(self._filled(prefix, "+") + "/#" for prefix in ("tele", "stat"))
        self.command_filters = (self._filled("cmnd", "+") + "/+",)

    def read(self, topic: str, payload: bytes) -> Said:
        """Return what a message says; see heard.Family."""
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
            return self._alive(device, payloads.text(payload))
        if what == "SENSOR" and prefix == "tele":
            return self._sensor(device, payloads.members(payload))
        if what == "STATE" and prefix == "tele":
            return self._state(device, payloads.members(payload))
        if what == "INFO1" and prefix == "tele":
            return self._info(device, payloads.members(payload))
        if prefix == "stat" and what in ("RESULT", "STATUS8", "STATUS10", "STATUS11"):
            return self._answer(device, payloads.members(payload))
        return SILENCE if what in KNOWN or what.rstrip("0123456789") == "STATUS" else None

    def _filled(self, prefix: str, device: str) -> str:
        tokens = {"%prefix%": prefix, "%topic%": device}
        return "/".join(tokens.get(level, level) for level in self._levels)

    def _alive(self, device: str, said: str) -> Heard:
        if payloads.availability(said, "Online", "Offline") == "offline":
            return Heard(device, availability="offline")
        # The state is otherwise told every TelePeriod, by default five minutes.
        return Heard(device, availability="online", asks=((f"{self._filled('cmnd', device)}/STATE", ""),))

    def _info(self, device: str, found: Mapping[str, object]) -> Said:
        inner = found.get("Info1", found)
        module = inner.get("Module") if isinstance(inner, dict) else None
        return Heard(device, model=f"Tasmota {module}"[:80]) if isinstance(module, str) and module else SILENCE

    def _answer(self, device: str, found: Mapping[str, object]) -> Said:
        for key, read in (("StatusSNS", self._sensor), ("StatusSTS", self._state)):
            inner = found.get(key)
            if isinstance(inner, dict):
                return read(device, inner)
        return self._state(device, found) if "Time" in found else SILENCE  # without: stat/…/POWER says it as well

    def _state(self, device: str, found: Mapping[str, object]) -> Heard:
        members: list[Member] = []
        refused = []
        switches = {}
        for path, leaf in payloads.leaves(found):
            try:
                if len(path) == 1 and (match := _POWER.fullmatch(path[0])):
                    name = "_".join(filter(None, ("relay", match[1])))
                    members.append(Member(name, payloads.switched(str(leaf)), Channel(kind="state")))
                    switches[name] = Switch(f"{self._filled('cmnd', device)}/{path[0]}", "ON", "OFF")
                elif path in STATE:
                    members.append(Member(STATE[path][0], payloads.value(leaf), STATE[path][1]))
            except NotUnderstood as error:
                refused.append(f"{'.'.join(path)[:80]}: {error}")
        return Heard(device, tuple(members), found.get("Time"), switches=switches, refused=tuple(refused))

    def _sensor(self, device: str, found: Mapping[str, object]) -> Heard:
        members: list[Member] = []
        refused = []
        given = {word: unit for key, word in UNITS.items() if isinstance(unit := found.get(key), str)}
        for path, leaf in payloads.leaves(found):
            if path[0] == "Time" or path[0] in UNITS:
                continue
            try:
                members.extend(_member(path, leaf, given))
            except NotUnderstood as error:
                refused.append(f"{'.'.join(path)[:80]}: {error}")
        return Heard(device, tuple(members), found.get("Time"), refused=tuple(refused))


def _member(path: tuple[str, ...], leaf: object, given: Mapping[str, str]) -> Iterator[Member]:
    if path[0] == "ENERGY":
        if path[1:2] and path[1] in ENERGY:
            name, meaning = ENERGY[path[1]]
            yield Member("_".join((name, *path[2:])), payloads.value(leaf), meaning)  # several phases: a list
        return
    value = payloads.value(leaf)
    if isinstance(value, str) or (isinstance(value, bool) and not _SWITCH.fullmatch(path[0])):
        return  # addresses of sensors, names of modes
    name = naming.channel("_".join(path))
    about = None if value is None else guessed(name, value)
    word = name.rpartition("_")[2]
    if about and word in given:
        about = channel(given[word], about.kind)
    yield Member(name, value, about)


def family(source: Source) -> Family:
    """Return what reads the messages of a source."""
    return Tasmota(source.topic or FULL_TOPIC)
