"""Conversions of values into another unit: exact where the numbers are decimal ones, as 1234 Wh are 1.234 kWh."""

from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

import msgspec

from heliograph import units

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
    of_old, of_new = units.SCALES.get(old), units.SCALES.get(new)
    if not old:
        raise ValueError(
            f"the store has no unit of its values: give --from with the one that they have, to get {new!r}"
        )
    if of_old is None or of_new is None or of_old[0] != of_new[0]:
        raise ValueError(f"there is no conversion from {old!r} to {new!r}: give --factor, and --offset if zero changes")
    factor = Fraction(of_old[1]) / Fraction(of_new[1])
    before, after = Fraction(_ZEROS.get(old, "0")), Fraction(_ZEROS.get(new, "0"))
    if (old, new) == ("°F", "°C"):
        return Conversion(5.0, 9.0, before=-32.0)
    if (old, new) == ("°C", "°F"):
        return Conversion(9.0, 5.0, after=32.0)
    return Conversion(float(factor.numerator), float(factor.denominator), float(before), -float(after))
