"""What becomes of many points in one bucket: pure, one pass, in order of time.

delta     the increase of a counter: rises are added up; a fall to less than 0.9 of the value
          before is a reset (the counter began again at zero), a smaller fall is a dip that
          comes back and counts negative (Home Assistant Core, components/sensor/recorder.py,
          `reset_detected`). An increase belongs to the bucket of its later point.
integral  the area under straight lines from point to point in unit·h, cut at the edges;
          nothing is assumed between points farther apart than GAP_SECONDS.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence

from msgspec import Struct

from heliograph.messages import Value
from heliograph.store.interface import Function

RESET = 0.9
GAP_SECONDS = 900.0


class Bucket(Struct):
    """What is known of one bucket."""

    n: int = 0
    sum: float = 0.0
    min: float = math.inf
    max: float = -math.inf
    first: float = math.nan
    last: float = math.nan
    delta: float = math.nan
    integral: float = math.nan


def aggregate(points: Iterable[tuple[float, float]], edges: Sequence[float]) -> list[Bucket]:
    """Return one bucket for each pair of neighbouring edges.

    Points come in order of time; those before the first edge only serve the delta and
    integral of the first bucket, those from the last edge on its integral.
    """
    buckets = [Bucket() for _ in edges[1:]]
    before_time, before = -math.inf, math.nan
    for time, value in points:
        index = bisect_right(edges, time) - 1
        if time - before_time <= GAP_SECONDS:
            _integrate(buckets, edges, before_time, before, time, value)
        if 0 <= index < len(buckets):
            bucket = buckets[index]
            if bucket.n == 0:
                bucket.first = value
            bucket.n += 1
            bucket.sum += value
            bucket.min = min(bucket.min, value)
            bucket.max = max(bucket.max, value)
            bucket.last = value
            if before_time > -math.inf:
                rise = value if 0 <= value < RESET * before else value - before
                bucket.delta = rise if math.isnan(bucket.delta) else bucket.delta + rise
        before_time, before = time, value
    return buckets


def column(buckets: Sequence[Bucket], function: Function) -> list[Value | None]:
    """Return one function of every bucket; None where a bucket has no points, and n is 0."""
    if function == "n":
        return [bucket.n for bucket in buckets]
    if function == "mean":
        return [bucket.sum / bucket.n if bucket.n else None for bucket in buckets]
    if function in ("delta", "integral"):
        values = [getattr(bucket, function) for bucket in buckets]
        return [None if math.isnan(value) else value for value in values]
    return [getattr(bucket, function) if bucket.n else None for bucket in buckets]


def _integrate(
    buckets: Sequence[Bucket],
    edges: Sequence[float],
    start: float,
    first: float,
    end: float,
    last: float,
) -> None:
    """Add the area under one straight line to the buckets that it crosses."""
    if end <= start:
        return
    slope = (last - first) / (end - start)
    index = max(bisect_right(edges, start) - 1, 0)
    while index < len(buckets) and edges[index] < end:
        left, right = max(start, edges[index]), min(end, edges[index + 1])
        if right > left:
            middle = first + slope * ((left + right) / 2 - start)
            area = middle * (right - left) / 3600
            bucket = buckets[index]
            bucket.integral = area if math.isnan(bucket.integral) else bucket.integral + area
        index += 1
