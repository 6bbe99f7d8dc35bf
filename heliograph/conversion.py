"""Conversions of values into another unit: exact where the numbers are decimal ones, as 1234 Wh are 1.234 kWh."""

from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

import msgspec

from heliograph import units

# Of each unit, how many of the first one it is; "°C" and the like also have a zero of their own.
_SCALES: dict[str, dict[str, str]] = {
    "energy": {
        "Wh": "1", "kWh": "1000", "mWh": "1/1000", "MWh": "1000000", "GWh": "1000000000", "J": "1/3600", "kJ": "10/36",
        "MJ": "10000/36", "GJ": "10000000/36", "cal": "4184/3600000", "kcal": "4184/3600", "Mcal": "4184000/3600",
        "Gcal": "4184000000/3600",
    },
    "reactive_energy": {"varh": "1", "kvarh": "1000"},
    "power": {"W": "1", "kW": "1000", "mW": "1/1000", "MW": "1000000", "GW": "1000000000"},
    "apparent_power": {"VA": "1", "mVA": "1/1000", "kVA": "1000"},
    "reactive_power": {"var": "1", "mvar": "1/1000", "kvar": "1000"},
    "apparent_energy": {"VAh": "1", "kVAh": "1000"},
    "charge": {"Ah": "1", "mAh": "1/1000"},
    "voltage": {"V": "1", "mV": "1/1000", "µV": "1/1000000", "kV": "1000"},
    "current": {"A": "1", "mA": "1/1000", "µA": "1/1000000"},
    "resistance": {"Ω": "1", "kΩ": "1000"},
    "frequency": {"Hz": "1", "mHz": "1/1000", "kHz": "1000", "MHz": "1000000", "GHz": "1000000000"},
    "temperature": {"K": "1", "°C": "1", "°F": "5/9"},
    "pressure": {"Pa": "1", "mPa": "1/1000", "hPa": "100", "kPa": "1000", "mbar": "100", "cbar": "1000", "bar": "100000"},
    "volume": {"m³": "1", "L": "1/1000", "mL": "1/1000000"},
    "weight": {"g": "1", "kg": "1000", "mg": "1/1000"},
    "distance": {"m": "1", "cm": "1/100", "km": "1000", "mm": "1/1000"},
    "duration": {"s": "1", "µs": "1/1000000", "ms": "1/1000", "min": "60", "h": "3600", "d": "86400"},
    "speed": {"m/s": "1", "km/h": "10/36"},
}  # fmt: skip
_ZEROS = {"°C": "273.15", "°F": "459.67"}  # what is added to a value to count from the zero of all


class Conversion(msgspec.Struct, frozen=True):
    """A value v becomes (v + before) · multiply / divide + after; the factor is positive."""

    multiply: float = 1.0
    divide: float = 1.0
    before: float = 0.0
    after: float = 0.0

    def of(self, value: float) -> float:
        """Return a value in the new unit."""
        return self.of_sum(value, 1)

    def of_rise(self, value: float) -> float:
        """Return a difference of two values in the new unit."""
        return self.of_sum(value, 0)

    def of_sum(self, total: float, count: int) -> float:
        """Return the sum of `count` values in the new unit."""
        multiply, divide, before, after = decimals(self)
        return float((Decimal(repr(total)) + count * before) * multiply / divide + count * after)

    @property
    def has_offset(self) -> bool:
        """Whether zero is no longer zero."""
        return bool(self.before or self.after)


@lru_cache
def decimals(conversion: Conversion) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    """Return multiply, divide, before and after as the decimal numbers that they are written as."""
    numbers = (conversion.multiply, conversion.divide, conversion.before, conversion.after)
    multiply, divide, before, after = (Decimal(repr(float(number))) for number in numbers)
    return multiply, divide, before, after


def between(old: str, new: str) -> Conversion:
    """Return the conversion from one unit into another of the same quantity; raise ValueError if it is not known."""
    old, new = units.spelled(old), units.spelled(new)
    scales = next((known for known in _SCALES.values() if old in known and new in known), None)
    if scales is None:
        raise ValueError(f"there is no conversion from {old!r} to {new!r}: give --factor, and --offset if zero changes")
    factor = Fraction(scales[old]) / Fraction(scales[new])
    before, after = Fraction(_ZEROS.get(old, "0")), Fraction(_ZEROS.get(new, "0"))
    if (old, new) == ("°F", "°C"):
        return Conversion(5.0, 9.0, before=-32.0)
    if (old, new) == ("°C", "°F"):
        return Conversion(9.0, 5.0, after=32.0)
    return Conversion(float(factor.numerator), float(factor.denominator), float(before), -float(after))
