"""Device class, state class and precision of a channel in Home Assistant, from its unit, kind and name."""

from typing import NamedTuple

from heliograph import units
from heliograph.messages import Channel
from services.home_assistant import device_classes


class EntityDescription(NamedTuple):
    """A sensor as Home Assistant describes it; "" and None: not set. `rejected_class` is a device class that Home Assistant refuses here."""

    unit: str
    device_class: str
    state_class: str
    precision: int | None
    diagnostic: bool
    rejected_class: str = ""


DIAGNOSTIC = frozenset({"rssi", "lqi", "snr", "linkquality", "signal", "uptime", "missed", "throttled", "undervoltage"})
_ANGLES = frozenset({"direction", "azimuth", "bearing", "heading"})
_PRECISIONS = {
    "V": 1, "A": 2, "W": 0, "kW": 3, "VA": 0, "var": 0, "Wh": 0, "kWh": 2, "MWh": 3, "Hz": 2, "°C": 1, "°F": 1,
    "hPa": 1, "%": 1, "lx": 0, "W/m²": 0, "dBm": 0, "dB": 0, "ppm": 0, "μg/m³": 0,
}  # fmt: skip

# Units that do not determine the class alone: the first of these whose words are all in the name counts.
_BY_NAME: dict[str, tuple[tuple[str, str], ...]] = {
    "": (("power factor", "power_factor"), ("pf", "power_factor"), ("aqi", "aqi"), ("ph", "ph")),
    "%": (
        ("battery", "battery"),
        ("soc", "battery"),
        ("humidity", "humidity"),
        ("moisture", "moisture"),
        ("soil", "moisture"),
        ("power factor", "power_factor"),
        ("pf", "power_factor"),
    ),
    "ppm": (
        ("co2", "carbon_dioxide"),
        ("eco2", "carbon_dioxide"),
        ("co", "carbon_monoxide"),
        ("voc", "volatile_organic_compounds_parts"),
        ("tvoc", "volatile_organic_compounds_parts"),
        ("ozone", "ozone"),
        ("no2", "nitrogen_dioxide"),
    ),
    "μg/m³": (
        ("pm1", "pm1"),
        ("pm25", "pm25"),
        ("pm2 5", "pm25"),
        ("pm4", "pm4"),
        ("pm10", "pm10"),
        ("voc", "volatile_organic_compounds"),
        ("tvoc", "volatile_organic_compounds"),
        ("ozone", "ozone"),
        ("no2", "nitrogen_dioxide"),
        ("so2", "sulphur_dioxide"),
        ("co", "carbon_monoxide"),
    ),
    "mg/m³": (
        ("voc", "volatile_organic_compounds"),
        ("tvoc", "volatile_organic_compounds"),
        ("co", "carbon_monoxide"),
    ),
    "dB": (
        ("rssi", "signal_strength"),
        ("snr", "signal_strength"),
        ("signal", "signal_strength"),
        ("sound", "sound_pressure"),
        ("noise", "sound_pressure"),
    ),
    "°": (("wind direction", "wind_direction"), ("wind bearing", "wind_direction")),
}  # fmt: skip
_BY_NAME["ppb"] = tuple(item for item in _BY_NAME["ppm"] if item[1] != "carbon_dioxide")
_RAIN = ("rain", "rainfall", "precipitation")
# What a unit measures unless the name says that it is the weather.
_NOT_WEATHER = {"precipitation": "distance", "precipitation_intensity": "speed", "wind_speed": "speed"}
_BY_CLASS: dict[str, tuple[tuple[str, str], ...]] = {
    "pressure": tuple(
        (word, "atmospheric_pressure") for word in ("air", "atmospheric", "barometric", "barometer", "sea")
    ),
    "distance": tuple((word, "precipitation") for word in _RAIN),
    "speed": (
        ("wind", "wind_speed"),
        ("gust", "wind_speed"),
        *((word, "precipitation_intensity") for word in _RAIN),
    ),
    "volume": (("water", "water"), ("gas", "gas")),
}


def describe(name: str, channel: Channel) -> EntityDescription:
    """Return the description of a channel of numbers, with nothing in it that Home Assistant would refuse."""
    unit = device_classes.spelled(channel.unit)
    words = f" {name.replace('_', ' ')} "
    gauge = channel.kind != "counter"
    device_class = _device_class(unit, words, gauge)
    state_class = "measurement" if gauge else "total_increasing"
    if gauge and unit == "°" and not _ANGLES.isdisjoint(words.split()):
        state_class = "measurement_angle"
    if device_classes.accepts(device_class, unit, state_class):
        rejected = ""
    elif gauge and device_classes.accepts(device_class, unit, ""):
        state_class, rejected = "", ""  # an energy that may fall: shown, without statistics
    else:
        device_class, rejected = "", device_class
    diagnostic = device_class == "signal_strength" or not DIAGNOSTIC.isdisjoint(words.split())
    return EntityDescription(unit, device_class, state_class, _PRECISIONS.get(unit), diagnostic, rejected)


def _device_class(unit: str, words: str, gauge: bool) -> str:
    if unit in _BY_NAME:
        return next((measured for phrase, measured in _BY_NAME[unit] if f" {phrase} " in words), "")
    measured = units.DEVICE_CLASSES.get(unit.replace("\u03bc", "\u00b5"), "")
    measured = _NOT_WEATHER.get(measured, measured)
    if measured == "volume" and gauge:
        return "volume_storage"
    if measured == "energy" and gauge and any(f" {word} " in words for word in ("stored", "storage", "remaining")):
        return "energy_storage"
    named = next((named for word, named in _BY_CLASS.get(measured, ()) if f" {word} " in words), measured)
    return named if unit in device_classes.RULES.get(named, device_classes.NO_RULE).units else measured
