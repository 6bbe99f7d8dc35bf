"""Readings without a time of their own: each has another millisecond than the one before it."""

from collections import deque
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.arrival_times import BACK_SECONDS, MAX_DEVICES, SPREAD_SECONDS, ArrivalStamper, ArrivalTimes
from heliograph.clock import Clock
from heliograph.pending import Pending

NOON = 1_763_633_000.0


@given(
    steps=st.lists(
        st.tuples(st.sampled_from("ab"), st.floats(0, 0.002) | st.just(0.0) | st.floats(0, 100)),
        min_size=1,
        max_size=50,
    )
)
def test_times_rise_by_a_millisecond_and_stay_at_the_clock(steps: list[tuple[str, float]]) -> None:
    times, clock = ArrivalTimes(), NOON
    given_before: dict[str, list[float]] = {"a": [], "b": []}
    for device, step in steps:
        clock += step
        time = times.stamp(device, clock)
        before = given_before[device]
        assert time == round(time, 3)
        assert all(time >= earlier + 0.0009 for earlier in before)
        assert clock - 0.0006 <= time <= clock + 0.001 * len(before) + 0.0006
        before.append(time)
    assert times.crowded == 0


def test_a_thousand_readings_of_one_moment_are_spread_over_a_second() -> None:
    times = ArrivalTimes()
    assert [times.stamp("s", NOON) for _ in range(1000)] == [round(NOON + number / 1000, 3) for number in range(1000)]
    assert times.stamp("s", NOON + 5) == NOON + 5
    assert times.stamp("other", NOON) == NOON


def test_times_never_run_away_from_the_clock_and_what_has_no_place_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    times = ArrivalTimes()
    most = round(SPREAD_SECONDS * 1000)
    given_times = [times.stamp("s", NOON) for _ in range(most + 101)]
    assert given_times[most] == given_times[-1] == NOON + SPREAD_SECONDS
    assert times.crowded == 100
    assert caplog.text.count("s: more than 60000 readings at once") == 1
    assert times.stamp("s", NOON + 1) == NOON + SPREAD_SECONDS + 0.001


@pytest.mark.parametrize("back", [3600.0, 30.0, BACK_SECONDS + 0.5])
def test_a_clock_that_is_set_back_is_followed(back: float) -> None:
    times = ArrivalTimes()
    times.stamp("s", NOON)
    assert times.stamp("s", NOON - back) == NOON - back
    assert times.stamp("s", NOON - back) == round(NOON - back + 0.001, 3)


def test_a_clock_that_is_set_back_a_little_is_waited_for() -> None:
    times = ArrivalTimes()
    assert [times.stamp("s", NOON - back) for back in (0.0, 0.5, 0.4)] == [NOON, NOON + 0.001, NOON + 0.002]


def test_times_in_utc_follow_those_since_boot() -> None:
    since_boot, times = ArrivalTimes(), ArrivalTimes()
    assert [since_boot.stamp("s", 100.0) for _ in range(3)] == [100.0, 100.001, 100.002]
    times.follow(since_boot, NOON)
    assert since_boot.last == {}
    assert times.stamp("s", NOON + 100.0004) == round(NOON + 100.004, 3)
    assert times.stamp("other", NOON + 100) == NOON + 100


def test_what_is_crowded_is_counted_before_and_after_the_clock_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, inbox = Clock("file", tmp_path, tmp_path / "synchronised"), deque[Pending]()
    stamper = ArrivalStamper(clock, inbox)
    monkeypatch.setattr("heliograph.arrival_times.SPREAD_SECONDS", 0.0015)
    monkeypatch.setattr(clock, "since_boot", lambda: 100.0)
    monkeypatch.setattr(clock, "now", lambda: NOON)
    for _ in range(4):
        stamper.put("s", {"n": 1})
    assert stamper.crowded == 2
    assert [(reading.boot, reading.time, reading.shown) for reading in inbox] == [
        (clock.boot, time, NOON) for time in (100.0, 100.001, 100.001, 100.001)
    ]
    (tmp_path / "synchronised").touch()
    monkeypatch.setattr(clock, "since_boot", lambda: 102.0)
    monkeypatch.setattr(clock, "now", lambda: NOON + 2)
    for arrived in (None, NOON + 3, NOON + 3, NOON + 3):
        stamper.put("s", {"n": 1}, arrived)
    assert stamper.crowded == 3
    assert [reading.time for reading in list(inbox)[4:]] == [NOON + 2, NOON + 3, NOON + 3.001, NOON + 3.001]


def test_devices_whose_times_are_past_are_forgotten() -> None:
    times = ArrivalTimes()
    for number in range(MAX_DEVICES):
        times.stamp(f"d{number}", NOON)
    spread = [times.stamp("ahead", NOON + 1) for _ in range(3)]
    times.stamp("last", NOON + 1.001)
    assert len(times.last) == 2
    assert times.stamp("ahead", NOON + 1.001) == round(spread[-1] + 0.001, 3)
