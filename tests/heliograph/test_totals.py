"""Totals compared with slow and simple references."""

import math
import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.messages import Kind, Value
from heliograph.store import cells
from heliograph.store.cells import DAY, Track
from heliograph.store.fall_review import FallReview, FallSpan
from heliograph.store.interface import FUNCTIONS, Function
from heliograph.store.totals import Totals
from heliograph.store.vectors import ops
from tests.heliograph.plain_list import GAP, areas, rises, within

EDGES = [0, 100, 200, 1000, 1001, 5000]  # seconds
Points = list[tuple[float, float]]

points = st.lists(
    st.tuples(st.integers(-3000, 8000).map(float), st.integers(-50, 50).map(float)),
    max_size=40,
    unique_by=lambda p: p[0],
).map(sorted)
days_of_points = st.lists(
    st.tuples(st.integers(0, 2 * 288 - 1).map(lambda n: n * 300.0), st.integers(0, 300).map(lambda n: n / 10)),
    min_size=1,
    max_size=60,
    unique_by=lambda p: p[0],
).map(sorted)


def track(points: Points) -> Track:
    return Track(ops.ints([round(time * 1000) for time, _ in points]), ops.floats([value for _, value in points]))


def some(points: Points) -> Track | None:
    return track(points) if points else None


def review_of(points: Points, rollover: float = 0.0) -> FallReview:
    def around(start: int, end: int) -> Track | None:
        return some([point for point in points if start <= round(point[0] * 1000) < end])

    return FallReview(around, rollover)


def one(
    function: Function, points: Points, edges: list[int] | None = None, *, counter: bool = True, rollover: float = 0.0
) -> list[Value | None]:
    review = review_of(points, rollover) if counter else None
    edges_ = ops.ints([edge * 1000 for edge in edges or EDGES])
    totals = Totals(edges_, counter=counter, rollover=rollover, review=review)
    if review is not None:
        review.before(some([point for point in points if point[0] < (edges or EDGES)[0]][-2:]))
        review.after(some([point for point in points if point[0] >= (edges or EDGES)[-1]][:2]))
    before = [value for time, value in points if time < (edges or EDGES)[0]]
    if before:
        totals.follow(before[-1])
    for time, value in points:
        if time == (edges or EDGES)[-1]:
            totals.reach(value)
    if points:
        totals.points(track(points), area=function == "integral")
    return totals.columns([function])[function]


def cuts(edges: list[int]) -> list[float]:
    return [float(edge) for edge in edges]


@given(points)
def test_plain_functions_are_those_of_the_points_between_the_edges(series: Points) -> None:
    inside = within(series, cuts(EDGES))
    assert one("n", series) == [len(v) for v in inside]
    assert one("sum", series) == [sum(v) if v else None for v in inside]
    assert one("min", series) == [min(v) if v else None for v in inside]
    assert one("max", series) == [max(v) if v else None for v in inside]
    assert one("first", series) == [v[0] if v else None for v in inside]
    assert one("last", series) == [v[-1] if v else None for v in inside]
    assert one("mean", series) == [sum(v) / len(v) if v else None for v in inside]


@given(points, st.booleans(), st.sampled_from([0.0, 50.0]))
def test_a_delta_is_the_sum_of_all_rises_that_end_in_the_bucket(series: Points, counter: bool, rollover: float) -> None:
    wanted = rises(series, cuts(EDGES), counter=counter, rollover=rollover)
    assert one("delta", series, counter=counter, rollover=rollover) == wanted


@given(days_of_points, st.sampled_from([300, 3600]), st.integers(1, 30), st.booleans())
def test_cells_that_do_not_know_where_their_first_point_is_ask_for_the_points_at_the_edges(
    series: Points, width: int, many: int, some: bool
) -> None:
    edges = ops.ints(range(0, 2 * DAY + 1, many * width * 1000))
    times = {round(time * 1000) for time, _ in series}
    known, unknown = (
        Totals(edges, counter=True, has_point=times.__contains__, review=review_of(series)) for _ in range(2)
    )
    for day in (0, 1):
        here = [point for point in series if day * 86_400 <= point[0] < (day + 1) * 86_400]
        if here:
            rows = cells.of_day(track(here), day, width * 1000, "counter", 0.0)
            known.cells(rows, width * 1000)
            unknown.cells(rows if some and day else rows._replace(at=None), width * 1000)
    assert repr(known.columns(["delta"])) == repr(unknown.columns(["delta"]))


@given(points)
def test_an_integral_is_the_area_under_straight_lines(series: Points) -> None:
    inside = within(series, cuts(EDGES))
    for index, (area, _) in enumerate(areas(series, cuts(EDGES))):
        integral = one("integral", series)[index]
        if area is None:
            assert integral == (0.0 if inside[index] else None)
        else:
            assert integral == pytest.approx(float(area), abs=1e-9)


