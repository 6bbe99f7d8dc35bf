"""Units as Home Assistant spells them, with what they measure.

The spellings are those of `homeassistant/const.py` and the device classes those of
`homeassistant/components/sensor/const.py` (Core 2026.11); a micro sign is
U+00B5 here, as keyboards have it.
"""

# Device classes and their units; those of "" do not tell what they measure.
_MEASURED: dict[str, str] = {
    "voltage": "V mV µV kV",
    "current": "A mA µA",
    "power": "W kW mW MW GW",
    "apparent_power": "VA mVA kVA",
    "reactive_power": "var mvar kvar",
    "energy": "Wh kWh mWh MWh GWh J kJ MJ GJ cal kcal Mcal Gcal",
    "reactive_energy": "varh kvarh",
    "frequency": "Hz mHz kHz MHz GHz",
    "temperature": "°C °F K",
    "pressure": "Pa mPa hPa kPa mbar cbar bar mmHg inHg psi",
    "illuminance": "lx",
    "irradiance": "W/m²",
    "signal_strength": "dBm",
    "sound_pressure": "dBA",
    "volume": "m³ L mL gal ft³",
    "volume_flow_rate": "m³/h m³/min m³/s L/h L/min L/s mL/s gal/h gal/min ft³/min",
    "weight": "g kg mg lb",
    "distance": "cm m km in ft mi",
    "duration": "µs ms s min h d",
    "data_size": "B kB MB GB TB KiB MiB GiB bit kbit Mbit Gbit",
    "data_rate": "B/s kB/s MB/s bit/s kbit/s Mbit/s Gbit/s",
    "carbon_dioxide": "ppm",
    "pm25": "µg/m³",
    "wind_speed": "m/s km/h mph kn",
    "precipitation": "mm",
    "precipitation_intensity": "mm/h",
    "conductivity": "S/cm mS/cm µS/cm",
    "": "Ah mAh VAh kVAh Ω kΩ rpm lqi dB ppb mg/m³ g/m³ BTU/h ° %",
}
DEVICE_CLASSES: dict[str, str] = {
    "": "",
    **{unit: measured for measured, written in _MEASURED.items() for unit in written.split()},
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
        raise ValueError(f"unknown unit {unit!r}; known are {' '.join(filter(None, DEVICE_CLASSES))}")
    return unit
