"""OBIS codes of electricity meters (IEC 62056-6-1) as channels, for DSMR telegrams and SML.

`1-0:1.8.0*255` is medium 1, channel 0, then quantity, kind and tariff, and last the billing period. Codes that are not
here keep their number: `1-0:96.50.1` is the channel `obis_1_0_96_50_1`. Only the period 255, which is the one meant where
none is written, is the present value; the others are the past (a month, yesterday, the last 365 days) and keep their
number, too: `1-0:1.8.0*96` is `obis_1_0_1_8_0_96`.
"""

from fractions import Fraction
from typing import NamedTuple

from heliograph.messages import Channel, Kind
from services.serial_bridge.parsing import channels
from services.serial_bridge.parsing.readings import Description
from services.serial_bridge.parsing.values import Scale

MAX_CHANNELS = 256  # more are noise that looks like codes
PRESENT = 255  # IEC 62056-6-1, value group F: the present value, none of a billing period
ABSTRACT, ELECTRICITY = 0, 1  # value group A

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
    "1.6.0": "power_import_peak",
    "1.7.0": "power_import",
    "2.7.0": "power_export",
    "3.7.0": "reactive_power_import",
    "4.7.0": "reactive_power_export",
    "9.7.0": "apparent_power",
    "13.7.0": "power_factor",
    "14.7.0": "frequency",
    "15.7.0": "power",
    "16.7.0": "power",
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
ABSTRACT_CODES: dict[str, str] = {
    "96.14.0": "tariff",
    "96.7.21": "power_failures",
    "96.7.9": "long_power_failures",
    "96.3.10": "breaker",
    "17.0.0": "power_limit",
}
_NAMES = {ELECTRICITY: CODES, ABSTRACT: ABSTRACT_CODES}
SECOND_CHOICE = "15.7.0"  # the power of 16.7.0 without its sign: `power` only for a meter that does not tell that
_CONVERTED = {"varh": ("kvarh", Scale(1, 1000)), "GJ": ("MWh", Scale(10, 36)), "m3": ("m³", Scale(1, 1))}
_STEPS = {  # of units of one quantity, in their smallest unit
    unit: (quantity, step)
    for quantity in ("W", "Wh", "VA", "VAh", "var", "varh", "V", "A")
    for unit, step in (("m" + quantity, 1), (quantity, 1_000), ("k" + quantity, 10**6), ("M" + quantity, 10**9))
}
COUNTERS = ("energy_", "reactive_energy_", "power_failures", "long_power_failures", "voltage_sags", "voltage_swells")


class Code(NamedTuple):
    """The code A-B:C.D.E*F; `quantity` is C.D.E, `period` F."""

    medium: int
    line: int
    quantity: str
    period: int = PRESENT

    @property
    def name(self) -> str:
        """The name of the channel with this code."""
        if self.line == 0 and self.period == PRESENT:
            return _NAMES.get(self.medium, {}).get(self.quantity, self.number)
        return self.number

    @property
    def number(self) -> str:
        """The name of a channel whose code is not known."""
        number = f"obis_{self.medium}_{self.line}_{self.quantity.replace('.', '_')}"
        return number if self.period == PRESENT else f"{number}_{self.period}"


def converted(unit: str, value: float) -> tuple[str, float]:
    """Return a value in a unit that units.py knows: 36 GJ are 10 MWh."""
    known, factor = _CONVERTED.get(unit, (unit, Scale(1, 1)))
    return known, factor.times(value)


class MeterChannels:
    """The channels of one meter so far, in the units that the configuration gives them, or of their first values."""

    def __init__(self, described: Description) -> None:
        self._described = described
        self._channels: dict[str, Channel] = {}
        self._codes: dict[str, Code] = {}

    def name(self, code: Code) -> str:
        """Return the channel of a code: of two codes with one name, the second keeps its number."""
        name = code.name
        known = self._codes.get(name)
        if known is None and len(self._codes) < MAX_CHANNELS:
            known = self._codes[name] = code
        return name if known in (None, code) else code.number

    def convert(self, name: str, code: Code, unit: str, value: float) -> float:
        """Learn the channel of a value, and return the value in the unit of the channel.

        Raises ValueError if the unit is not known, or is of another quantity than that of the first value.
        """
        unit, value = converted(unit, value)
        channel = channels.channel(unit, _kind(name, code))
        if len(self._channels) < MAX_CHANNELS or name in self._channels:
            known = self._channels.setdefault(name, channel)
            if (given := self._described.channels.get(name)) and given.unit:
                known = given
            if known.unit != channel.unit:
                return _in_unit(known.unit, channel.unit).times(value)
        return value

    def description(self) -> Description:
        """Return the description of the meter; the configuration takes precedence."""
        model, interval, described = self._described
        return Description(model, interval, {**self._channels, **described})


def _in_unit(known: str, unit: str) -> Scale:
    """Return the factor from a unit to a known one of the same quantity, as after a meter was replaced; raise ValueError if it is another."""
    quantity, step = _STEPS.get(unit, (unit, 0))
    if not step or _STEPS.get(known, ("", 0))[0] != quantity:
        raise ValueError(f"a value in {unit or 'no unit'} of a channel in {known or 'no unit'}")
    factor = Fraction(step, _STEPS[known][1])
    return Scale(factor.numerator, factor.denominator)


def _kind(name: str, code: Code) -> Kind | None:
    """Return the kind of a channel, None if its unit tells it: what belongs to a period begins again with the next one."""
    if code.period != PRESENT:
        return "gauge"
    return "counter" if name.startswith(COUNTERS) else None
