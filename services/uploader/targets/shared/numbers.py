"""Values for services that take only numbers."""

import math

from heliograph.messages import Value

Number = int | float
EXACT = 2**53


def number(value: Value) -> Number | None:
    """Return a value as a number, without a fraction if it has none; None for a text.

    True is 1 and False is 0. Raise ValueError if it is not a finite number.
    """
    if isinstance(value, str):
        return None
    if isinstance(value, int):
        return int(value)
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a number")
    return int(value) if abs(value) < EXACT and value == int(value) else value
