"""Numbers in lines and packets: strictly parsed, exactly scaled."""

import re
from decimal import Decimal
from typing import NamedTuple

from heliograph.messages import finite

_NUMBER = re.compile(r"[+-]?(?:[0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]{1,4})?", re.IGNORECASE)


def number(text: str) -> float:
    """Return a decimal number, an integer if it is written as one; raise ValueError if it is not a number."""
    if not _NUMBER.fullmatch(text):
        raise ValueError("not a number")
    return finite(int(text) if text.lstrip("+-").isdigit() else float(text))


class Scale(NamedTuple):
    """A factor as the fraction of its decimal digits: 0.1 is 1/10."""

    numerator: int
    denominator: int

    def times(self, raw: float) -> float:
        """Return the number nearest to the exact product: 548 times 0.1 is 54.8.

        An integer times a scale without decimal places is an integer.
        """
        if self == (1, 1):
            return raw
        if isinstance(raw, float):
            return float(Decimal(repr(raw)) * self.numerator / self.denominator)
        product = raw * self.numerator
        return product if self.denominator == 1 else product / self.denominator


def scale(factor: float) -> Scale:
    """Return a factor as a Scale; raise ValueError unless it is between 1e-12 and 1e12."""
    if not 1e-12 <= abs(factor) <= 1e12:
        raise ValueError(f"{factor!r} is not between 1e-12 and 1e12")
    return Scale(*Decimal(repr(factor)).as_integer_ratio())
