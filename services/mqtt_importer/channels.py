"""What a channel means: what its maker says of it, else what its name and its value tell."""

import msgspec

from heliograph import units
from heliograph.messages import Channel, Kind, Value

_UNITS = {  # the last word of a name, as sensors of all makers use it
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
    "rssi": "dBm",
    "linkquality": "",
}


def channel(unit: str, kind: Kind | None = None) -> Channel:
    """Return a channel whose unit is spelled in any way; a unit that nobody knows becomes its label.

    Energies are counters unless `kind` says otherwise.
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
    """Return what a channel of which only the name is known must be, to have this value."""
    if isinstance(value, bool):
        return Channel(kind="state")
    if isinstance(value, str):
        return Channel(kind="text")
    return Channel(_UNITS.get(name.rstrip("0123456789_").rpartition("_")[2], ""))


def fitting(about: Channel, value: Value) -> Value:
    """Return a value as its channel has it; raise ValueError if it cannot have it."""
    if about.kind == "text":
        return value if isinstance(value, str) else msgspec.json.encode(value).decode()
    if isinstance(value, str):
        raise ValueError("a text in a channel of numbers")
    if about.kind == "state":
        if value not in (0, 1):
            raise ValueError("neither on nor off")
        return bool(value)
    return int(value) if isinstance(value, bool) else value
