"""Which reading is the wrong one where a counter fell: a table of neighbours, beside the property in test_totals.py."""

from collections.abc import Sequence

import pytest

from heliograph.store.falls import GAP, Neighbours, rows_of
from heliograph.store.vectors import ops

MINUTE = 60_000


def neighbours(values: Sequence[float], times: Sequence[int] | None = None, replaced: Sequence[int] = ()) -> Neighbours:
    """Return points, one a minute unless their times are given (ms)."""
    return Neighbours(
        ops.ints(times if times is not None else [MINUTE * row for row in range(len(values))]),
        ops.floats(values),
        replaced,
    )


@pytest.mark.parametrize(
    ("values", "row", "wrong"),
    [
        ([100, 0, 101], 1, 1),
        ([100, 89, 100], 1, 1),
        ([100, 90, 100], 1, None),  # a dip
        ([100, 3, 90], 1, 1),
        ([100, 3, 89], 1, None),  # it began again, and is used much
        ([100, -1, 101], 1, None),
        ([100, 1000, 101], 2, 1),
        ([100, 1000, 90], 2, 1),
        ([100, 1000, 89], 2, None),
        ([100, 112, 101], 2, None),
        ([1000, 2000, 1800], 2, None),
        ([100, 113, 101], 2, 1),
        ([0, 50, 0], 2, 1),
        ([-1, 50, 0], 2, None),
        ([100, 3, 1000, 101], 1, 1),
        ([100, 3, 1000, 101], 3, None),  # after a value that is too low none is too high
        ([100, 1000, 3, 950], 2, 2),
        ([100, 1000, 101, 3, 102], 2, 1),
        ([100, 1000, 101, 3, 102], 3, 3),
        ([3, 100, 101], 0, None),
        ([100, 101, 3], 2, None),
        ([100, 3], 1, None),
        ([1000, 3], 1, None),
    ],
)
def test_the_wrong_value_is_the_one_after_which_the_counter_is_where_it_was(
    values: list[float], row: int, wrong: int | None
) -> None:
    assert neighbours(values).wrong_at(row) == wrong


@pytest.mark.parametrize(
    ("values", "row", "wrong"), [([100, 3, 101], 1, 1), ([100, 1000, 101], 2, 1)], ids=["too low", "too high"]
)
def test_only_neighbours_tell_that_a_value_is_wrong(values: list[float], row: int, wrong: int) -> None:
    for times in ([0, GAP, 2 * GAP], [5 * GAP, 5 * GAP + 1, 5 * GAP + 2]):
        assert neighbours(values, times).wrong_at(row) == wrong
    for times in ([0, GAP + 1, GAP + 2], [0, 1, GAP + 2]):
        assert neighbours(values, times).wrong_at(row) is None


@pytest.mark.parametrize(
    ("moment", "is_one_meter"),
    [(4, True), (10, True), (11, False), (15, False), (20, False), (21, False), (30, False), (31, True)],
)
@pytest.mark.parametrize(("values", "row"), [([100, 3, 101], 1), ([100, 1000, 101], 2)], ids=["too low", "too high"])
def test_a_meter_that_was_replaced_between_them_makes_no_value_wrong(
    values: list[float], row: int, moment: int, is_one_meter: bool
) -> None:
    wrong = neighbours(values, [10, 20, 30], [-50, moment, 99]).wrong_at(row)
    assert wrong == (1 if is_one_meter else None)


def test_the_rows_of_falls_are_those_with_a_correction() -> None:
    assert rows_of(ops.floats([0.0, 5.0, 0.0, 7.0])) == [1, 3]
    assert rows_of(ops.floats([5.0, 7.0])) == [0, 1]
    assert rows_of(ops.floats([0.0, 0.0])) == []
    assert rows_of(ops.floats([])) == []
