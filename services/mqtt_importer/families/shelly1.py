"""Shelly, first generation: `shellies/<id>/relay/0`, `…/power`, `…/energy`, emeters, sensors, `…/online`.

Topics: shelly-api-docs.shelly.cloud/gen1 (MQTT, and the MQTT section of every device):
relay and roller energy is in watt-minutes, that of an emeter in Wh (`total`).
`topic` of the source stands in the place of `shellies`.
"""

from collections.abc import Callable
from typing import NamedTuple

from heliograph.messages import Channel, Value
from services.mqtt_importer import payloads
from services.mqtt_importer.channels import channel
from services.mqtt_importer.heard import SILENCE, Family, Heard, Member, NotUnderstood, Said, Switch
from services.mqtt_importer.options import Source

ROOT = "shellies"
STATE = Channel(kind="state")


class Meaning(NamedTuple):
    """What a topic says: the name of its channel, how the payload is read, what the channel is."""

    name: str
    read: Callable[[str], Value | None]
    about: Channel


def _watt_hours(written: str) -> float | None:
    minutes = payloads.number(written)
    return None if minutes is None else round(minutes / 60, 3)


def _number(name: str, unit: str) -> Meaning:
    return Meaning(name, payloads.number, channel(unit))


def _state(name: str) -> Meaning:
    return Meaning(name, payloads.switched, STATE)


POWER = _number("power", "W")
ENERGY = Meaning("energy", _watt_hours, channel("Wh"))
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
    """Reads the messages of all devices below one topic."""

    default_model = "Shelly"

    def __init__(self, root: str) -> None:
        self._root = root
        self._levels = root.count("/") + 1
        self.filters = (f"{root}/#",)
        self.command_filters = (
            f"{root}/+/command",
            f"{root}/+/relay/+/command",
            f"{root}/+/light/+/command",
        )

    def read(self, topic: str, payload: bytes) -> Said:
        """Return what a message says; see heard.Family."""
        levels = topic.split("/")
        if levels[: self._levels] != self._root.split("/"):
            return None
        device, *what = levels[self._levels :] or [""]
        match what:
            case [] if device in ("announce", "command"):
                return SILENCE
            case ["announce"]:
                return _announced(device, payloads.members(payload))
            case ["online"]:
                online = payloads.switched(payloads.text(payload))
                ask = ((f"{self._root}/{device}/command", "update"),) if online else ()
                return Heard(device, availability="online" if online else "offline", asks=ask)
            case ["relay" | "light" as kind, number] if number.isdigit():
                return self._switch(device, kind, number, payloads.text(payload))
            case [kind, number, quantity] if number.isdigit() and kind in NUMBERED:
                meaning = NUMBERED[kind].get(quantity)
                return _heard(device, meaning, number, payload) if meaning else SILENCE
            case [kind, number] if number.isdigit() and kind in NUMBERED_SINGLE:
                return _heard(device, NUMBERED_SINGLE[kind], number, payload)
            case ["sensor", name] if name in SENSORS:
                return _heard(device, SENSORS[name], "0", payload)
            case [name] if name in SINGLE:
                return _heard(device, SINGLE[name], "0", payload)
        return SILENCE if what and what[0] in KNOWN else None

    def _switch(self, device: str, kind: str, number: str, said: str) -> Heard:
        name = _numbered(kind, number)
        on = False if said == "overpower" else payloads.switched(said)
        switch = Switch(f"{self._root}/{device}/{kind}/{number}/command", "on", "off")
        return Heard(device, (Member(name, on, STATE),), switches={name: switch})


def _heard(device: str, meaning: Meaning, number: str, payload: bytes) -> Heard:
    value = meaning.read(payloads.text(payload))
    return Heard(device, (Member(_numbered(meaning.name, number), value, meaning.about),))


def _numbered(name: str, number: str) -> str:
    """Return the name of a channel: the first has no number, for most devices have no second."""
    if len(number) > 2:
        raise NotUnderstood("no device has so many")
    return name if number == "0" else f"{name}_{number}"


def _announced(device: str, found: dict[str, object]) -> Said:
    model = found.get("model")
    return Heard(device, model=f"Shelly {model}"[:80]) if isinstance(model, str) and model else SILENCE


def family(source: Source) -> Family:
    """Return what reads the messages of a source."""
    return Shelly1(source.topic or ROOT)
