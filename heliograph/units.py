"""Units as Home Assistant spells them, with what they measure, and how many of one are another.

The spellings are those of `homeassistant/const.py` and the device classes those of
`homeassistant/components/sensor/const.py` (Core 2026.11); a micro sign is
U+00B5 here, as keyboards have it. Sizes are those of the SI (NIST SP 811, appendix B): the calorie is the thermochemical one, the
BTU that of the International Table, the gallon that of the US; mmHg and inHg are conventional ones.
"""

from heliograph import nearest

# Quantities and their units, each with how many of the quantity's first unit it is; values of two units of one quantity can be converted.
_QUANTITIES: dict[str, dict[str, str]] = {
    "voltage": {"V": "1", "mV": "1/1000", "µV": "1/1000000", "kV": "1000"},
    "current": {"A": "1", "mA": "1/1000", "µA": "1/1000000"},
    "power": {
        "W": "1", "kW": "1000", "mW": "1/1000", "MW": "1000000", "GW": "1000000000", "BTU/h": "105505585262/360000000000",
    },
    "apparent_power": {"VA": "1", "mVA": "1/1000", "kVA": "1000"},
    "reactive_power": {"var": "1", "mvar": "1/1000", "kvar": "1000"},
    "energy": {
        "Wh": "1", "kWh": "1000", "mWh": "1/1000", "MWh": "1000000", "GWh": "1000000000", "J": "1/3600", "kJ": "10/36",
        "MJ": "10000/36", "GJ": "10000000/36", "cal": "4184/3600000", "kcal": "4184/3600", "Mcal": "4184000/3600",
        "Gcal": "4184000000/3600",
    },
    "reactive_energy": {"varh": "1", "kvarh": "1000"},
    "frequency": {"Hz": "1", "mHz": "1/1000", "kHz": "1000", "MHz": "1000000", "GHz": "1000000000"},
    "temperature": {"°C": "1", "°F": "5/9", "K": "1"},
    "pressure": {
        "Pa": "1", "mPa": "1/1000", "hPa": "100", "kPa": "1000", "mbar": "100", "cbar": "1000", "bar": "100000",
        "mmHg": "133322387415/1000000000", "inHg": "3386388640341/1000000000", "psi": "8896443230521/1290320000",
    },
    "illuminance": {"lx": "1"},
    "irradiance": {"W/m²": "1"},
    "signal_strength": {"dBm": "1"},
    "sound_pressure": {"dBA": "1"},
    "volume": {
        "m³": "1", "L": "1/1000", "mL": "1/1000000", "gal": "3785411784/1000000000000", "ft³": "28316846592/1000000000000",
    },
    "volume_flow_rate": {
        "m³/h": "1", "m³/min": "60", "m³/s": "3600", "L/h": "1/1000", "L/min": "60/1000", "L/s": "36/10", "mL/s": "36/10000",
        "gal/h": "3785411784/1000000000000", "gal/min": "227124707040/1000000000000",
        "ft³/min": "1699010795520/1000000000000",
    },
    "weight": {"g": "1", "kg": "1000", "mg": "1/1000", "lb": "45359237/100000"},
    "distance": {
        "cm": "1/100", "m": "1", "km": "1000", "in": "254/10000", "ft": "3048/10000", "mi": "1609344/1000", "mm": "1/1000",
    },
    "duration": {"µs": "1/1000000", "ms": "1/1000", "s": "1", "min": "60", "h": "3600", "d": "86400"},
    "data_size": {
        "B": "8", "kB": "8000", "MB": "8000000", "GB": "8000000000", "TB": "8000000000000", "KiB": "8192", "MiB": "8388608",
        "GiB": "8589934592", "bit": "1", "kbit": "1000", "Mbit": "1000000", "Gbit": "1000000000",
    },
    "data_rate": {
        "B/s": "8", "kB/s": "8000", "MB/s": "8000000", "bit/s": "1", "kbit/s": "1000", "Mbit/s": "1000000",
        "Gbit/s": "1000000000",
    },
    "part": {"ppm": "1", "ppb": "1/1000"},
    "density": {"µg/m³": "1/1000", "mg/m³": "1", "g/m³": "1000"},
    "speed": {"m/s": "1", "km/h": "10/36", "mph": "44704/100000", "kn": "1852/3600"},
    "precipitation_intensity": {"mm/h": "1"},
    "conductivity": {"S/cm": "1", "mS/cm": "1/1000", "µS/cm": "1/1000000"},
    "charge": {"Ah": "1", "mAh": "1/1000"},
    "apparent_energy": {"VAh": "1", "kVAh": "1000"},
    "resistance": {"Ω": "1", "kΩ": "1000"},
    "rotation": {"rpm": "1"},
    "link_quality": {"lqi": "1"},
    "level": {"dB": "1"},
    "angle": {"°": "1"},
    "ratio": {"%": "1"},
}  # fmt: skip
# Device classes of units that are not called as their quantity; "" does not tell what is measured.
_CLASSES = {
    "ppm": "carbon_dioxide", "ppb": "", "µg/m³": "pm25", "mg/m³": "", "g/m³": "", "mm": "precipitation", "BTU/h": "",
    **dict.fromkeys(_QUANTITIES["speed"], "wind_speed"),
    **{
        unit: ""
        for quantity in ("charge", "apparent_energy", "resistance", "rotation", "link_quality", "level", "angle", "ratio")
        for unit in _QUANTITIES[quantity]
    },
}  # fmt: skip
# By unit: what it measures, and how many of the first unit of that it is.
SCALES = {unit: (quantity, scale) for quantity, sizes in _QUANTITIES.items() for unit, scale in sizes.items()}
DEVICE_CLASSES: dict[str, str] = {
    "": "",
    **{unit: _CLASSES.get(unit, quantity) for unit, (quantity, _) in SCALES.items()},
}
COUNTED = frozenset({"energy", "reactive_energy"})  # device classes of what meters count

