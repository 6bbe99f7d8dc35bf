"""Blocks: a column of numbers in few bytes; decoding gives the same bits, or fails.

    block = header, payload, crc
    header = code u8, mode u8, width u8, n u32, base i64   (little endian)
    payload = deflate of byte planes: the lowest byte of all numbers, then the next one, ... `width` of them
    crc = crc32 of all before it, u32

docs/store-format.md has it byte by byte. The arithmetic is done by a kernel: fast_blocks where there is numpy,
plain_blocks elsewhere. Both write the same bytes. A vector is a numpy.ndarray with the one and an array.array
with the other, of float64 or int64.
"""

import struct
import zlib
from collections.abc import Iterable
from importlib import import_module
from types import ModuleType
from typing import Any, TypeAlias

from heliograph.errors import StoreDamaged

Vector: TypeAlias = Any  # numpy.ndarray or array.array, of float64 or int64

MOST_VALUES = 1 << 24  # in one block: it limits the memory that a hostile block can take
MOST_DECIMALS = 6
DICTIONARY, RAW = 254, 255  # codes; lower ones are a number of decimals
OFFSET, DELTA, DELTA_OF_DELTA, CONSTANT = 0, 1, 2, 255  # modes
HEADER = struct.Struct("<BBBIq")
CRC = struct.Struct("<I")
LEVEL = 6
SAMPLE = 4096  # numbers whose size in every mode decides on the mode of a longer column; within 1 % of the best mode
SAMPLE_LEVEL = 1
WIDE = 1 << 40  # a column that may be too wide to add up its steps


class BlockDamaged(StoreDamaged):
    """These bytes are not a block, or have changed since they were written."""


def _kernel() -> ModuleType:
    try:
        return import_module("heliograph.store.fast_blocks")
    except ImportError:
        return import_module("heliograph.store.plain_blocks")


kernel = _kernel()


def floats(values: Iterable[float]) -> Vector:
    """Return a vector of float64; the argument itself if it is one."""
    return kernel.floats(values)


def ints(values: Iterable[int]) -> Vector:
    """Return a vector of int64, the argument itself if it is one; raise OverflowError or TypeError for other numbers."""
    return kernel.ints(values)


def encode_floats(values: Iterable[float]) -> bytes:
    """Return the block of float64 numbers, NaN and -0.0 among them; raise ValueError for more than MOST_VALUES."""
    vector = kernel.floats(values)
    _check_length(len(vector))
    scaled = kernel.scale(vector)
    if scaled is not None:
        decimals, numbers, low, high = scaled
        return _encode(decimals, numbers, low, high)
    return _encode_odd(kernel.bits(vector))


def encode_ints(values: Iterable[int]) -> bytes:
    """Return the block of int64 numbers; raise ValueError for more than MOST_VALUES, OverflowError for larger ones."""
    vector = kernel.ints(values)
    _check_length(len(vector))
    return _encode(0, vector, *kernel.span(vector))


def decode_floats(block: bytes) -> Vector:
    """Return the float64 numbers of a block; raise BlockDamaged."""
    code, mode, width, n, base = _header(block)
    if mode == CONSTANT:
        one = _constant(block, width, base)
        if code <= MOST_DECIMALS:
            return kernel.repeated(kernel.unscale(one, code), n)
        if code == RAW:
            return kernel.repeated(kernel.from_bits(one), n)
    elif code <= MOST_DECIMALS:
        return kernel.unscale(_numbers(block, mode, width, n, base), code)
    elif mode == OFFSET and code == RAW and width == 8:
        return kernel.from_bits(kernel.unpack(_inflate(block, n * 8), OFFSET, 8, n, 0))
    elif mode == OFFSET and code == DICTIONARY and 1 <= width <= 4 and 1 <= base <= n:
        return _looked_up(_inflate(block, base * 8 + n * width), width, n, base)
    raise BlockDamaged(f"no block of floats has code {code}, mode {mode} and width {width}")


def decode_ints(block: bytes) -> Vector:
    """Return the int64 numbers of a block; raise BlockDamaged."""
    code, mode, width, n, base = _header(block)
    if code != 0:
        raise BlockDamaged(f"no block of integers has code {code}")
    if mode == CONSTANT:
        return kernel.repeated(_constant(block, width, base), n)
    return kernel.vector(_numbers(block, mode, width, n, base))


