"""Columns without numpy; vectors.py explains them."""

import math
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from operator import itemgetter
from typing import Any

from heliograph.store import exact


def ints(numbers: Iterable[int]) -> Any:
    """Return a column of int64."""
    return array("q", numbers)


def floats(numbers: Iterable[float]) -> Any:
    """Return a column of float64."""
    return array("d", numbers)


def milliseconds(seconds: Iterable[float]) -> Any:
    """Return times in seconds as whole milliseconds."""
    return array("q", (round(second * 1000) for second in seconds))


def are_multiples(numbers: Any, of: int) -> bool:
    """Whether integers are all multiples of a number."""
    return all(number % of == 0 for number in numbers)


def concat(parts: Sequence[Any]) -> Any:
    """Return the concatenation of at least one column."""
    joined = array(parts[0].typecode)
    for part in parts:
        joined.extend(part)
    return joined


def take(column: Any, indexes: Any) -> Any:
    """Return the rows with these indexes."""
    if len(indexes) == 1:
        return array(column.typecode, [column[indexes[0]]])
    return array(column.typecode, itemgetter(*indexes)(column) if len(indexes) else ())


def columns(payloads: Sequence[bytes], width: int) -> list[Any]:
    """Return the columns of rows of `width` little-endian float64 each."""
    table = array("d", b"".join(payloads))
    if sys.byteorder == "big":
        table.byteswap()
    return [table[index::width] for index in range(width)]


def present(values: Any) -> Any | None:
    """Return the indexes of the values that are not NaN; None if no value is NaN."""
    indexes = array("q", (index for index, value in enumerate(values) if not math.isnan(value)))
    return None if len(indexes) == len(values) else indexes


def last_of_equals(times: Any) -> Any | None:
    """Return the indexes in order of time, the last of equal times; None if the times rise already."""
    if all(before < time for before, time in pairwise(times)):
        return None
    order = sorted(range(len(times)), key=times.__getitem__)
    kept = [index for index, following in pairwise(order) if times[index] != times[following]]
    return array("q", [*kept, *order[-1:]])


def order(numbers: Any) -> Any:
    """Return the indexes in rising order of the numbers, equal ones in their order."""
    return array("q", sorted(range(len(numbers)), key=numbers.__getitem__))


def between(sorted_times: Any, start: int, end: int) -> tuple[int, int]:
    """Return the first index of [start, end) in rising times, and the one after the last."""
    return bisect_left(sorted_times, start), bisect_left(sorted_times, end)


def segments(times: Any, edges: Any) -> tuple[Any, Any]:
    """Return the first row of each bucket that has times, and the index of the bucket; the times rise within the edges."""
    firsts, buckets = array("q"), array("q")
    index = 0
    while index < len(times):
        bucket = bisect_right(edges, times[index]) - 1
        firsts.append(index)
        buckets.append(bucket)
        index = bisect_left(times, edges[bucket + 1], index)
    return firsts, buckets


def are_equal(numbers: Any, others: Any) -> Any:
    """Return 1 for each number that is equal to the other one of its row, else 0."""
    return array("q", (number == other for number, other in zip(numbers, others, strict=True)))


def runs(numbers: Any) -> Any:
    """Return the first row of each run of equal numbers."""
    return array("q", [index for index in range(len(numbers)) if not index or numbers[index] != numbers[index - 1]])


def counts(firsts: Any, rows: int) -> Any:
    """Return the number of rows of each segment."""
    return array("q", (end - start for start, end in pairwise([*firsts, rows])))


def lasts(firsts: Any, rows: int) -> Any:
    """Return the last row of each segment."""
    return array("q", (end - 1 for end in [*firsts[1:], rows][: len(firsts)]))


def sum_ints(numbers: Any, firsts: Any) -> Any:
    """Return the sum of each segment."""
    return array("q", (sum(numbers[start:end]) for start, end in pairwise([*firsts, len(numbers)])))


def sums(values: Any, firsts: Any) -> Any:
    """Return the exact sum of each segment."""
    return array("d", (exact.total(values[start:end]) for start, end in pairwise([*firsts, len(values)])))


def minima(values: Any, firsts: Any) -> Any:
    """Return the least of each segment, never -0.0."""
    return array("d", (min(values[start:end]) + 0.0 for start, end in pairwise([*firsts, len(values)])))