@given(points, st.lists(st.integers(-10, 5010), min_size=1, max_size=5, unique=True))
def test_buckets_add_up_however_they_are_cut(series: Points, more: list[int]) -> None:
    finer = sorted({*EDGES, *(cut for cut in more if EDGES[0] < cut < EDGES[-1])})
    additive: list[Function] = ["n", "sum", "delta", "integral"]
    for function in additive:
        total = [
            math.fsum(float(str(v)) for v in one(function, series, cut) if v is not None) for cut in (EDGES, finer)
        ]
        assert total[0] == pytest.approx(total[1], abs=1e-9)


@given(days_of_points, st.sampled_from(["gauge", "counter"]), st.sampled_from([300, 3600]), st.integers(1, 30))
def test_totals_of_cells_are_those_of_their_points(series: Points, kind: Kind, width: int, many: int) -> None:
    edges = ops.ints(range(0, 2 * DAY + 1, many * width * 1000))
    counter = kind == "counter"
    by_points, by_cells = (
        Totals(edges, counter=counter, rollover=30.0, review=review_of(series, 30.0) if counter else None)
        for _ in range(2)
    )
    before = None
    for day in (0, 1):
        here = [point for point in series if day * 86_400 <= point[0] < (day + 1) * 86_400]
        if not here:
            continue
        span = cells.span(track(here))
        by_points.points(track(here), area=not counter)
        by_cells.cells(cells.of_day(track(here), day, width * 1000, kind, 30.0), width * 1000)
        if before and not counter:
            for totals in (by_points, by_cells):
                totals.line((before.end, before.last), (span.start, span.first))
        before = span
    wanted: list[Function] = [name for name in FUNCTIONS if name != "integral" or not counter]
    one_way, other_way = by_points.columns(wanted), by_cells.columns(wanted)
    for name in wanted:
        if name == "integral":
            assert [v is None for v in one_way[name]] == [v is None for v in other_way[name]]
            assert [v or 0.0 for v in other_way[name]] == pytest.approx([v or 0.0 for v in one_way[name]], abs=0.03)
        else:
            assert repr(one_way[name]) == repr(other_way[name])


def test_decimals_add_up_to_the_same_whatever_is_added_first() -> None:
    values = [n / 10 for n in range(3_000)]
    random.Random(1).shuffle(values)
    series = [(float(n), value) for n, value in enumerate(values)]
    assert one("sum", series, [0, 3_000]) == [449_850.0]
    assert one("mean", series, [0, 3_000]) == [149.95]
    parts = [float(str(value)) for value in one("sum", series, list(range(0, 3_001, 10)))]
    assert one("sum", list(enumerate(parts)), [0, 300]) == [449_850.0]


def test_the_largest_numbers_never_give_nan() -> None:
    series = [(0.0, sys.float_info.max), (10.0, sys.float_info.max), (20.0, -sys.float_info.max), (150.0, 5e-324)]
    for function in FUNCTIONS:
        column = one(function, series, counter=False)
        assert not any(value is not None and math.isnan(float(value)) for value in column), function


def test_a_counter_that_starts_again_at_zero_loses_nothing_it_counted_since() -> None:
    assert one("delta", [(0, 90.0), (10, 100.0), (20, 3.0), (30, 5.0)], [0, 100]) == [15.0]


def test_a_register_that_rolls_over_continues_from_zero() -> None:
    assert one("delta", [(0, 9990.0), (10, 5.0)], [0, 100], rollover=10_000.0) == [15.0]
    assert one("delta", [(0, 9990.0), (10, 1005.0)], [0, 100], rollover=10_000.0) == [1005.0]
    assert one("delta", [(0, 5000.0), (10, 5.0)], [0, 100], rollover=10_000.0) == [5.0]


def test_a_small_dip_is_no_reset() -> None:
    assert one("delta", [(0, 100.0), (10, 91.0), (20, 102.0)], [0, 100]) == [2.0]
    assert one("delta", [(0, 100.0), (10, 90.0)], [0, 100]) == [-10.0]
    assert one("delta", [(0, 100.0), (10, 89.0)], [0, 100]) == [89.0]


def test_a_gauge_may_fall() -> None:
    assert one("delta", [(0, 100.0), (10, 3.0)], [0, 100], counter=False) == [-97.0]


def test_a_counter_below_zero_is_no_reset_at_every_reading() -> None:
    assert one("delta", [(0, -10.0), (10, -10.0), (20, -12.0), (30, -9.0)], [0, 100]) == [1.0]


def test_an_increase_over_a_gap_belongs_to_the_bucket_of_the_later_point() -> None:
    assert one("delta", [(50, 1.0), (1500, 9.0)], [0, 100, 1000, 2000]) == [None, None, 8.0]


