"""Every function returns the same bits with numpy and without."""

import itertools
import math
import struct
import sys
from fractions import Fraction
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from heliograph.store import exact, plain_vectors, vectors

if vectors.ops is plain_vectors:
    pytest.skip("there is no numpy to compare with", allow_module_level=True)
fast_vectors = import_module("heliograph.store.fast_vectors")
KERNELS: list[ModuleType] = [plain_vectors, fast_vectors]
EXTREMES = [0.0, -0.0, 5e-324, sys.float_info.max, -sys.float_info.max, 0.1 + 0.2, 1e15, 1e15 - 1, 9.007199254740993e15]

decimals = st.builds(lambda number, digits: number / 10**digits, st.integers(-(10**10), 10**10), st.integers(0, 7))
floats = st.one_of(decimals, st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(EXTREMES))
columns = st.one_of(st.lists(decimals, min_size=1, max_size=90), st.lists(floats, min_size=1, max_size=30))
some_times = st.lists(st.integers(0, 5000), unique=True, min_size=1, max_size=40).map(sorted)
some_edges = st.lists(st.integers(-100, 5100), unique=True, min_size=2, max_size=12).map(sorted)


def bits(value: Any) -> Any:
    """A column as its numbers, a float as its bits."""
    if isinstance(value, float):
        return struct.pack("<d", value)
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, tuple | list):
        return [bits(one) for one in value]
    return bits(value.tolist()) if hasattr(value, "tolist") else value


def both(name: str, *arguments: Any) -> Any:
    """The result of a function without numpy, after that with numpy was the same; lists are its columns."""

    def called(kernel: ModuleType) -> Any:
        def made(argument: Any) -> Any:
            if not isinstance(argument, list):
                return argument
            if argument and isinstance(argument[0], list):
                return [made(one) for one in argument]
            return kernel.floats(argument) if argument and isinstance(argument[0], float) else kernel.ints(argument)

        return getattr(kernel, name)(*map(made, arguments))

    plain, fast = map(called, KERNELS)
    assert bits(plain) == bits(fast)
    return plain


def firsts_of(data: st.DataObject, size: int) -> list[int]:
    return sorted({0, *data.draw(st.lists(st.integers(0, size - 1), max_size=5))})


def test_both_have_the_same_functions() -> None:
    names = [{name for name in vars(kernel) if not name.startswith("_")} for kernel in KERNELS]
    functions = {name for name in names[0] & names[1] if callable(getattr(plain_vectors, name))}
    own = {
        name
        for name, thing in vars(plain_vectors).items()
        if getattr(thing, "__module__", "") == plain_vectors.__name__
    }
    assert own <= functions


@given(columns, st.data())
def test_columns_are_joined_and_split(values: list[float], data: st.DataObject) -> None:
    indexes = data.draw(st.lists(st.integers(0, len(values) - 1)))
    both("take", values, indexes)
    both("concat", [values, values[:1]])
    both("negative", values)
    both("zero_at", values, indexes)
    both("filled", values, indexes, [value / 3 for value in values])
    both("divided", values, 3_600_000.0)
    both("divided", values, [n + 1 for n in range(len(values))])
    width = data.draw(st.integers(1, 4))
    payloads = (struct.pack(f"<{width}d", *values[:1] * width), struct.pack(f"<{width}d", *([math.nan] * width)))
    both("columns", payloads, width)
    both("present", [math.nan, *values])
    assert both("present", values) is None


@given(st.lists(st.integers(0, 9), max_size=30), st.data())
def test_indexes_of_integers(numbers: list[int], data: st.DataObject) -> None:
    last = both("last_of_equals", numbers)
    rising = all(a < b for a, b in itertools.pairwise(numbers))
    if last is None:
        assert rising
    else:
        assert last.tolist() == [max(n for n, v in enumerate(numbers) if v == value) for value in sorted(set(numbers))]
    both("order", numbers)
    both("runs", numbers)
    both("shifted", numbers, -7)
    both("scaled", numbers, 300_000, 5)
    both("positive", numbers)
    both("between", sorted(numbers), data.draw(st.integers(-1, 10)), data.draw(st.integers(-1, 10)))
    if numbers:
        firsts = firsts_of(data, len(numbers))
        both("counts", firsts, len(numbers))
        both("lasts", firsts, len(numbers))
        both("sum_ints", numbers, firsts)


