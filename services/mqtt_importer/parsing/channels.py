"""Channels from what a maker states of them, else from their names and values."""

import msgspec

from heliograph import units
from heliograph.messages import Channel, Kind, Value

_UNITS = {  # by the last word of a name, as sensors of all makers use it
    "power": "W",
    "voltage": "V",
    "current": "A",
    "frequency": "Hz",
    "temperature": "°C",
    "humidity": "%",
    "battery": "%",
    "pressure": "hPa",
    "illuminance": "lx",
    "lux": "lx",
    "co2": "ppm",
    "eco2": "ppm",
    "rssi": "dBm",
    "linkquality": "",
}


def measured_in(unit: str, kind: Kind | None = None) -> Channel:
    """Return a channel with this unit, in any spelling; an unknown unit becomes the channel's label.

    Energies are counters unless `kind` is given.
    """
    unit = unit.strip().replace("\u03bc", "\u00b5").replace("\u00ba", "\u00b0")  # the other micro and degree signs
    try:
        spelled, label = units.spelled(unit), ""
    except ValueError:
        spelled, label = "", unit[:32] if unit.isprintable() else ""
    if kind is None:
        kind = "counter" if units.DEVICE_CLASSES[spelled] in units.COUNTED else "gauge"
    return Channel(spelled, kind, label)


def guessed(name: str, value: Value) -> Channel:
    """Return the channel that a name and one of its values suggest."""
    if isinstance(value, bool):
        return Channel(kind="state")
    if isinstance(value, str):
        return Channel(kind="text")
    return Channel(_UNITS.get(name.rstrip("0123456789_").rpartition("_")[2], ""))


def converted(value: Value, channel: Channel) -> Value:
    """Return a value as its channel has it; raise ValueError if the channel cannot have it."""
    if channel.kind == "text":
        return value if isinstance(value, str) else msgspec.json.encode(value).decode()
    if isinstance(value, str):
        raise ValueError("a text in a channel of numbers")
    if channel.kind == "state":
        if value not in (0, 1):
            raise ValueError("neither on nor off")
        return bool(value)
    return int(value) if isinstance(value, bool) else value