_SPELLINGS = {
    "C": "°C",
    "degC": "°C",
    "F": "°F",
    "VAr": "var",
    "VAR": "var",
    "kVAr": "kvar",
    "kVArh": "kvarh",
    "kwh": "kWh",
    "wh": "Wh",
    "w": "W",
    "v": "V",
    "a": "A",
    "hz": "Hz",
    "dbm": "dBm",
    "p": "",
    "pulses": "",
    "W/m2": "W/m²",
    "m3": "m³",
    "l": "L",
    "lux": "lx",
    "ug/m3": "µg/m³",
    "pf": "",
    "none": "",
    "ohm": "Ω",
    "Ohm": "Ω",
    "\u2126": "Ω",
    "kohm": "kΩ",
    "kOhm": "kΩ",
    "RPM": "rpm",
    "U/min": "rpm",
    "1/min": "rpm",
    "LQI": "lqi",
    "db": "dB",
    "dB(A)": "dBA",
    "millibar": "mbar",
    "mBar": "mbar",
    "Bar": "bar",
    "PSI": "psi",
    "kw": "kW",
    "va": "VA",
    "kva": "kVA",
    "KVA": "kVA",
    "kvarH": "kvarh",
    "VArh": "varh",
    "ah": "Ah",
    "l/min": "L/min",
    "lpm": "L/min",
    "l/h": "L/h",
    "l/s": "L/s",
    "ml": "mL",
    "m3/h": "m³/h",
    "m³/hour": "m³/h",
    "m3/s": "m³/s",
    "ft3": "ft³",
    "kph": "km/h",
    "kmh": "km/h",
    "knots": "kn",
    "kt": "kn",
    "mg/m3": "mg/m³",
    "g/m3": "g/m³",
    "uS/cm": "µS/cm",
    "us": "µs",
    "uA": "µA",
    "uV": "µV",
    "sec": "s",
    "hr": "h",
    "day": "d",
    "days": "d",
    "deg": "°",
    "degrees": "°",
    "degF": "°F",
    "Btu/h": "BTU/h",
}
# Other characters that look the same: the Greek mu, the ordinal sign, the single-character degrees.
_LOOK_ALIKES = str.maketrans({"\u03bc": "µ", "º": "°", "℃": "°C", "℉": "°F"})


def spelled(unit: str) -> str:
    """Return a unit as Home Assistant spells it; raise ValueError if it is unknown."""
    unit = unit.translate(_LOOK_ALIKES)
    unit = _SPELLINGS.get(unit, unit)
    if unit not in DEVICE_CLASSES:
        units = " ".join(filter(None, DEVICE_CLASSES))
        raise ValueError(f"unknown unit {unit!r}{nearest.hint(unit, DEVICE_CLASSES) or ';'} known are {units}")
    return unit
