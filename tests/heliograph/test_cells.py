import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.store import cells, exact
from heliograph.store.cells import DAY, FIVE_MINUTES_MS, HOUR_MS, Track
from heliograph.store.vectors import ops
from tests.heliograph.plain_list import areas, within

day_of_points = st.lists(
    st.tuples(st.integers(0, 86_399_999), st.integers(-500, 500).map(lambda n: n / 10)),
    min_size=1,
    max_size=50,
    unique_by=lambda p: p[0],
).map(sorted)
close_together = st.lists(
    st.tuples(st.integers(0, 7_200_000), st.integers(-500, 500).map(lambda n: n / 10)),
    min_size=1,
    max_size=50,
    unique_by=lambda p: p[0],
).map(sorted)


def track(points: list[tuple[int, float]], day: int = 0) -> Track:
    return Track(ops.ints([day * DAY + time for time, _ in points]), ops.floats([value for _, value in points]))


@given(day_of_points | close_together, st.sampled_from([FIVE_MINUTES_MS, HOUR_MS]))
def test_the_cells_of_a_day_are_its_points_and_its_lines(points: list[tuple[int, float]], width: int) -> None:
    made = cells.of_day(track(points, 7), 7, width, "gauge", 0.0)
    cuts = [start / 1000 for start in range(0, DAY + 1, width)]
    in_seconds = [(time / 1000, value) for time, value in points]
    inside, lines = within(in_seconds, cuts), areas(in_seconds, cuts)
    not_empty = [index for index in range(len(inside)) if inside[index] or lines[index][0] is not None]
    assert made.start.tolist() == [7 * DAY + index * width for index in not_empty]
    assert made.n.tolist() == [len(inside[index]) for index in not_empty]
    assert made.area is not None
    decimals = exact.decimal([value for _, value in points])
    assert decimals is not None
    digits = decimals[0] + cells.AREA_DIGITS
    for index, area in zip(not_empty, made.area.tolist(), strict=True):
        assert round(area, digits) == area
        assert area == pytest.approx(float(lines[index][0] or 0), abs=0.51 / 10**digits)
    full = [row for row, index in enumerate(not_empty) if inside[index]]
    for name, function in (("min", min), ("max", max), ("first", lambda v: v[0]), ("last", lambda v: v[-1])):
        column = getattr(made, name).tolist()
        assert [column[row] for row in full] == [function(inside[not_empty[row]]) for row in full]


@given(day_of_points)
def test_a_counter_has_a_carry_and_no_area(points: list[tuple[int, float]]) -> None:
    made = cells.of_day(track(points), 0, HOUR_MS, "counter", 0.0)
    assert made.area is None
    assert made.carry is not None
    assert made.first is not None
    assert made.last is not None
    values = [value for _, value in points]
    inside = [list(group) for _, group in itertools.groupby(points, key=lambda point: point[0] // HOUR_MS)]
    wanted = [math.fsum(exact.correction(a[1], b[1]) for a, b in itertools.pairwise(group)) for group in inside]
    assert made.carry.tolist() == pytest.approx(wanted)
    assert made.n.tolist() == [len(group) for group in inside]
    assert sum(made.n.tolist()) == len(values)


def test_a_cell_that_only_a_line_crosses_has_no_points() -> None:
    made = cells.of_day(track([(0, 10.0), (900_000, 10.0)]), 0, FIVE_MINUTES_MS, "gauge", 0.0)
    assert made.n.tolist() == [1, 0, 0, 1]
    assert made.area is not None
    assert made.area.tolist() == [0.833, 0.833, 0.833, 0.0]
    assert made.sum is not None
    assert made.sum.tolist() == [10.0, 0.0, 0.0, 10.0]


def test_a_text_has_neither_carry_nor_area() -> None:
    made = cells.of_day(track([(0, 1.0), (1000, 2.0)]), 0, HOUR_MS, "text", 0.0)
    assert (made.carry, made.area) == (None, None)


@given(st.lists(st.tuples(st.integers(1, 99), st.integers(0, 9)), max_size=20))
def test_of_equal_times_the_last_arrival_is_kept(arrivals: list[tuple[int, int]]) -> None:
    if not arrivals:
        return
    numbers, times = zip(*arrivals, strict=True)
    kept = cells.latest(ops.ints(numbers), ops.ints(times))
    indexes = list(range(len(times))) if kept is None else kept.tolist()
    assert [times[index] for index in indexes] == sorted(set(times))
    for index in indexes:
        assert numbers[index] == max(number for number, time in arrivals if time == times[index])


@given(day_of_points, st.integers(1, 23))
def test_the_parts_of_cells_joined_are_the_cells(points: list[tuple[int, float]], hour: int) -> None:
    made = cells.of_day(track(points), 0, HOUR_MS, "gauge", 0.0)
    cut = sum(start < hour * HOUR_MS for start in made.start.tolist())
    parts = [part for part in (made.slice(0, cut), made.slice(cut, len(made.n))) if len(part.n)]
    for one, other in zip(cells.concat(parts), made, strict=True):
        assert (one is None) == (other is None)
        assert one is None or other is None or one.tolist() == other.tolist()
    assert made.only({"sum"})._replace(start=made.start, n=made.n, sum=None) == cells.Cells(made.start, made.n)