def maxima(values: Any, firsts: Any) -> Any:
    """Return the largest of each segment, never -0.0."""
    return array("d", (max(values[start:end]) + 0.0 for start, end in pairwise([*firsts, len(values)])))


def row_sums(columns_: Sequence[Any]) -> Any:
    """Return the exact sum of each row of at least one column."""
    return array("d", map(exact.total, zip(*columns_, strict=True)))


def negative(values: Any) -> Any:
    """Return the values with the other sign."""
    return array("d", (-value for value in values))


def divided(values: Any, by: Any) -> Any:
    """Return each value divided by a number, or by the number of its row."""
    return array(
        "d", (v / d for v, d in zip(values, by, strict=True)) if hasattr(by, "__len__") else (v / by for v in values)
    )


def shifted(numbers: Any, by: int) -> Any:
    """Return integers with a number added."""
    return array("q", (number + by for number in numbers))


def scaled(numbers: Any, by: int, offset: int) -> Any:
    """Return integers times a number, with another added."""
    return array("q", (number * by + offset for number in numbers))


def positive(numbers: Any) -> Any | None:
    """Return the indexes of the numbers above zero; None if all are."""
    indexes = array("q", (index for index, number in enumerate(numbers) if number > 0))
    return None if len(indexes) == len(numbers) else indexes


def corrections(before: Any, values: Any, rollover: float) -> Any:
    """Return for each value what to add to its rise since `before` of the row above; 0 for the first."""
    pairs = zip(before, values[1:], strict=False)
    return array("d", [0.0, *(exact.correction(a, b, rollover) for a, b in pairs)][: len(values)])


def zero_at(column: Any, indexes: Any) -> Any:
    """Return the column with zeros at these indexes."""
    changed = array(column.typecode, column)
    for index in indexes:
        changed[index] = 0
    return changed


def areas(times: Any, values: Any, edges: Any, gap: int) -> tuple[Any, Any]:
    """Return the area under straight lines from point to point in unit·ms, and whether there is a line, for each bucket.

    Points more than `gap` ms apart are not joined. Lines outside the edges do not count.
    """
    size = len(edges) - 1
    scaled = exact.decimal(values)
    numbers: Any = scaled[1] if scaled else values
    scale = exact.SCALES[scaled[0]] if scaled else 1
    inner: list[list[Any]] = [[] for _ in range(size)]
    crossing: list[tuple[int, int]] = []
    bucket = 0
    for index in range(len(times) - 1):
        start, end = times[index], times[index + 1]
        if end - start > gap or end <= edges[0] or start >= edges[size]:
            continue
        bucket = max(bucket, bisect_right(edges, start) - 1)
        if edges[bucket] <= start and end <= edges[bucket + 1]:
            inner[bucket].append((numbers[index] + numbers[index + 1]) * (end - start))
        else:
            crossing.append((index, bucket))
    result = array("d", ((sum(terms) if scaled else exact.fsum(terms)) / (2 * scale) for terms in inner))
    touched = bytearray(map(bool, inner))
    for index, bucket in crossing:
        cut(result, touched, edges, bucket, (times[index], values[index]), (times[index + 1], values[index + 1]))
    return result, touched


def cut(areas_: Any, touched: Any, edges: Any, bucket: int, start: tuple[int, float], end: tuple[int, float]) -> None:
    """Add the area under one line to the buckets that it crosses, from `bucket` on."""
    (left, first), (right, last) = start, end
    slope = (last - first) / (right - left)
    while bucket < len(areas_) and edges[bucket] < right:
        begin, stop = max(left, edges[bucket]), min(right, edges[bucket + 1])
        if stop > begin:
            middle = first + slope * ((begin + stop) / 2 - left)
            areas_[bucket] += middle * (stop - begin)
            touched[bucket] = 1
        bucket += 1


def rounded(values: Any, digits: int) -> Any:
    """Return values rounded to a number of decimal places, at most 6; values that are too large for that stay as they are."""
    scale = exact.SCALES[digits]
    return array("d", (round(v * scale) / scale if abs(v * scale) < exact.LARGEST else v for v in values))


def digits_of(values: Any) -> int | None:
    """Return the number of decimal places, None for values that are not decimals of at most 6."""
    as_decimal = exact.decimal(values)
    return as_decimal[0] if as_decimal else None


def filled(column: Any, indexes: Any, others: Any) -> Any:
    """Return the column with the rows of another one at these indexes."""
    changed = array(column.typecode, column)
    for index in indexes:
        changed[index] = others[index]
    return changed
