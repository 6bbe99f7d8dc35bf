import math
import struct
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.float32 import shortest


def single(number: float) -> float:
    rounded: float = struct.unpack("<f", struct.pack("<f", number))[0]
    return rounded


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float32_keeps_its_value_and_has_no_more_digits_than_it_needs(number: float) -> None:
    short = shortest(number)
    assert struct.pack("<f", short) == struct.pack("<f", number)
    assert len(Decimal(repr(short)).normalize().as_tuple().digits) <= 9


@given(st.integers(-1_000_000, 1_000_000).map(lambda tenths: Decimal(tenths).scaleb(-1)))
def test_a_number_that_a_device_rounded_to_six_digits_is_recovered(sent: Decimal) -> None:
    if len(sent.as_tuple().digits) <= 6:
        assert shortest(single(float(sent))) == float(sent)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="not a finite number"):
        shortest(number)
