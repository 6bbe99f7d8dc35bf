"""OBIS codes of electricity meters (IEC 62056-6-1) as channels, for DSMR telegrams and SML.

`1-0:1.8.0*255` is medium 1, channel 0, then quantity, kind and tariff. Codes that are not
here keep their number: `1-0:96.50.1` is the channel `obis_1_0_96_50_1`.
"""

from heliograph.messages import Channel, Kind
from services.serial_bridge.parsing import channels
from services.serial_bridge.parsing.readings import Description
from services.serial_bridge.parsing.values import Scale

MAX_CHANNELS = 256  # more are noise that looks like codes

PHASES = {"l1": 20, "l2": 40, "l3": 60}
CODES: dict[str, str] = {
    "1.8.0": "energy_import",
    "2.8.0": "energy_export",
    **{f"1.8.{tariff}": f"energy_import_t{tariff}" for tariff in range(1, 5)},
    **{f"2.8.{tariff}": f"energy_export_t{tariff}" for tariff in range(1, 5)},
    "3.8.0": "reactive_energy_import",
    "4.8.0": "reactive_energy_export",
    **{f"3.8.{tariff}": f"reactive_energy_import_t{tariff}" for tariff in range(1, 5)},
    **{f"4.8.{tariff}": f"reactive_energy_export_t{tariff}" for tariff in range(1, 5)},
    "1.7.0": "power_import",
    "2.7.0": "power_export",
    "3.7.0": "reactive_power_import",
    "4.7.0": "reactive_power_export",
    "9.7.0": "apparent_power",
    "13.7.0": "power_factor",
    "14.7.0": "frequency",
    "15.7.0": "power",
    "16.7.0": "power",
    "96.14.0": "tariff",
    "96.7.21": "power_failures",
    "96.7.9": "long_power_failures",
    "96.3.10": "breaker",
    "17.0.0": "power_limit",
}
for _phase, _base in PHASES.items():
    CODES |= {
        f"{_base + 1}.7.0": f"power_import_{_phase}",
        f"{_base + 2}.7.0": f"power_export_{_phase}",
        f"{_base + 3}.7.0": f"reactive_power_import_{_phase}",
        f"{_base + 4}.7.0": f"reactive_power_export_{_phase}",
        f"{_base + 11}.7.0": f"current_{_phase}",
        f"{_base + 12}.7.0": f"voltage_{_phase}",
        f"{_base + 12}.32.0": f"voltage_sags_{_phase}",
        f"{_base + 12}.36.0": f"voltage_swells_{_phase}",
        f"{_base + 13}.7.0": f"power_factor_{_phase}",
        f"{_base + 16}.7.0": f"power_{_phase}",
    }
_CONVERTED = {"varh": ("kvarh", Scale(1, 1000)), "GJ": ("MWh", Scale(10, 36)), "m3": ("m³", Scale(1, 1))}
COUNTERS = ("energy_", "reactive_energy_", "power_failures", "long_power_failures", "voltage_sags", "voltage_swells")


def channel(medium: int, line: int, code: str) -> str:
    """Return the name of the channel with this code."""
    if medium in (0, 1) and line == 0 and code in CODES:
        return CODES[code]
    return f"obis_{medium}_{line}_{code.replace('.', '_')}"


def _kind(name: str) -> Kind | None:
    """Return the kind of a channel of this module, None if its unit tells it."""
    return "counter" if name.startswith(COUNTERS) else None


def converted(unit: str, value: float) -> tuple[str, float]:
    """Return a value in a unit that units.py knows: 36 GJ are 10 MWh."""
    known, factor = _CONVERTED.get(unit, (unit, Scale(1, 1)))
    return known, factor.times(value)


class MeterChannels:
    """The channels of one meter so far, in the units of their first values."""

    def __init__(self, described: Description) -> None:
        self._described = described
        self._channels: dict[str, Channel] = {}

    def convert(self, name: str, unit: str, value: float) -> float:
        """Learn the channel of a value, and return the value converted; raise ValueError if the unit is unknown."""
        unit, value = converted(unit, value)
        if len(self._channels) < MAX_CHANNELS or name in self._channels:
            self._channels.setdefault(name, channels.channel(unit, _kind(name)))
        return value

    def description(self) -> Description:
        """Return the description of the meter; the configuration takes precedence."""
        model, interval, described = self._described
        return Description(model, interval, {**self._channels, **described})