def test_an_integral_crosses_edges_and_ends_at_gaps() -> None:
    hour = [(float(t), 3600.0) for t in range(0, 3601, 900)]
    assert one("integral", hour, [0, 450, 3600]) == [450.0, 3150.0]
    assert one("integral", [(0, 10.0), (GAP + 1, 10.0)], [0, 2000]) == [0.0]
    assert one("integral", [(-400, 3600.0), (400, 3600.0)], [0, 100]) == [100.0]


def test_a_bucket_without_points_has_only_its_number_of_points() -> None:
    for function in FUNCTIONS:
        assert one(function, [], [0, 1, 2]) == ([0, 0] if function == "n" else [None, None])


def test_points_on_an_edge_belong_to_the_bucket_that_begins_there() -> None:
    assert one("n", [(0, 1.0), (1, 1.0), (2, 1.0)], [0, 1, 2]) == [1, 1]


def test_a_point_a_millisecond_before_an_edge_belongs_to_the_bucket_that_ends_there() -> None:
    for times, counts in (
        ([99.999], [1, 0, 0, 0, 0]),
        ([99.999, 100.0], [1, 1, 0, 0, 0]),
        ([-0.001, 0.0, 199.999], [1, 1, 0, 0, 0]),
        ([99.999, 1000.999], [1, 0, 0, 1, 0]),
        ([4999.999, 5000.0, 5000.001], [0, 0, 0, 0, 1]),
        ([-0.002, -0.001], [0, 0, 0, 0, 0]),
        ([-0.001, 5000.0], [0, 0, 0, 0, 0]),
    ):
        assert one("n", [(time, 1.0) for time in times]) == counts


@pytest.mark.parametrize("wrong", [0.0, 3.0, 1e6])
@pytest.mark.parametrize("of_cells", [False, True])
@pytest.mark.parametrize("cut", range(1, 8))
def test_a_wrong_value_counts_for_nothing_wherever_points_come_in_two_parts(
    wrong: float, of_cells: bool, cut: int
) -> None:
    """The parts are those of two days: points, or cells of points."""
    for at in range(1, 8):
        series: Points = [(DAY / 1000 + (row - cut) * 60.0, 100.0 + row) for row in range(9)]
        series[at] = (series[at][0], wrong)
        cuts_ = [DAY / 1000 - 1200, DAY / 1000, DAY / 1000 + 300, DAY / 1000 + 3600]
        totals = Totals(ops.ints([round(edge * 1000) for edge in cuts_]), counter=True, review=review_of(series))
        for day, part in enumerate((series[:cut], series[cut:])):
            if of_cells:
                totals.cells(cells.of_day(track(part), day, 300_000, "counter", 0.0), 300_000)
            else:
                totals.points(track(part), area=False)
        assert totals.columns(["delta"])["delta"] == rises(series, cuts_, counter=True)


@pytest.mark.parametrize("wrong", [0.0, 3.0, 1e6])
@pytest.mark.parametrize("at", range(1, 8))
def test_a_wrong_value_before_at_or_after_the_edges_counts_for_nothing(wrong: float, at: int) -> None:
    series: Points = [(row * 60.0, 100.0 + row) for row in range(9)]
    series[at] = (series[at][0], wrong)
    for edges in ([120, 300], [121, 301], [119, 299], [120, 180, 300], [120, 121], [121, 180], [121, 122]):
        assert one("delta", series, edges) == rises(series, cuts(edges), counter=True)


def test_what_is_added_to_a_rise_to_a_point_on_an_edge_belongs_to_the_bucket_that_ends_there() -> None:
    totals = Totals(ops.ints([0, 100_000, 200_000]), counter=True)
    totals.points(track([(10, 1.0), (20, 3.0), (110, 6.0), (120, 10.0)]), area=False)
    for time, amount in ((-1, 1e6), (0, 1e6), (1, 1.0), (100_000, 4.0), (100_001, 7.0), (200_000, 9.0), (200_001, 1e6)):
        totals.adjust(time, amount)
    assert totals.columns(["delta"])["delta"] == [2.0 + 5.0, 7.0 + 16.0]


def test_how_many_bytes_cells_take_that_are_kept() -> None:
    edges = ops.ints(range(0, DAY + 1, 300_000))
    series = [(time * 300.0, float(time)) for time in range(288)]
    folded = Totals(edges).folded(cells.of_day(track(series), 0, 300_000, "gauge", 0.0), 300_000)
    assert folded.part is not None
    assert folded.areas is not None
    numbers = 288 * (sum(column is not None for column in folded.part[1]) + len(folded.areas))
    assert 8 * numbers <= folded.size <= 8 * numbers + 1000
    more = folded._replace(amounts=((1, 1.0),) * 5, falls=(FallSpan(1, 2),) * 5)
    assert more.size == pytest.approx(folded.size + 10 * 100)
