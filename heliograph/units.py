"""Units as Home Assistant spells them, with what they measure.

The spellings are those of `homeassistant/const.py` and the device classes those of
`homeassistant/components/sensor/const.py` (Core 2026.2).
"""

DEVICE_CLASSES: dict[str, str] = {
    "V": "voltage",
    "mV": "voltage",
    "A": "current",
    "mA": "current",
    "W": "power",
    "kW": "power",
    "VA": "apparent_power",
    "var": "reactive_power",
    "kvar": "reactive_power",
    "Wh": "energy",
    "kWh": "energy",
    "MWh": "energy",
    "kvarh": "reactive_energy",
    "Hz": "frequency",
    "°C": "temperature",
    "°F": "temperature",
    "K": "temperature",
    "Pa": "pressure",
    "hPa": "pressure",
    "bar": "pressure",
    "lx": "illuminance",
    "W/m²": "irradiance",
    "dBm": "signal_strength",
    "m³": "volume",
    "L": "volume",
    "s": "duration",
    "min": "duration",
    "h": "duration",
    "B": "data_size",
    "kB": "data_size",
    "MB": "data_size",
    "ppm": "carbon_dioxide",
    "µg/m³": "pm25",
    "m/s": "wind_speed",
    "mm": "precipitation",
    "Ah": "",
    "VAh": "",
    "°": "",
    "%": "",
    "": "",
}

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
}


def spelled(unit: str) -> str:
    """Return a unit as Home Assistant spells it; raise ValueError if nobody knows it."""
    unit = _SPELLINGS.get(unit, unit)
    if unit not in DEVICE_CLASSES:
        raise ValueError(f"unknown unit {unit!r}; known are {' '.join(filter(None, DEVICE_CLASSES))}")
    return unit
