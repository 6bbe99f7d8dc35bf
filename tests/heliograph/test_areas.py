"""Areas of buckets: the line across midnight compared with a list of its two points, and how parts add up."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.store.areas import Areas
from heliograph.store.cells import HOUR
from heliograph.store.vectors import ops
from tests.heliograph.plain_list import GAP, areas

EDGES = [0, 100, 200, 1000, 1001, 5000]  # seconds


def made(edges: list[int] | None = None) -> Areas:
    return Areas(ops.ints([edge * 1000 for edge in edges or EDGES]))


def of_line(start: tuple[float, float], end: tuple[float, float], *occupied: int) -> list[object]:
    """Return the integrals under a line between two points (s, value)."""
    adding = made()
    adding.line((round(start[0] * 1000), start[1]), (round(end[0] * 1000), end[1]))
    return list(adding.integrals(occupied))


@given(
    st.sampled_from([*EDGES, *(edge + step for edge in EDGES for step in (-0.001, 0.001))]) | st.integers(-1500, 6000),
    st.sampled_from([-1, 0, 0.001, 1, 50, 100, 800, GAP - 1, GAP, GAP + 0.001, GAP + 1, 3000]) | st.integers(1, 1000),
    st.integers(-50, 50),
    st.integers(-50, 50),
)
def test_the_area_under_a_line_is_cut_at_the_edges(start: float, width: float, first: int, last: int) -> None:
    line = of_line((start, float(first)), (start + width, float(last)))
    wanted = areas([(start, first), (start + width, last)], list(map(float, EDGES))) if width > 0 else [(None, 0)] * 5
    assert [value is None for value in line] == [area is None for area, _ in wanted]
    assert [value or 0.0 for value in line] == pytest.approx([float(area or 0) for area, _ in wanted], abs=1e-9)


@pytest.mark.parametrize(
    ("start", "end", "buckets"),
    [
        (-10, 0, set()),
        (5000, 5010, set()),
        (-0.001, 0.001, {0}),
        (4999.999, 5010, {4}),
        (100, 200, {1}),
        (99.999, 200.001, {0, 1, 2}),
        (200, 200 + GAP, {2, 3, 4}),
        (200, 200 + GAP + 0.001, set()),
        (50, 50, set()),
        (60, 50, set()),
    ],
)
def test_only_buckets_under_the_line_have_an_area(start: float, end: float, buckets: set[int]) -> None:
    line = of_line((start, 3600.0), (end, 3600.0))
    assert {bucket for bucket, value in enumerate(line) if value is not None} == buckets
    assert math.fsum(float(str(value)) for value in line if value is not None) == pytest.approx(
        min(end, 5000) - max(start, 0) if buckets else 0
    )


def test_a_bucket_with_points_and_no_line_has_no_area_and_one_with_neither_none() -> None:
    assert of_line((0.0, 1.0), (0.0, 1.0), 0, 4) == [0.0, None, None, None, 0.0]
    assert of_line((100, 3600.0), (200, 3600.0), 0) == [0.0, 100.0, None, None, None]


def test_parts_in_any_order_add_up_in_their_buckets() -> None:
    adding = made()
    adding.take((ops.ints([3, 4]), ops.floats([0.1, 1.0])))
    adding.take((ops.ints([0, 3]), ops.floats([5.0, 0.2])))
    adding.line((4000 * 1000, 0.0), (4001 * 1000, 2 * HOUR / 1000))
    assert adding.integrals([1]) == [5.0, 0.0, None, 0.3, 2.0]


def test_of_areas_whose_sum_is_not_a_number_there_is_no_integral() -> None:
    adding = made([0, 1, 2])
    adding.take((ops.ints([0, 1]), ops.floats([math.inf, math.inf])))
    adding.take((ops.ints([0]), ops.floats([-math.inf])))
    assert adding.integrals([]) == [None, math.inf]
