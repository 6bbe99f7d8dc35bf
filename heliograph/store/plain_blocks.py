"""The arithmetic of blocks with the standard library alone; fast_blocks does the same with numpy."""

import sys
from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate
from operator import sub
from typing import Any, TypeAlias

Floats: TypeAlias = "array[float]"
Ints: TypeAlias = Sequence[int]

PROBE = 64  # values that are tried first
LARGEST = 10**15  # below it, k can be recovered from k / 10**d
POWERS = tuple(float(10**d) for d in range(7))
OFFSET, DELTA_OF_DELTA = 0, 2  # modes of blocks.py; every other one is a delta
HALF, MASK = 1 << 63, (1 << 64) - 1
UNSIGNED = {array(code).itemsize: code for code in "HIQ"}
UNZIGZAG = tuple((z >> 1) ^ -(z & 1) for z in range(256))


def floats(values: Iterable[float]) -> Floats:
    """Return a vector of float64."""
    if isinstance(values, array) and values.typecode == "d":
        return values
    return array("d", values)


def ints(values: Iterable[int]) -> "array[int]":
    """Return a vector of int64; raise TypeError for fractions, OverflowError for larger numbers."""
    if isinstance(values, array) and values.typecode == "q":
        return values
    return array("q", values)


def vector(numbers: Ints) -> "array[int]":
    """Return integers as the vector that callers get."""
    return ints(numbers)


def repeated(numbers: "array[Any]", n: int) -> "array[Any]":
    """Return n times the one number of a vector."""
    return numbers * n


def span(numbers: Ints) -> tuple[int, int]:
    """Return the smallest and the largest of some integers; 0, 0 of none."""
    return min(numbers, default=0), max(numbers, default=0)


def scale(values: Floats) -> tuple[int, Ints, int, int] | None:
    """Return the smallest d, the integers k with k / 10**d equal to every value to the bit, and their span; or None."""
    probe = values[:: max(1, len(values) // PROBE)]
    for decimals, power in enumerate(POWERS):
        if _scaled(probe, power) is not None:
            scaled = _scaled(values, power)
            if scaled is not None:
                return decimals, *scaled
    return None


def _scaled(values: Floats, power: float) -> tuple[Ints, int, int] | None:
    try:
        numbers = [round(value * power) for value in values]
    except (OverflowError, ValueError):  # infinite, or NaN
        return None
    low, high = span(numbers)
    if low <= -LARGEST or high >= LARGEST:
        return None
    again = array("d", [number / power for number in numbers])  # an integer has no -0.0
    return (numbers, low, high) if again.tobytes() == values.tobytes() else None


def unscale(numbers: Ints, decimals: int) -> Floats:
    """Return k / 10**d of integers k."""
    if not decimals:
        return array("d", numbers)
    power = POWERS[decimals]
    return array("d", [number / power for number in numbers])


def bits(values: Floats) -> Ints:
    """Return the bit patterns of floats, as integers."""
    return array("q", values.tobytes())


def from_bits(numbers: Ints) -> Floats:
    """Return the floats that have these bit patterns."""
    return array("d", ints(numbers).tobytes())


def distinct(numbers: Ints) -> tuple[Ints, Ints]:
    """Return the different integers in order, and for each integer its index among them."""
    words = array("q", sorted(set(numbers)))
    indexes = {word: index for index, word in enumerate(words)}
    return words, [indexes[number] for number in numbers]


def take(words: Ints, index: Ints) -> Ints:
    """Return the words with these indexes; raise IndexError for an index beyond them."""
    return [words[position] for position in index]


def bends_less(numbers: Ints) -> bool:
    """Return whether the steps between at least two integers change less than the integers do."""
    steps = _steps(numbers)
    return sum(map(abs, _steps(steps))) < sum(map(abs, steps))


def planes(numbers: Ints, width: int) -> bytes:
    """Return the lowest `width` bytes of integers, plane by plane, the lowest first."""
    if width == 1:
        return bytes(numbers)
    whole = numbers[:] if isinstance(numbers, array) else array(UNSIGNED[_size(width)], numbers)
    if sys.byteorder == "big":
        whole.byteswap()
    data = whole.tobytes()
    return b"".join(data[offset :: whole.itemsize] for offset in range(width))


def pack(numbers: Ints, mode: int, low: int, high: int) -> tuple[int, int, bytes]:
    """Return width, base and byte planes of at least two integers of low..high, as the mode stores them."""
    if mode == OFFSET:
        base = low
        packed = [number - low for number in numbers]
    else:
        base = numbers[0]
        steps = _steps(numbers)
        if mode == DELTA_OF_DELTA:
            steps = [steps[0], *_steps(steps)]
        if high - low >= HALF >> 2:
            steps = _wrapped(steps)
        packed = [step + step if step >= 0 else -1 - step - step for step in steps]
    width = (max(packed).bit_length() + 7) // 8 or 1
    return width, base, planes(packed, width)


def _steps(numbers: Ints) -> list[int]:
    return list(map(sub, numbers[1:], numbers))


def _wrapped(numbers: Iterable[int]) -> list[int]:
    return [((number + HALF) & MASK) - HALF for number in numbers]


def unpack(data: bytes, mode: int, width: int, n: int, base: int) -> Ints:
    """Return the n integers that `pack` made into these planes; beyond int64 they wrap."""
    joined = _joined(data, width)
    if mode == OFFSET:
        numbers = [number + base for number in joined]
        reach = 1 << width * 8
    else:
        steps: Iterable[int] = (
            [UNZIGZAG[number] for number in joined]
            if width == 1
            else [~(number >> 1) if number & 1 else number >> 1 for number in joined]
        )
        if mode == DELTA_OF_DELTA:
            steps = accumulate(steps)
        numbers = list(accumulate(steps, initial=base))
        reach = n ** (2 if mode == DELTA_OF_DELTA else 1) << width * 8
    return numbers if abs(base) + reach < HALF else _wrapped(numbers)


def _joined(data: bytes, width: int) -> Sequence[int]:
    if width == 1:
        return data
    n, size = len(data) // width, _size(width)
    whole = bytearray(n * size)
    for offset in range(width):
        whole[offset::size] = data[offset * n : (offset + 1) * n]
    joined = array(UNSIGNED[size], bytes(whole))
    if sys.byteorder == "big":
        joined.byteswap()
    return joined


def _size(width: int) -> int:
    return 2 if width == 2 else 4 if width <= 4 else 8
