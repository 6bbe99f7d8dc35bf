"""By how much a series rises in each bucket: the one definition, for points, cells, the API and uploads. Pure.

The rise of [a, b) is total(b) - total(a), where total(t) counts all rises up to the newest point at or before t. So a rise
belongs to the bucket of its later point, and one that ends exactly on an edge to the bucket that ends there: a meter
that is read at every full hour has risen in the hour before. What a rise is of a counter that falls, exact.py says, of one with a wrong value falls.py.
"""

from collections.abc import Mapping, Sequence

from heliograph.messages import Value
from heliograph.store import exact
from heliograph.store.cells import Cells
from heliograph.store.vectors import Vector, ops

Column = list[Value | None]


def column(
    rows: Cells,
    buckets: Sequence[int],
    size: int,
    heads: Sequence[int],
    *,
    before: float | None,
    after: float | None,
    rollover: float,
    adjusted: Mapping[int, Sequence[float]],
) -> Column:
    """Return the rise of each of `size` buckets, None for one without a rise.

    `rows` are the buckets that have points, one at least, `buckets` their indexes; they have a carry if it is a counter.
    `heads` are the rows whose first point is exactly at the beginning of their bucket. `before` is the last value before
    the first edge, `after` that of a point exactly at the last one; None if there is none. `adjusted` is added, by bucket.
    """
    if rows.first is None or rows.last is None:
        raise ValueError("a rise needs the first and the last value")
    followed = ops.concat([rows.first[1:], ops.floats([0.0 if after is None else after])])
    previous = ops.concat([ops.floats([float(rows.first[0]) if before is None else before]), rows.last[:-1]])
    tails = [row - 1 for row in heads if row and buckets[row - 1] == buckets[row] - 1]
    if after is not None and buckets[-1] == size - 1:
        tails.append(len(buckets) - 1)
    terms = [ops.filled(rows.last, tails, followed), ops.negative(ops.filled(previous, heads, rows.first))]
    seams: Vector | None = None
    if rows.carry is not None:
        befores = ops.concat([previous, rows.last[-1:], followed[-1:]])  # of each row, and of `after`
        seams = ops.corrections(befores, ops.concat([previous[:1], rows.first, followed[-1:]]), rollover)[1:]
        is_tail = set(tails)
        rest = [row for row in range(len(buckets)) if row not in is_tail]
        terms += [rows.carry, ops.zero_at(seams[:-1], heads), ops.zero_at(seams[1:], rest)]
    rises: Column = ops.row_sums(terms).tolist()
    for row in _without_rise(rows, heads, tails, has_before=before is not None):
        rises[row] = None
    result = rises
    if len(buckets) < size:
        result = [None] * size
        for bucket, rise in zip(buckets, rises, strict=True):
            result[bucket] = rise
        for row in heads:  # of an empty bucket before this one: its only point is its end
            if buckets[row] and result[buckets[row] - 1] is None and (row or before is not None):
                result[buckets[row] - 1] = _rise(rows.first[row], previous[row], seams, row)
        if after is not None and buckets[-1] < size - 1:
            result[-1] = _rise(after, rows.last[-1], seams, len(buckets))
    for bucket, amounts in adjusted.items():
        value = result[bucket]
        if value is not None:
            result[bucket] = exact.total([float(value), *amounts])
    return result


def without_points(
    size: int,
    before: float | None,
    after: float | None,
    adjusted: Mapping[int, Sequence[float]],
    *,
    counter: bool,
    rollover: float,
) -> Column:
    """Return what `column` does if there is no point in any bucket: only the last edge may have one."""
    result: Column = [None] * size
    if before is not None and after is not None:
        correction = exact.correction(before, after, rollover) if counter else 0.0
        result[-1] = exact.total([after, -before, correction, *adjusted.get(size - 1, ())])
    return result


def _without_rise(rows: Cells, heads: Sequence[int], tails: Sequence[int], *, has_before: bool) -> list[int]:
    """Return the rows without a point to which a value rose: all but their first point, and that of the series, count."""
    single = [row for row, points in enumerate(rows.n.tolist()) if points == 1]
    starts = set(heads) if has_before else {0, *heads}
    return sorted(starts.intersection(single).difference(tails))


def _rise(value: float, previous: float, seams: Vector | None, row: int) -> float:
    return exact.total([float(value), -float(previous), 0.0 if seams is None else float(seams[row])])
