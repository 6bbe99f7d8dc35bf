"""What a channel is for Home Assistant: its classes, from unit, kind and name."""

from typing import NamedTuple

from heliograph import units
from heliograph.messages import Channel
from services.home_assistant import classes


class Meaning(NamedTuple):
    """What a sensor is; "" and None: nothing. `refused` is the device class that Home Assistant would not have taken."""

    unit: str
    device_class: str
    state_class: str
    precision: int | None
    diagnostic: bool
    refused: str = ""


DIAGNOSTIC = frozenset({"rssi", "lqi", "snr", "linkquality", "signal", "uptime", "missed", "throttled", "undervoltage"})
_ANGLES = frozenset({"direction", "azimuth", "bearing", "heading"})
_PRECISIONS = {
    "V": 1, "A": 2, "W": 0, "kW": 3, "VA": 0, "var": 0, "Wh": 0, "kWh": 2, "MWh": 3, "Hz": 2, "°C": 1, "°F": 1,
    "hPa": 1, "%": 1, "lx": 0, "W/m²": 0, "dBm": 0, "dB": 0, "ppm": 0, "μg/m³": 0,
}  # fmt: skip

# Where a unit alone does not tell the class: the first of these whose words are all in the name, "" is any name.
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
# What a unit measures if the name does not say that it is the weather.
_PLAINER = {"precipitation": "distance", "precipitation_intensity": "speed", "wind_speed": "speed"}
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


def meaning(name: str, channel: Channel) -> Meaning:
    """Return what a channel of numbers is; never what Home Assistant would refuse."""
    unit = classes.spelled(channel.unit)
    words = f" {name.replace('_', ' ')} "
    gauge = channel.kind != "counter"
    wanted = _device_class(unit, words, gauge)
    state = "measurement" if gauge else "total_increasing"
    if gauge and unit == "°" and not _ANGLES.isdisjoint(words.split()):
        state = "measurement_angle"
    if classes.takes(wanted, unit, state):
        refused = ""
    elif gauge and classes.takes(wanted, unit, ""):
        state, refused = "", ""  # an energy that may fall: shown, without statistics
    else:
        wanted, refused = "", wanted
    diagnostic = wanted == "signal_strength" or not DIAGNOSTIC.isdisjoint(words.split())
    return Meaning(unit, wanted, state, _PRECISIONS.get(unit), diagnostic, refused)


def _device_class(unit: str, words: str, gauge: bool) -> str:
    if unit in _BY_NAME:
        return next((found for said, found in _BY_NAME[unit] if f" {said} " in words), "")
    found = units.DEVICE_CLASSES.get(unit.replace("\u03bc", "\u00b5"), "")
    found = _PLAINER.get(found, found)
    if found == "volume" and gauge:
        return "volume_storage"
    if found == "energy" and gauge and any(f" {word} " in words for word in ("stored", "storage", "remaining")):
        return "energy_storage"
    other = next((other for word, other in _BY_CLASS.get(found, ()) if f" {word} " in words), found)
    return other if unit in classes.RULES.get(other, classes.NOTHING).units else found
