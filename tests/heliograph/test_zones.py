import itertools
import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.store.schema import HOT
from heliograph.store.zones import ZONE, Zones


@pytest.fixture
def hot() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(HOT)
    yield connection
    connection.close()


def add(hot: sqlite3.Connection, first: int, *times: int) -> None:
    hot.executemany("INSERT INTO frame VALUES(?, 1, ?, x'')", enumerate(times, first))


def test_a_store_without_readings_has_no_zones(hot: sqlite3.Connection) -> None:
    zones = Zones()
    zones.refresh(hot)
    assert zones.overlapping(0, 1 << 60) == []
    assert list(zones.steps(0, 1 << 60, 1000)) == []
    assert zones.earliest() is None
    assert zones.next_start(5) > 1 << 60


def test_only_zones_that_can_hold_the_time_are_searched_and_neighbours_are_one_range(hot: sqlite3.Connection) -> None:
    zones = Zones()
    add(hot, 1, *range(10_000, 10_000 + 4 * ZONE))
    zones.refresh(hot)
    assert zones.overlapping(10_000, 10_001) == [(0, ZONE - 1)]
    assert zones.overlapping(10_000 + ZONE, 10_000 + 2 * ZONE) == [(ZONE, 3 * ZONE - 1)]
    assert zones.overlapping(0, 10_000) == []


def test_what_arrives_later_is_learnt_also_when_it_is_late(hot: sqlite3.Connection) -> None:
    zones = Zones()
    add(hot, 1, 500)
    zones.refresh(hot)
    add(hot, 2, 3, 900)
    zones.refresh(hot)
    assert zones.overlapping(0, 4) == [(0, ZONE - 1)]
    assert zones.earliest() == 3
    add(hot, 5 * ZONE, 2000)  # sealing leaves holes
    zones.refresh(hot)
    assert zones.overlapping(2000, 2001) == [(5 * ZONE, 6 * ZONE - 1)]


@given(
    times=st.lists(st.integers(0, 5000), min_size=1, max_size=30),
    start=st.integers(-10, 5010),
    length=st.integers(0, 6000),
    step=st.integers(1, 700),
)
def test_steps_are_in_order_do_not_overlap_and_miss_nothing(
    times: list[int], start: int, length: int, step: int
) -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(HOT)
    connection.executemany(
        "INSERT INTO frame VALUES(?, 1, ?, x'')", ((place * ZONE // 3 + 1, ts) for place, ts in enumerate(times))
    )
    zones = Zones()
    zones.refresh(connection)
    connection.close()
    steps = list(zones.steps(start, start + length, step))
    for begin, end in steps:
        assert start <= begin < end <= start + length
        assert begin // step == (end - 1) // step
    assert all(left[1] <= right[0] for left, right in itertools.pairwise(steps))
    for ts in times:
        if start <= ts < start + length:
            assert sum(begin <= ts < end for begin, end in steps) == 1
