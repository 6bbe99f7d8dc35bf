"""Columns with numpy; vectors.py explains them, plain_vectors.py is the reference for every function, to the bit."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from heliograph.store import exact, plain_vectors

PROBE = 64
cut = plain_vectors.cut


def ints(numbers: Iterable[int]) -> Any:
    """Return a column of int64."""
    return np.array(numbers if hasattr(numbers, "__len__") else list(numbers), dtype=np.int64)


def floats(numbers: Iterable[float]) -> Any:
    """Return a column of float64."""
    return np.array(numbers if hasattr(numbers, "__len__") else list(numbers), dtype=np.float64)


def milliseconds(seconds: Sequence[float]) -> Any:
    """Return times in seconds as whole milliseconds."""
    return np.rint(np.array(seconds, dtype=np.float64) * 1000).astype(np.int64)


def are_multiples(numbers: Any, of: int) -> bool:
    """Whether integers are all multiples of a number."""
    return not (numbers % of).any()


def concat(parts: Sequence[Any]) -> Any:
    """Return the concatenation of at least one column."""
    return np.concatenate(parts) if len(parts) > 1 else np.asarray(parts[0])


def take(column: Any, indexes: Any) -> Any:
    """Return the rows with these indexes."""
    return np.asarray(column)[np.asarray(indexes)]


def columns(payloads: Sequence[bytes], width: int) -> list[Any]:
    """Return the columns of rows of `width` little-endian float64 each."""
    table = np.frombuffer(b"".join(payloads), dtype="<f8").reshape(-1, width)
    return list(np.ascontiguousarray(table.T))


def present(values: Any) -> Any | None:
    """Return the indexes of the values that are not NaN; None if no value is NaN."""
    absent = np.isnan(values)
    return np.flatnonzero(~absent) if absent.any() else None


def last_of_equals(times: Any) -> Any | None:
    """Return the indexes in order of time, the last of equal times; None if the times rise already."""
    times = np.asarray(times)
    if len(times) < 2 or (times[1:] > times[:-1]).all():
        return None
    indexes = np.argsort(times, kind="stable")
    ordered = times[indexes]
    return indexes[np.append(ordered[1:] != ordered[:-1], True)]


def order(numbers: Any) -> Any:
    """Return the indexes in rising order of the numbers, equal ones in their order."""
    return np.argsort(numbers, kind="stable")


def between(sorted_times: Any, start: int, end: int) -> tuple[int, int]:
    """Return the first index of [start, end) in rising times, and the one after the last."""
    first, last = np.searchsorted(sorted_times, (start, end))
    return int(first), int(last)


def segments(times: Any, edges: Any) -> tuple[Any, Any]:
    """Return the first row of each bucket that has times, and the index of the bucket; the times rise within the edges."""
    if len(times) > len(edges):
        indexes = np.searchsorted(times, edges)
        buckets = np.flatnonzero(indexes[1:] > indexes[:-1])
        return indexes[buckets], buckets
    buckets = np.searchsorted(edges, times, side="right") - 1
    firsts = runs(buckets)
    return firsts, buckets[firsts]


def are_equal(numbers: Any, others: Any) -> Any:
    """Return 1 for each number that is equal to the other one of its row, else 0."""
    return (numbers == others).astype(np.int64)


def runs(numbers: Any) -> Any:
    """Return the first row of each run of equal numbers."""
    numbers = np.asarray(numbers)
    return np.flatnonzero(np.concatenate(([True], numbers[1:] != numbers[:-1]))) if len(numbers) else ints(())


def counts(firsts: Any, rows: int) -> Any:
    """Return the number of rows of each segment."""
    return np.diff(firsts, append=rows)


def lasts(firsts: Any, rows: int) -> Any:
    """Return the last row of each segment."""
    return np.append(firsts[1:], rows)[: len(firsts)] - 1


def sum_ints(numbers: Any, firsts: Any) -> Any:
    """Return the sum of each segment."""
    return np.add.reduceat(numbers, firsts) if len(firsts) else ints(())


class _Last:
    """The column of the last call with its result: the same column is summed for two lengths of cells, and integrated."""

    seen: tuple[Any, tuple[int, Any, int] | None] = (None, None)


def decimal(values: Any) -> tuple[int, Any, int] | None:
    """Return digits, integers and the largest of them by size, as exact.decimal; None if the values are not decimals."""
    seen, result = _Last.seen
    if values is not seen:
        result = _decimal(np.asarray(values, dtype=np.float64))
        _Last.seen = (values, result)
    return result


def _decimal(values: Any) -> tuple[int, Any, int] | None:
    for digits, scale in enumerate(exact.SCALES):
        if len(values) > PROBE and not _fits(values[:PROBE], scale):
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = np.rint(values * scale)
            largest = float(np.abs(scaled).max(initial=0.0))
            if not largest < exact.LARGEST:
                return None
            if (scaled / scale == values).all():
                return digits, scaled.astype(np.int64), int(largest)
    return None


def _fits(values: Any, scale: int) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        return bool((np.rint(values * scale) / scale == values).all())


def sums(values: Any, firsts: Any) -> Any:
    """Return the exact sum of each segment."""
    if not len(firsts):
        return floats(())
    as_decimal = decimal(values)
    longest = int(counts(firsts, len(values)).max())
    if as_decimal and as_decimal[2] * longest < exact.EXACT:
        return np.add.reduceat(as_decimal[1], firsts) / exact.SCALES[as_decimal[0]] + 0.0
    return floats(plain_vectors.sums(np.asarray(values).tolist(), np.asarray(firsts).tolist()))


def minima(values: Any, firsts: Any) -> Any:
    """Return the least of each segment, never -0.0."""
    return np.minimum.reduceat(values, firsts) + 0.0 if len(firsts) else floats(())


def maxima(values: Any, firsts: Any) -> Any:
    """Return the largest of each segment, never -0.0."""
    return np.maximum.reduceat(values, firsts) + 0.0 if len(firsts) else floats(())


def row_sums(columns_: Sequence[Any]) -> Any:
    """Return the exact sum of each row of at least one column."""
    table = np.concatenate(columns_)
    as_decimal = decimal(table)
    if as_decimal and as_decimal[2] * len(columns_) < exact.EXACT:
        return as_decimal[1].reshape(len(columns_), -1).sum(axis=0) / exact.SCALES[as_decimal[0]] + 0.0
    return floats([exact.total(row) for row in table.reshape(len(columns_), -1).T.tolist()])


def negative(values: Any) -> Any:
    """Return the values with the other sign."""
    return -np.asarray(values)


def divided(values: Any, by: Any) -> Any:
    """Return each value divided by a number, or by the number of its row."""
    return np.asarray(values) / by


def shifted(numbers: Any, by: int) -> Any:
    """Return integers with a number added."""
    return np.asarray(numbers) + by


def scaled(numbers: Any, by: int, offset: int) -> Any:
    """Return integers times a number, with another added."""
    return np.asarray(numbers) * by + offset


def positive(numbers: Any) -> Any | None:
    """Return the indexes of the numbers above zero; None if all are."""
    above = np.asarray(numbers) > 0
    return None if above.all() else np.flatnonzero(above)


def corrections(before: Any, values: Any, rollover: float) -> Any:
    """Return for each value what to add to its rise since `before` of the row above; 0 for the first."""
    result = np.zeros(len(values))
    if len(values) > 1:
        before, after = np.asarray(before)[:-1], np.asarray(values)[1:]
        for index in np.flatnonzero((after >= 0) & (after < exact.RESET * before)).tolist():
            result[index + 1] = exact.correction(float(before[index]), float(after[index]), rollover)
    return result


def zero_at(column: Any, indexes: Any) -> Any:
    """Return the column with zeros at these indexes."""
    changed = np.array(column)
    changed[indexes] = 0
    return changed


def areas(times: Any, values: Any, edges: Any, gap: int) -> tuple[Any, Any]:
    """Return the area under straight lines from point to point in unit·ms, and whether there is a line, for each bucket."""
    as_decimal = decimal(values)
    if as_decimal is None or 2 * as_decimal[2] * int(edges[-1] - edges[0]) >= exact.EXACT:
        plain, touched = plain_vectors.areas(times.tolist(), values.tolist(), edges.tolist(), gap)
        return floats(plain), touched
    size = len(edges) - 1
    integers = as_decimal[1]
    lengths = np.diff(times)
    left = np.searchsorted(edges, times[:-1], side="right") - 1
    right = np.searchsorted(edges, times[1:], side="left") - 1  # a line that ends at an edge lies before it
    known = (lengths <= gap) & (right >= 0) & (left < size)
    inside = known & (left == right)
    doubled = np.zeros(size, dtype=np.int64)
    indexes = np.flatnonzero(inside)
    touched = bytearray(size)
    if len(indexes):
        buckets = left[indexes]
        firsts = runs(buckets)
        terms = (integers[indexes] + integers[indexes + 1]) * lengths[indexes]
        doubled[buckets[firsts]] = np.add.reduceat(terms, firsts)
        for bucket in buckets[firsts].tolist():
            touched[bucket] = 1
    summed = (doubled / (2 * exact.SCALES[as_decimal[0]])).tolist()
    plain_edges = edges.tolist()
    for index in np.flatnonzero(known & ~inside).tolist():
        cut(
            summed,
            touched,
            plain_edges,
            max(int(left[index]), 0),
            (int(times[index]), float(values[index])),
            (int(times[index + 1]), float(values[index + 1])),
        )
    return floats(summed), touched


def rounded(values: Any, digits: int) -> Any:
    """Return values rounded to a number of decimal places, at most 6; values that are too large for that stay as they are."""
    scale = exact.SCALES[digits]
    with np.errstate(over="ignore", invalid="ignore"):
        products = values * scale
        return np.where(np.abs(products) < exact.LARGEST, np.rint(products) / scale + 0.0, values)


def digits_of(values: Any) -> int | None:
    """Return the number of decimal places, None for values that are not decimals of at most 6."""
    as_decimal = decimal(values)
    return as_decimal[0] if as_decimal else None


def filled(column: Any, indexes: Any, others: Any) -> Any:
    """Return the column with the rows of another one at these indexes."""
    changed = np.array(column)
    changed[indexes] = others[indexes]
    return changed
