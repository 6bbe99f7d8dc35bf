"""Values in another unit: decimal numbers stay decimal ones, and every unit of a quantity is convertible."""

from fractions import Fraction
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph import conversion, units

PAIRS = [(old, new) for old, new in permutations(units.SCALES, 2) if units.SCALES[old][0] == units.SCALES[new][0]]


@pytest.mark.parametrize(
    ("old", "new", "value", "expected"),
    [
        ("Wh", "kWh", 1234.0, 1.234),
        ("kWh", "Wh", 1.234, 1234.0),
        ("kWh", "Wh", 1.009, 1009.0),
        ("W", "kW", 0.015, 0.000015),
        ("kWh", "MJ", 1.0, 3.6),
        ("°F", "°C", 212.0, 100.0),
        ("°C", "°F", 100.0, 212.0),
        ("°C", "K", 0.0, 273.15),
        ("K", "°C", 0.043, -273.107),
        ("°C", "°F", 0.946, 33.7028),
        ("mbar", "hPa", 1013.0, 1013.0),
        ("L", "m³", 1500.0, 1.5),
        ("m/s", "km/h", 10.0, 36.0),
    ],
)
def test_decimal_numbers_are_converted_to_the_last_digit(old: str, new: str, value: float, expected: float) -> None:
    """Noise in it would be seen, and a chunk of such values is many times as large."""
    assert conversion.between(old, new).of(value) == expected


def test_units_of_other_quantities_are_not() -> None:
    with pytest.raises(ValueError, match="no conversion"):
        conversion.between("W", "Wh")


def test_every_size_of_a_unit_is_exact() -> None:
    """A size that no float is would be another one for every pair."""
    for old, new in PAIRS:
        known = conversion.between(old, new)
        wanted = Fraction(units.SCALES[old][1]) / Fraction(units.SCALES[new][1])
        assert Fraction(known.multiply) / Fraction(known.divide) == wanted, (old, new)


@given(st.sampled_from(PAIRS), st.integers(-(10**9), 10**9))
def test_there_and_back_is_the_same_decimal_number(pair: tuple[str, str], number: int) -> None:
    """Case Y17: of many units that the services know no conversion was known."""
    value = number / 1000
    there = conversion.between(*pair)
    back = conversion.between(*reversed(pair)).of(there.of(value))
    assert round(back, 6) == value
    size = Fraction(there.multiply) / Fraction(there.divide)
    if not there.has_offset and set(f"{size.numerator}{size.denominator}") == {"1", "0"}:
        assert back == value


@pytest.mark.parametrize(
    ("old", "new", "value", "expected"),
    [
        ("psi", "bar", 14.5037738, 1.0),
        ("inHg", "hPa", 29.92, 1013.2),
        ("gal", "L", 1.0, 3.785411784),
        ("ft³/min", "m³/h", 1.0, 1.69901),
        ("lb", "kg", 1.0, 0.45359237),
        ("mi", "km", 1.0, 1.609344),
        ("in", "mm", 1.0, 25.4),
        ("kn", "km/h", 1.0, 1.852),
        ("mph", "m/s", 1.0, 0.44704),
        ("GiB", "MB", 1.0, 1073.741824),
        ("MB/s", "Mbit/s", 1.0, 8.0),
        ("mS/cm", "µS/cm", 1.0, 1000.0),
        ("ppb", "ppm", 1500.0, 1.5),
        ("BTU/h", "W", 12000.0, 3516.85),
        ("m³/s", "L/min", 1.0, 60000.0),
    ],
)
def test_sizes_are_those_of_the_tables(old: str, new: str, value: float, expected: float) -> None:
    """NIST SP 811, appendix B.8."""
    assert conversion.between(old, new).of(value) == pytest.approx(expected, rel=1e-5)