def length(block: bytes) -> int:
    """Return how many numbers a block claims to have, even if it is damaged; -1 if it says nothing that could be."""
    if len(block) < HEADER.size:
        return -1
    n = int(HEADER.unpack_from(block)[3])
    return n if n <= MOST_VALUES else -1


def _check_length(n: int) -> None:
    if n > MOST_VALUES:
        raise ValueError(f"{n} values are too many for one block; at most {MOST_VALUES}")


def _encode(code: int, numbers: Vector, low: int, high: int) -> bytes:
    n = len(numbers)
    if low == high:
        return _block(code, CONSTANT, 0, n, low, b"")

    def packed(some: Vector, mode: int, level: int) -> bytes:
        width, base, planes = kernel.pack(some, mode, low, high)
        return _block(code, mode, width, n, base, _deflate(planes, level))

    start = max(0, n - SAMPLE) // 2
    sample = numbers[start : start + SAMPLE]
    modes = [OFFSET, DELTA]
    if high - low >= WIDE or kernel.bends_less(sample):
        modes.append(DELTA_OF_DELTA)
    if n <= SAMPLE:
        return min((packed(numbers, mode, LEVEL) for mode in modes), key=len)
    return packed(numbers, min(modes, key=lambda mode: len(packed(sample, mode, SAMPLE_LEVEL))), LEVEL)


def _encode_odd(bits: Vector) -> bytes:
    n = len(bits)
    low, high = kernel.span(bits)
    if low == high:
        return _block(RAW, CONSTANT, 0, n, low, b"")
    raw = _block(RAW, OFFSET, 8, n, 0, _deflate(kernel.planes(bits, 8)))
    words, index = kernel.distinct(bits)
    if len(words) > n // 2:
        return raw
    width = ((len(words) - 1).bit_length() + 7) // 8
    planes = kernel.planes(words, 8) + kernel.planes(index, width)
    return min(raw, _block(DICTIONARY, OFFSET, width, n, len(words), _deflate(planes)), key=len)


def _deflate(planes: bytes, level: int = LEVEL) -> bytes:
    return zlib.compress(planes, level, -zlib.MAX_WBITS)


def _block(code: int, mode: int, width: int, n: int, base: int, payload: bytes) -> bytes:
    body = HEADER.pack(code, mode, width, n, base) + payload
    return body + CRC.pack(zlib.crc32(body))


def _header(block: bytes) -> tuple[int, int, int, int, int]:
    if not isinstance(block, bytes):
        raise BlockDamaged(f"a block is bytes, not {type(block).__name__}")
    end = len(block) - CRC.size
    if end < HEADER.size:
        raise BlockDamaged(f"{len(block)} bytes are too few for a block")
    view = memoryview(block)
    if zlib.crc32(view[:end]) != CRC.unpack_from(block, end)[0]:
        raise BlockDamaged("the checksum of a block is wrong")
    code, mode, width, n, base = HEADER.unpack_from(block)
    if n > MOST_VALUES:
        raise BlockDamaged(f"a block claims {n} values; at most {MOST_VALUES}")
    return code, mode, width, n, base


def _constant(block: bytes, width: int, base: int) -> Vector:
    if width or len(block) != HEADER.size + CRC.size:
        raise BlockDamaged("a block of one value repeated has a payload")
    return kernel.ints((base,))


def _numbers(block: bytes, mode: int, width: int, n: int, base: int) -> Vector:
    if mode not in (OFFSET, DELTA, DELTA_OF_DELTA) or not 1 <= width <= 8 or n < 2:
        raise BlockDamaged(f"no block has mode {mode}, width {width} and {n} values")
    size = (n if mode == OFFSET else n - 1) * width
    return kernel.unpack(_inflate(block, size), mode, width, n, base)


def _looked_up(planes: bytes, width: int, n: int, count: int) -> Vector:
    words = kernel.unpack(planes[: count * 8], OFFSET, 8, count, 0)
    index = kernel.unpack(planes[count * 8 :], OFFSET, width, n, 0)
    try:
        return kernel.from_bits(kernel.take(words, index))
    except IndexError:
        raise BlockDamaged("an index of a block points beyond its dictionary") from None


def _inflate(block: bytes, size: int) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        planes = inflater.decompress(memoryview(block)[HEADER.size : -CRC.size], size + 1)
    except zlib.error as error:
        raise BlockDamaged(f"the payload of a block cannot be inflated: {error}") from None
    if len(planes) != size or not inflater.eof or inflater.unused_data:
        raise BlockDamaged("the payload of a block has another length than its header says")
    return planes
