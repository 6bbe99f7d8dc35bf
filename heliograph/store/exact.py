"""Sums that are rounded once, and the rule that tells a counter's resets from its dips: one number at a time."""

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate

SCALES = tuple(10**digits for digits in range(7))
LARGEST = 10**15  # scaled integers below it are exact as float64 and back
EXACT = 1 << 53  # so are sums below this
SHRUNK = 2.0**64  # more values than there can be, so that their sum is not beyond float64
RESET = 0.9
GAP = 900_000  # ms; nothing is assumed between points farther apart
ROLLOVER_FROM, ROLLOVER_TO = 0.9, 0.1  # a fall from the top tenth of a register to its lowest


def decimal(values: Sequence[float]) -> tuple[int, list[int]] | None:
    """Return (digits, integers) with integer / 10**digits == value for all values and the fewest digits ≤ 6, else None."""
    for digits, scale in enumerate(SCALES):
        scaled: list[int] = []
        for value in values:
            product = value * scale
            if not -LARGEST < product < LARGEST:  # NaN too
                return None
            integer = round(product)
            if integer / scale != value:
                break
            scaled.append(integer)
        else:
            return digits, scaled
    return None


def total(values: Sequence[float]) -> float:
    """Return the sum of values: exact for decimals, rounded once for others, infinite if it is too large."""
    as_decimal = decimal(values)
    if as_decimal is not None:
        digits, scaled = as_decimal
        if sum(map(abs, scaled)) < EXACT:
            exactly: float = sum(scaled) / SCALES[digits]
            return exactly + 0.0
    return fsum(values)


def running(values: Sequence[float]) -> list[float]:
    """Return the totals of the first value, the first two, and so on: exact for decimals, rounded once for others."""
    as_decimal = decimal(values)
    if as_decimal is None:
        return [float(sum_) for sum_ in accumulate(map(Fraction, values))]
    digits, integers = as_decimal
    return [sum_ / SCALES[digits] for sum_ in accumulate(integers)]


def fsum(values: Sequence[float]) -> float:
    """Return the sum rounded once; infinite if it is too large, NaN if infinities cancel out."""
    try:
        return math.fsum(values) + 0.0
    except OverflowError:  # an intermediate sum is beyond float64
        return math.fsum(value / SHRUNK for value in values) * SHRUNK
    except ValueError:
        return math.nan


def correction(before: float, value: float, rollover: float = 0.0) -> float:
    """Return what has to be added to value - before to get the rise of a counter.

    A fall to less than 0.9 of the value before is a reset: the counter began again at zero
    (Home Assistant Core, components/sensor/recorder.py, `reset_detected`); a smaller fall is
    a dip, after which the value returns. A register that rolls over at a known value continues from zero.
    """
    if not 0 <= value < RESET * before:
        return 0.0
    if rollover and before <= rollover and before >= ROLLOVER_FROM * rollover and value <= ROLLOVER_TO * rollover:
        return rollover
    return before
