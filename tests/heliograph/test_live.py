import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.live import APART_SECONDS, StatePublisher
from heliograph.messages import Reading, Value

NOW = 1_763_633_000.0
HOUR = 3600.0


class Shown:
    """A publisher with clocks that the test sets, and what a client of the broker knows."""

    def __init__(self) -> None:
        self.clock = NOW
        self.is_set = True
        self.monotonic = 0.0
        self.published: list[Reading] = []
        self.publisher = StatePublisher(
            self._publish, lambda: self.clock if self.is_set else math.inf, lambda: self.monotonic
        )

    def _publish(self, device: str, reading: Reading) -> None:
        assert device == "late"
        self.published.append(reading)

    def wait(self, seconds: float) -> None:
        self.clock += seconds
        self.monotonic += seconds

    def take(self, time: float, values: Mapping[str, Value]) -> None:
        self.wait(2 * APART_SECONDS)
        self.publisher.show("late", Reading(time, dict(values)))

    def known(self) -> dict[str, Value]:
        return {channel: value for reading in self.published for channel, value in reading.values.items()}


@pytest.fixture
def shown() -> Shown:
    return Shown()


def test_a_time_in_the_future_does_not_hide_the_readings_after_it(shown: Shown) -> None:
    shown.take(shown.clock + HOUR, {"p": 3})  # a device with local time for UTC
    for number in range(360):
        shown.take(shown.clock, {"p": number, "e": number})
    assert len(shown.published) == 361
    assert shown.known() == {"p": 359, "e": 359}


def test_a_reading_from_the_future_is_shown_with_the_present_time_and_marked(shown: Shown) -> None:
    shown.take(NOW + HOUR, {"p": 3})
    assert shown.published == [Reading(shown.clock, {"p": 3}, "ahead")]


def test_a_late_reading_with_another_channel_is_live(shown: Shown) -> None:
    for number in range(4):
        shown.take(NOW + number, {"p": number})
        shown.take(NOW + number - 0.5, {"e": number})
    assert shown.known() == {"p": 3, "e": 3}


def test_a_late_reading_shows_only_the_channels_of_which_there_is_nothing_newer(shown: Shown) -> None:
    shown.take(NOW, {"p": 2})
    shown.take(NOW - 10, {"p": 1, "e": 1})
    shown.take(NOW - 20, {"p": 0})
    assert shown.published[1:] == [Reading(NOW - 10, {"e": 1})]


def test_after_a_clock_that_was_ahead_is_set_back_readings_are_shown_again(shown: Shown) -> None:
    shown.clock += HOUR  # as a node with clock = "trust" begins before the network is there
    shown.take(shown.clock, {"p": 1})
    shown.clock -= HOUR
    shown.take(shown.clock, {"p": 2})
    shown.take(shown.clock - 10, {"p": 0})
    assert shown.known() == {"p": 2}


def test_before_the_clock_is_set_no_time_is_ahead_of_it(shown: Shown) -> None:
    shown.is_set = False
    shown.clock = 1000.0
    shown.take(NOW, {"p": 1})
    assert shown.published == [Reading(NOW, {"p": 1})]


def test_a_burst_is_merged_but_a_value_that_is_much_older_keeps_its_time(shown: Shown) -> None:
    shown.take(NOW, {"p": 0})
    for reading in (
        Reading(NOW - HOUR, {"e": 5, "old": True}),
        Reading(NOW + 0.02, {"p": 1}),
        Reading(NOW + 0.01, {"e": 6, "p": 0}),
    ):
        shown.publisher.show("late", reading)
    assert shown.publisher.waiting
    shown.wait(2 * APART_SECONDS)
    shown.publisher.flush()
    assert shown.published[1:] == [Reading(NOW - HOUR, {"old": True}), Reading(NOW + 0.02, {"e": 6, "p": 1})]


AGES = st.integers(-20, 20).map(float)  # seconds between a reading's own time and the clock; negative: in the future


@given(st.lists(st.tuples(AGES, st.lists(st.sampled_from("abc"), min_size=1, unique=True), st.booleans()), max_size=30))
def test_each_channel_has_its_newest_value_that_is_not_from_the_future_unless_the_last_arrival_is(
    arrivals: list[tuple[float, list[str], bool]],
) -> None:
    shown = Shown()
    expected: dict[str, Value] = {}
    newest: dict[str, float] = {}
    for number, (age, channels, in_a_burst) in enumerate(arrivals):
        if not in_a_burst:
            shown.wait(1.0)
        time = shown.clock - age
        shown.publisher.show("late", Reading(time, dict.fromkeys(channels, number)))
        for channel in channels:
            if age < 0:
                expected[channel] = number
            elif time >= newest.get(channel, 0.0):
                expected[channel], newest[channel] = number, time
        if not in_a_burst:
            shown.publisher.flush()
    shown.wait(1.0)
    shown.publisher.flush()
    assert shown.known() == expected
    assert all(reading.time <= shown.clock for reading in shown.published)
