"""Which units and state classes Home Assistant accepts with each device class.

As in components/sensor/const.py of Core 2026.11: DEVICE_CLASS_UNITS, DEVICE_CLASS_STATE_CLASSES,
STATE_CLASS_UNITS. Units with a micro sign are spelled with U+03BC there.
"""

from typing import Literal, NamedTuple

StateClass = Literal["measurement", "measurement_angle", "total_increasing"]


class DeviceClassRule(NamedTuple):
    """The units and state classes that a device class accepts; "" is no unit."""

    units: frozenset[str]
    states: frozenset[str]


def _rule(units: str, *states: StateClass, unitless: bool = False) -> DeviceClassRule:
    return DeviceClassRule(frozenset([*units.split(), *([""] if unitless else [])]), frozenset(states))


NO_RULE = DeviceClassRule(frozenset(), frozenset())
_PRESSURES = "mPa Pa hPa kPa bar cbar mbar mmHg inHg inH₂O psi atm"
_ENERGIES = "J kJ MJ GJ mWh Wh kWh MWh GWh TWh cal kcal Mcal Gcal thm"
_SPEEDS = "Beaufort ft/s in/s m/min m/s km/h kn mph mm/s"
_FLUXES = "in/d in/h mm/d mm/h"

RULES: dict[str, DeviceClassRule] = {
    "apparent_power": _rule("mVA VA kVA", "measurement"),
    "aqi": _rule("", "measurement", unitless=True),
    "atmospheric_pressure": _rule(_PRESSURES, "measurement"),
    "battery": _rule("%", "measurement"),
    "carbon_dioxide": _rule("ppm", "measurement"),
    "carbon_monoxide": _rule("ppb ppm mg/m³ μg/m³", "measurement"),
    "conductivity": _rule("S/cm mS/cm μS/cm", "measurement"),
    "current": _rule("μA mA A", "measurement"),
    "data_rate": _rule("bit/s kbit/s Mbit/s Gbit/s B/s kB/s MB/s GB/s KiB/s MiB/s GiB/s", "measurement"),
    "data_size": _rule("bit kbit Mbit Gbit B kB MB GB TB KiB MiB GiB TiB", "measurement", "total_increasing"),
    "distance": _rule("mm cm m km in ft yd mi nmi", "measurement", "total_increasing"),
    "duration": _rule("μs ms s min h d", "measurement", "total_increasing"),
    "energy": _rule(_ENERGIES, "total_increasing"),
    "energy_storage": _rule(_ENERGIES, "measurement"),
    "frequency": _rule("mHz Hz kHz MHz GHz", "measurement"),
    "gas": _rule("CCF ft³ m³ L MCF", "total_increasing"),
    "humidity": _rule("%", "measurement"),
    "illuminance": _rule("lx", "measurement"),
    "irradiance": _rule("W/m² BTU/(h⋅ft²)", "measurement"),
    "moisture": _rule("%", "measurement"),
    "nitrogen_dioxide": _rule("ppb ppm μg/m³", "measurement"),
    "ozone": _rule("ppb ppm μg/m³", "measurement"),
    "ph": _rule("", "measurement", unitless=True),
    "pm1": _rule("μg/m³", "measurement"),
    "pm10": _rule("μg/m³", "measurement"),
    "pm25": _rule("μg/m³", "measurement"),
    "pm4": _rule("μg/m³", "measurement"),
    "power": _rule("mW W kW MW GW TW", "measurement"),
    "power_factor": _rule("%", "measurement", unitless=True),
    "precipitation": _rule("in mm cm", "measurement", "total_increasing"),
    "precipitation_intensity": _rule(_FLUXES, "measurement"),
    "pressure": _rule(_PRESSURES, "measurement"),
    "reactive_energy": _rule("varh kvarh", "total_increasing"),
    "reactive_power": _rule("mvar var kvar", "measurement"),
    "signal_strength": _rule("dB dBm", "measurement"),
    "sound_pressure": _rule("dB dBA", "measurement"),
    "speed": _rule(f"{_SPEEDS} {_FLUXES}", "measurement"),
    "sulphur_dioxide": _rule("ppb μg/m³", "measurement"),
    "temperature": _rule("°C °F K", "measurement"),
    "volatile_organic_compounds": _rule("mg/m³ μg/m³", "measurement"),
    "volatile_organic_compounds_parts": _rule("ppb ppm", "measurement"),
    "voltage": _rule("μV mV V kV MV", "measurement"),
    "volume": _rule("ft³ CCF MCF m³ L mL gal", "total_increasing"),
    "volume_flow_rate": _rule("m³/h m³/min m³/s ft³/min L/h L/min L/s gal/h gal/min gal/d mL/s", "measurement"),
    "volume_storage": _rule("ft³ CCF MCF m³ L mL gal", "measurement"),
    "water": _rule("CCF ft³ m³ gal L MCF", "total_increasing"),
    "weight": _rule("g kg mg μg oz lb st", "measurement", "total_increasing"),
    "wind_direction": _rule("°", "measurement_angle"),
    "wind_speed": _rule(_SPEEDS, "measurement"),
}


def spelled(unit: str) -> str:
    """Return one of our units in the spelling of Home Assistant."""
    return unit.replace("\u00b5", "\u03bc")


def accepts(device_class: str, unit: str, state_class: str) -> bool:
    """Whether Home Assistant accepts a sensor with this class; "" stands for no class, unit or state class."""
    if state_class == "measurement_angle" and unit != "°":
        return False
    if not device_class:
        return True
    rule = RULES.get(device_class)
    return rule is not None and unit in rule.units and (not state_class or state_class in rule.states)