@given(some_times, some_edges)
def test_segments_are_the_buckets_that_have_times(times: list[int], edges: list[int]) -> None:
    inside = [time for time in times if edges[0] <= time < edges[-1]]
    assume(inside)
    firsts, buckets = both("segments", inside, edges)
    for first, bucket in zip(firsts.tolist(), buckets.tolist(), strict=True):
        assert edges[bucket] <= inside[first] < edges[bucket + 1]
    assert len(firsts) == len({sum(edge <= time for edge in edges) for time in inside})


@given(columns, st.data())
def test_sums_are_exact_for_decimals_and_rounded_once_for_others(values: list[float], data: st.DataObject) -> None:
    firsts = firsts_of(data, len(values))
    for low, high, total in zip(firsts, [*firsts[1:], len(values)], both("sums", values, firsts).tolist(), strict=True):
        part = values[low:high]
        if exact.decimal(part) and sum(map(abs, part)) * 10**6 < exact.EXACT:
            assert total == float(sum(Fraction(repr(value)) for value in part))
        elif math.isfinite(total) and not exact.decimal(part):
            assert total == exact.fsum(part)
    both("minima", values, firsts)
    both("maxima", values, firsts)
    both("digits_of", values)


@given(columns, st.data())
def test_a_sum_does_not_depend_on_the_order(values: list[float], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(values))
    assert bits(both("sums", values, [0])) == bits(both("sums", shuffled, [0]))


@given(st.lists(st.tuples(floats, floats, floats), min_size=1, max_size=10))
def test_sums_of_rows(rows: list[tuple[float, float, float]]) -> None:
    both("row_sums", [list(column) for column in zip(*rows, strict=True)])


@given(columns, st.integers(0, 6))
def test_rounding(values: list[float], digits: int) -> None:
    for value, rounded in zip(values, both("rounded", values, digits).tolist(), strict=True):
        assert rounded == value or abs(rounded - value) <= 0.51 / 10**digits + abs(value) * 1e-15


def test_a_value_that_is_rounded_to_zero_has_no_sign() -> None:
    assert bits(both("rounded", [-0.2, -0.0, 0.2], 0)) == bits([0.0, 0.0, 0.0])


@given(st.lists(st.integers(0, 1200).map(float) | floats, min_size=1, max_size=30), st.sampled_from([0.0, 1000.0]))
def test_corrections_of_counters(values: list[float], rollover: float) -> None:
    corrections = both("corrections", values, values, rollover).tolist()
    assert corrections[0] == 0
    assert corrections[1:] == [exact.correction(a, b, rollover) for a, b in itertools.pairwise(values)]


@given(some_times, some_edges, st.data(), st.integers(1, 6000))
def test_areas(times: list[int], edges: list[int], data: st.DataObject, gap: int) -> None:
    values = data.draw(st.lists(decimals | floats, min_size=len(times), max_size=len(times)))
    areas, touched = both("areas", times, values, edges, gap)
    lines = [(a, b) for a, b in itertools.pairwise(times) if b - a <= gap]
    wanted = [any(max(a, low) < min(b, high) for a, b in lines) for low, high in itertools.pairwise(edges)]
    assert [bool(line) for line in touched] == wanted
    assert len(areas) == len(edges) - 1


@given(st.lists(st.integers(-(10**6), 10**6).map(lambda n: n * 300), max_size=5), st.integers(0, 1))
def test_multiples(numbers: list[int], other: int) -> None:
    assert both("are_multiples", [*numbers, 0], 300)
    assert both("are_multiples", [*numbers, other], 300) == (other == 0)


@given(st.lists(st.integers(0, 10**13), min_size=1, max_size=9))
def test_seconds_become_milliseconds(numbers: list[int]) -> None:
    seconds = [number / 1000 for number in numbers]
    assert [kernel.milliseconds(seconds).tolist() for kernel in KERNELS] == [numbers, numbers]


def test_columns_may_be_large() -> None:
    values = [n / 10 for n in range(100_000)]
    both("sums", values, [0, 50_000])
    times = [n * 5000 for n in range(17_280)]
    both("areas", times, values[: len(times)], list(range(0, 86_400_001, 300_000)), 900_000)
