"""Single-precision numbers (IEEE 754 binary32), as devices send them."""

import struct

from heliograph.messages import finite


def shortest(number: float) -> float:
    """Return the decimal with the fewest digits that is this float32: 230.4, not 230.39999389648438.

    Raises ValueError if the number is not finite.
    """
    exact = _packed(finite(number))
    for digits in range(6, 9):  # nine tell every float32 from the next
        short = float(f"{number:.{digits}g}")
        if _packed(short) == exact:
            return short
    return float(f"{number:.9g}")


def _packed(number: float) -> bytes:
    try:
        return struct.pack("<f", number)
    except OverflowError:
        return b""
