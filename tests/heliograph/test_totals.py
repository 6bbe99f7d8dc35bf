"""Totals against references that are slow, long and plain."""

import itertools
import math
from bisect import bisect_right
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.store.interface import FUNCTIONS, Function
from heliograph.store.totals import GAP_SECONDS, aggregate, column

EDGES = [0.0, 100.0, 200.0, 1000.0, 1001.0, 5000.0]
Points = list[tuple[float, float]]

points = st.lists(
    st.tuples(st.integers(-3000, 8000).map(float), st.integers(-50, 50).map(float)),
    max_size=40,
    unique_by=lambda p: p[0],
).map(sorted)


def one(function: Function, found: Points, edges: list[float] | None = None) -> list[object]:
    return list(column(aggregate(found, edges or EDGES), function))


def deltas(found: Points) -> list[float | None]:
    rises: list[float | None] = [None] * (len(EDGES) - 1)
    for (_, before), (time, value) in itertools.pairwise(found):
        place = bisect_right(EDGES, time) - 1
        if 0 <= place < len(rises):
            rises[place] = (rises[place] or 0.0) + (value if 0 <= value < 0.9 * before else value - before)
    return rises


def integrals(found: Points) -> list[Fraction | None]:
    """In exact fractions, segment by segment, bucket by bucket."""
    areas: list[Fraction | None] = [None] * (len(EDGES) - 1)
    for (start, first), (end, last) in itertools.pairwise(found):
        if end - start > GAP_SECONDS:
            continue
        slope = Fraction(last - first) / Fraction(end - start)
        for place, (left, right) in enumerate(itertools.pairwise(EDGES)):
            a, b = Fraction(max(left, start)), Fraction(min(right, end))
            if a < b:
                height = Fraction(first) + slope * ((a + b) / 2 - Fraction(start))
                areas[place] = (areas[place] or Fraction(0)) + height * (b - a) / 3600
    return areas


@given(points)
def test_plain_functions_are_those_of_the_points_between_the_edges(found: Points) -> None:
    inside = [[v for t, v in found if a <= t < b] for a, b in itertools.pairwise(EDGES)]
    assert one("n", found) == [len(v) for v in inside]
    assert one("sum", found) == [sum(v) if v else None for v in inside]
    assert one("min", found) == [min(v) if v else None for v in inside]
    assert one("max", found) == [max(v) if v else None for v in inside]
    assert one("first", found) == [v[0] if v else None for v in inside]
    assert one("last", found) == [v[-1] if v else None for v in inside]
    assert one("mean", found) == [sum(v) / len(v) if v else None for v in inside]


@given(points)
def test_a_delta_is_the_sum_of_all_rises(found: Points) -> None:
    assert one("delta", found) == pytest.approx(deltas(found))


@given(points)
def test_an_integral_is_the_area_under_straight_lines(found: Points) -> None:
    wanted = [None if area is None else float(area) for area in integrals(found)]
    assert one("integral", found) == pytest.approx(wanted, abs=1e-9)


@given(points, st.lists(st.integers(-10, 5010).map(float), min_size=1, max_size=5, unique=True))
def test_buckets_add_up_however_they_are_cut(found: Points, cuts: list[float]) -> None:
    finer = sorted({*EDGES, *(cut for cut in cuts if EDGES[0] < cut < EDGES[-1])})
    additive: list[Function] = ["n", "sum", "delta", "integral"]
    for function in additive:
        total = [math.fsum(float(str(v)) for v in one(function, found, cut) if v is not None) for cut in (EDGES, finer)]
        assert total[0] == pytest.approx(total[1], abs=1e-9)


def test_a_counter_that_starts_again_at_zero_loses_nothing_it_counted_since() -> None:
    assert one("delta", [(0, 90.0), (10, 100.0), (20, 3.0), (30, 5.0)], [0, 100]) == [15.0]


def test_a_small_dip_is_no_reset() -> None:
    assert one("delta", [(0, 100.0), (10, 91.0), (20, 102.0)], [0, 100]) == [2.0]
    assert one("delta", [(0, 100.0), (10, 90.0)], [0, 100]) == [-10.0]
    assert one("delta", [(0, 100.0), (10, 89.0)], [0, 100]) == [89.0]


def test_a_counter_below_zero_is_no_reset_at_every_reading() -> None:
    assert one("delta", [(0, -10.0), (10, -10.0), (20, -12.0), (30, -9.0)], [0, 100]) == [1.0]


def test_an_increase_over_a_gap_belongs_to_the_bucket_of_the_later_point() -> None:
    assert one("delta", [(50, 1.0), (1500, 9.0)], [0, 100, 1000, 2000]) == [None, None, 8.0]


def test_an_integral_crosses_edges_and_ends_at_gaps() -> None:
    hour = [(float(t), 3600.0) for t in range(0, 3601, 900)]
    assert one("integral", hour, [0, 450, 3600]) == [450.0, 3150.0]
    assert one("integral", [(0, 10.0), (GAP_SECONDS + 1, 10.0)], [0, 2000]) == [None]
    assert one("integral", [(-400, 3600.0), (400, 3600.0)], [0, 100]) == [100.0]


def test_a_bucket_without_points_has_nothing_but_its_number_of_them() -> None:
    for function in FUNCTIONS:
        assert one(function, [], [0, 1, 2]) == ([0, 0] if function == "n" else [None, None])


def test_points_on_an_edge_belong_to_the_bucket_that_begins_there() -> None:
    assert one("n", [(0, 1.0), (1, 1.0), (2, 1.0)], [0, 1, 2]) == [1, 1]
