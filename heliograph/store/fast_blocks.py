"""The arithmetic of blocks with numpy: an accelerator; plain_blocks does the same without."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heliograph.store import plain_blocks
from heliograph.store.plain_blocks import DELTA_OF_DELTA, OFFSET, POWERS, PROBE

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LARGEST = float(plain_blocks.LARGEST)
UNZIGZAG = np.array(plain_blocks.UNZIGZAG, np.int64)


def floats(values: Iterable[float]) -> Floats:
    """Return a contiguous vector of float64, which may share its memory with the values."""
    if not isinstance(values, np.ndarray):
        values = np.asarray(plain_blocks.floats(values))
    return np.ascontiguousarray(values, np.float64)


def ints(values: Iterable[int]) -> Ints:
    """Return a contiguous vector of int64; raise TypeError for fractions, OverflowError for larger numbers."""
    if not (isinstance(values, np.ndarray) and values.dtype.kind == "i"):
        values = np.asarray(plain_blocks.ints(values))
    return np.ascontiguousarray(values, np.int64)


def vector(numbers: Ints) -> Ints:
    """Return integers as the vector that callers get."""
    return numbers


def repeated(numbers: NDArray[Any], n: int) -> NDArray[Any]:
    """Return n times the one number of a vector."""
    return numbers.repeat(n)


def span(numbers: Ints) -> tuple[int, int]:
    """Return the smallest and the largest of some integers; 0, 0 of none."""
    return (int(numbers.min()), int(numbers.max())) if len(numbers) else (0, 0)


def scale(values: Floats) -> tuple[int, Ints, int, int] | None:
    """Return the smallest d, the integers k with k / 10**d equal to every value to the bit, and their span; or None."""
    probe = values[:: max(1, len(values) // PROBE)]
    with np.errstate(all="ignore"):
        for decimals, power in enumerate(POWERS):
            if _scaled(probe, power) is not None:
                scaled = _scaled(values, power)
                if scaled is not None:
                    return decimals, *scaled
    return None


def _scaled(values: Floats, power: float) -> tuple[Ints, int, int] | None:
    numbers: Floats = np.rint(values * power) + 0.0  # -0.0 becomes 0.0, and differs from its value
    if not np.array_equal((numbers / power).view(np.int64), values.view(np.int64)):
        return None
    low, high = (numbers.min(), numbers.max()) if len(numbers) else (0, 0)
    return (numbers.astype(np.int64), int(low), int(high)) if low > -LARGEST and high < LARGEST else None


def unscale(numbers: Ints, decimals: int) -> Floats:
    """Return k / 10**d of integers k."""
    return numbers / POWERS[decimals]


def bits(values: Floats) -> Ints:
    """Return the bit patterns of floats, as integers."""
    return values.view(np.int64)


def from_bits(numbers: Ints) -> Floats:
    """Return the floats that have these bit patterns."""
    return numbers.view(np.float64)


def distinct(numbers: Ints) -> tuple[Ints, Ints]:
    """Return the different integers in order, and for each integer its index among them."""
    words, index = np.unique(numbers, return_inverse=True)
    return words, index.astype(np.int64)


def take(words: Ints, index: Ints) -> Ints:
    """Return the words with these indexes; raise IndexError for an index beyond them."""
    return words[index]


def bends_less(numbers: Ints) -> bool:
    """Return whether the steps between at least two integers change less than the integers do."""
    steps = np.diff(numbers)
    return int(np.abs(np.diff(steps)).sum()) < int(np.abs(steps).sum())


def planes(numbers: NDArray[Any], width: int) -> bytes:
    """Return the lowest `width` bytes of integers, plane by plane, the lowest first."""
    little = numbers.astype(numbers.dtype.newbyteorder("<"), copy=False)
    return little.view(np.uint8).reshape(-1, little.itemsize).T[:width].tobytes()


def pack(numbers: Ints, mode: int, low: int, high: int) -> tuple[int, int, bytes]:
    """Return width, base and byte planes of at least two integers of low..high, as the mode stores them."""
    size = 2 if high - low < 1 << 14 else 4 if high - low < 1 << 30 else 8  # changes of steps reach 4 * (high - low)
    steps = (numbers - low).astype(f"i{size}", copy=False)
    base = low
    if mode != OFFSET:
        base = int(numbers[0])
        steps = steps[1:] - steps[:-1]
        if mode == DELTA_OF_DELTA:
            steps[1:] -= steps[:-1].copy()
        steps = (steps << 1) ^ (steps >> size * 8 - 1)
    largest = int(steps.view(f"u{size}").max())
    width = (largest.bit_length() + 7) // 8 or 1
    return width, base, planes(steps, width)


def unpack(data: bytes, mode: int, width: int, n: int, base: int) -> Ints:
    """Return the n integers that `pack` made into these planes; beyond int64 they wrap."""
    joined = _joined(data, width)
    if mode == OFFSET:
        numbers: Ints = joined.astype(np.int64, copy=False)
        if base:
            numbers += base
        return numbers
    numbers = np.empty(n, np.int64)
    numbers[0] = base
    steps = numbers[1:]
    if width == 1:
        UNZIGZAG.take(joined, out=steps, mode="clip")
    else:
        steps[:] = ((joined >> 1) ^ -(joined & 1)).view(f"i{joined.itemsize}")
    if mode == DELTA_OF_DELTA:
        np.add.accumulate(steps, out=steps)
    return np.add.accumulate(numbers, out=numbers)


def _joined(data: bytes, width: int) -> NDArray[Any]:
    """Return unsigned integers of as few bytes as these planes need."""
    source = np.frombuffer(data, np.uint8)
    if width == 1:
        return source
    n = len(source) // width
    joined: NDArray[Any]
    if width == 2:
        joined = source[n:].astype(np.uint16)
        joined <<= 8
        joined |= source[:n]
        return joined
    size = 4 if width <= 4 else 8
    apart = np.zeros((n, size), np.uint8)
    apart[:, :width] = source.reshape(width, n).T
    joined = apart.reshape(-1).view(f"<u{size}")
    return joined.astype(f"u{size}", copy=False)
