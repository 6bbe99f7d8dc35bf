"""The functions that a formula can call, see formula.py."""

import math
from collections.abc import Callable
from typing import NamedTuple

MANY = 1_000  # arguments


class Function(NamedTuple):
    """One function: how it is written, how many arguments it takes, and what it computes."""

    use: str
    least: int
    most: int
    compute: Callable[..., float]


def _clip(value: float, low: float, high: float) -> float:
    return max(low, min(high, value))


def _round(value: float, decimals: float = 0.0) -> float:
    return float(round(value, int(decimals)))


def finite(value: float) -> float:
    """Return a finite number as it is; raise OverflowError for another."""
    if math.isfinite(value):
        return value
    raise OverflowError


FUNCTIONS = {
    "min": Function("min(a, b, …)", 2, MANY, min),
    "max": Function("max(a, b, …)", 2, MANY, max),
    "abs": Function("abs(a)", 1, 1, abs),
    "round": Function("round(a) or round(a, decimals)", 1, 2, _round),
    "clip": Function("clip(a, lowest, highest)", 3, 3, _clip),
    "sqrt": Function("sqrt(a)", 1, 1, math.sqrt),
    "mean": Function("mean(a, b, …)", 1, MANY, lambda *values: math.fsum(values) / len(values)),
}
