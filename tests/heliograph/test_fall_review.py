"""Falls of a counter: those that are looked at at once, those that wait for more points, and what comes of them."""

import pytest

from heliograph.store.cells import DAY, GAP, Track
from heliograph.store.fall_review import AFTER, BEFORE, FallReview, FallSpan
from heliograph.store.totals import Folded
from heliograph.store.vectors import ops

NOON = DAY // 2
MINUTE = 60_000
# At noon 3 is a wrong value: nothing rises to it (3 less), and the next rise is from 100 (97 less).
WRONG = {NOON: -3.0, NOON + MINUTE: -97.0}
SPAN = FallSpan(NOON, NOON + 1)


def review(*values: float) -> FallReview:
    """Of a counter with these values, one a minute, the second at noon."""
    times = [NOON + (n - 1) * MINUTE for n in range(len(values))]

    def around(start: int, end: int) -> Track | None:
        there = [(time, value) for time, value in zip(times, values, strict=True) if start <= time < end]
        return (
            Track(ops.ints([time for time, _ in there]), ops.floats([value for _, value in there])) if there else None
        )

    return FallReview(around)


def folded(*falls: FallSpan) -> Folded:
    return Folded(None, None, amounts=((7, 1.5),), falls=falls)


def test_a_fall_whose_points_are_all_inside_is_settled_once() -> None:
    settled = folded(SPAN).settled(review(100.0, 3.0, 101.0), 0, DAY)
    assert settled == folded()._replace(amounts=((7, 1.5), *WRONG.items()))
    assert settled.settled(review(100.0, 3.0, 200.0), 0, DAY) is settled


def test_a_fall_that_is_a_reset_is_settled_with_nothing_to_add() -> None:
    assert folded(SPAN).settled(review(100.0, 3.0, 4.0), 0, DAY) == folded()


@pytest.mark.parametrize(
    ("start", "end", "is_inside"),
    [
        (NOON - BEFORE, NOON + 1 + AFTER, True),
        (NOON - BEFORE + 1, DAY, False),
        (0, NOON + AFTER, False),
    ],
)
def test_a_fall_that_may_need_points_outside_is_kept(start: int, end: int, is_inside: bool) -> None:
    kept = FallSpan(end - GAP, end)
    settled = folded(SPAN, kept).settled(review(100.0, 3.0, 101.0), start, end)
    assert settled.falls == ((kept,) if is_inside else (SPAN, kept))
    assert dict(settled.amounts) == ({7: 1.5} | WRONG if is_inside else {7: 1.5})


def test_what_is_taken_is_added_and_its_falls_are_looked_at() -> None:
    taking = review(100.0, 3.0, 101.0)
    taking.take([(7, 1.5)], [])
    taking.take([(8, 2.5)], [SPAN])
    taking.take([], [FallSpan(NOON + DAY, NOON + DAY + 1)])  # of which there are no points any more
    assert taking.amounts() == {7: 1.5, 8: 2.5} | WRONG
    assert taking.amounts() == {7: 1.5, 8: 2.5} | WRONG


def test_falls_of_one_hour_are_looked_at_together_and_those_of_another_day_apart() -> None:
    asked: list[tuple[int, int]] = []

    def around(start: int, end: int) -> None:
        asked.append((start, end))

    far = BEFORE + AFTER
    spans = [
        FallSpan(DAY - 10, DAY - 1),
        FallSpan(NOON + 20 + 2 * far + 1, NOON + 20 + 2 * far + 2),
        FallSpan(DAY, DAY + 1),
        SPAN,
        FallSpan(NOON - 5, NOON + 9),
        FallSpan(NOON + 9 + far, NOON + 20 + far),
    ]
    assert list(FallReview(around).settled(spans)) == []
    merged = [(NOON - 5, NOON + 20 + far), spans[1], spans[0], spans[2]]
    assert asked == [(start - BEFORE, end + AFTER) for start, end in merged]


@pytest.mark.parametrize(
    ("before", "after", "is_at_once"),
    [(BEFORE, AFTER, True), (BEFORE - 1, DAY // 4, False), (DAY // 4, AFTER - 1, False), (DAY // 4, DAY // 4, True)],
)
def test_a_fall_between_points_is_looked_at_at_once_if_all_that_decide_about_it_are_there(
    before: int, after: int, is_at_once: bool
) -> None:
    asked: list[tuple[int, int]] = []
    times = [NOON - before, NOON - MINUTE, NOON, NOON + MINUTE, NOON + after]
    track = Track(ops.ints(times), ops.floats([90.0, 100.0, 3.0, 101.0, 102.0]))

    def around(start: int, end: int) -> Track:
        asked.append((start, end))
        return track

    taking = FallReview(around)
    taking.points(track, ops.corrections(track.values, track.values, 0.0))
    assert taking.amounts() == WRONG
    assert asked == ([] if is_at_once else [(NOON - BEFORE, NOON + 1 + AFTER)])


def test_points_without_a_fall_ask_for_nothing() -> None:
    taking = FallReview(lambda start, end: pytest.fail(f"asked for {start} to {end}"))
    track = Track(ops.ints([NOON, NOON + MINUTE]), ops.floats([100.0, 101.0]))
    taking.points(track, ops.corrections(track.values, track.values, 0.0))
    taking.before(None)
    taking.after(None)
    assert taking.amounts() == {}


@pytest.mark.parametrize(
    ("values", "fall", "amounts"),
    [
        ([99.0, 100.0, 3.0, 101.0], 2, {2: -3.0, 3: -97.0}),
        ([100.0, 3.0, 1000.0, 101.0], 3, {}),  # 3 is the wrong value, and 101 a reset
        ([99.0, 100.0, 1000.0, 101.0], 3, {2: -900.0, 3: -100.0}),
    ],
)
def test_what_decides_about_a_fall_may_be_three_gaps_before_it_and_one_after(
    values: list[float], fall: int, amounts: dict[int, float]
) -> None:
    times = [NOON + row * GAP for row in range(4)]

    def around(start: int, end: int) -> Track:
        there = [(time, value) for time, value in zip(times, values, strict=True) if start <= time < end]
        return Track(ops.ints([time for time, _ in there]), ops.floats([value for _, value in there]))

    taking = FallReview(around)
    taking.take([], [FallSpan(times[fall], times[fall] + 1)])
    assert taking.amounts() == {times[row]: amount for row, amount in amounts.items()}
