import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.errors import MessageError
from heliograph.store.interface import Point, Series
from services.api.live import LiveState, Newest

STATE = "heliograph/roof/devices/tracer/state"
INFO = "heliograph/roof/devices/tracer/info"
AVAILABILITY = "heliograph/roof/devices/tracer/availability"
STATUS = "heliograph/roof/services/storage/status"
NOW = 1763633000.0


@pytest.fixture
def live() -> LiveState:
    return LiveState(now=lambda: NOW)


def newest(live: LiveState) -> dict[str, Newest | None]:
    return {name: value for name, _, value in live.newest()}


def test_the_newest_value_of_each_channel_is_kept(live: LiveState) -> None:
    live.update(STATE, b'{"time": 10, "values": {"pv_power": 1, "load": true, "mode": "float"}}')
    live.update(STATE, b'{"time": 20, "values": {"pv_power": 2.5}}')
    assert newest(live) == {
        "roof/tracer/load": (10, True),
        "roof/tracer/mode": (10, "float"),
        "roof/tracer/pv_power": (20, 2.5),
    }


def test_a_device_is_known_by_its_info_before_its_first_reading(live: LiveState) -> None:
    live.update(INFO, b'{"model": "epever", "interval": 5, "channels": {"pv_power": {"unit": "W"}}}')
    assert newest(live) == {"roof/tracer/pv_power": None}


def test_a_device_whose_info_is_removed_is_forgotten(live: LiveState) -> None:
    live.update(INFO, b'{"model": "epever", "channels": {"pv_power": {"unit": "W"}}}')
    live.update(INFO, b"")
    assert not live.devices


def test_a_reading_from_before_the_clock_was_set_counts_from_its_arrival(live: LiveState) -> None:
    live.update(STATE, b'{"time": 10, "values": {"pv_power": 1}, "clock": "unsynced"}')
    assert newest(live) == {"roof/tracer/pv_power": (NOW, 1)}


def test_availability_is_one_of_three_words(live: LiveState) -> None:
    live.update(AVAILABILITY, b"asleep")
    assert live.devices["roof", "tracer"].availability == "asleep"
    live.update(AVAILABILITY, b"")
    assert live.devices["roof", "tracer"].availability is None
    with pytest.raises(MessageError, match="online, offline or asleep"):
        live.update(AVAILABILITY, b"broken")


def test_a_service_is_known_by_its_status(live: LiveState) -> None:
    live.update(STATUS, b'{"state": "online", "version": "0.1.0", "counters": {"readings": 3}}')
    assert live.services["roof", "storage"].counters == {"readings": 3}
    live.update(STATUS, b"")
    assert not live.services


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"nonsense",
        b"[]",
        b'{"time": 1}',
        b'{"time": "1", "values": {}}',
        b'{"time": NaN, "values": {"pv_power": 1}}',
        b'{"time": -5, "values": {"pv_power": 1}}',
        b'{"time": 1e30, "values": {"pv_power": 1}}',
        b'{"time": 1, "values": {"pv_power": 1e999}}',
        b'{"time": 1, "values": {"pv_power": null}}',
        b'{"time": 1, "values": {"pv_power": [1]}}',
        b'{"time": 1, "values": {"PV power": 1}}',
        b'{"time": 1, "values": {"good": 1, "<script>": 1}}',
        b'{"time": 1, "values": {"long": "' + b"x" * 300 + b'"}}',
        b"\xff\xfe",
        b"[" * 5000,
    ],
)
def test_a_bad_state_changes_nothing(live: LiveState, payload: bytes) -> None:
    with pytest.raises(MessageError):
        live.update(STATE, payload)
    assert not live.devices


@given(st.sampled_from([STATE, INFO, AVAILABILITY, STATUS, "heliograph/x", "other/roof/devices/a/state"]), st.binary())
def test_any_payload_is_accepted_or_refused(topic: str, payload: bytes) -> None:
    live = LiveState()
    try:
        live.update(topic, payload)
    except MessageError:
        assert not live.devices


def test_the_store_fills_in_what_the_bus_has_not_sent(live: LiveState) -> None:
    series = [
        Series(1, "roof", "tracer", "pv_power", "W", "gauge"),
        Series(2, "roof", "tracer", "energy", "kWh", "counter"),
        Series(3, "roof", "tracer", "never", "", "gauge"),
    ]
    live.update(STATE, b'{"time": 100, "values": {"pv_power": 7}}')
    live.seed(series, {1: Point(50.0, 1.0), 2: Point(50.0, 2.0)})
    assert newest(live) == {
        "roof/tracer/pv_power": (100, 7),
        "roof/tracer/energy": (50.0, 2.0),
        "roof/tracer/never": None,
    }
    units = {name: channel.unit for name, channel in live.devices["roof", "tracer"].channels().items()}
    assert units == {"pv_power": "W", "energy": "kWh", "never": ""}


def test_the_store_fills_in_what_is_newer_than_what_the_bus_has_sent(live: LiveState) -> None:
    series = [Series(1, "roof", "tracer", "pv_power", "W", "gauge")]
    live.update(STATE, b'{"time": 100, "values": {"pv_power": 7}}')
    live.seed(series, {1: Point(101.0, 8.0)})
    assert newest(live) == {"roof/tracer/pv_power": (101.0, 8.0)}
    live.seed(series, {1: Point(NOW + 1, 9.0)})  # of a clock that was wrong once
    assert newest(live) == {"roof/tracer/pv_power": (101.0, 8.0)}


def test_a_device_lacks_values_until_each_channel_that_it_declares_has_one(live: LiveState) -> None:
    assert not live.lacks_values()
    live.update(INFO, b'{"model": "epever", "channels": {"pv_power": {"unit": "W"}, "energy": {"unit": "kWh"}}}')
    live.update(STATE, b'{"time": 100, "values": {"pv_power": 7}}')
    assert live.lacks_values()
    live.seed([Series(2, "roof", "tracer", "energy", "kWh", "counter")], {2: Point(50.0, 2.0)})
    assert not live.lacks_values()


def test_the_store_does_not_bring_a_device_back_that_was_removed_until_it_reports(live: LiveState) -> None:
    series = [Series(1, "roof", "tracer", "pv_power", "W", "gauge")]
    info = b'{"model": "epever", "channels": {"pv_power": {"unit": "W"}}}'
    live.update(INFO, info)
    live.update(INFO, b"")
    live.seed(series, {1: Point(50.0, 1.0)})
    assert not live.devices
    live.update(INFO, info)
    live.seed(series, {1: Point(50.0, 1.0)})
    assert newest(live) == {"roof/tracer/pv_power": (50.0, 1.0)}


def test_a_channel_that_a_device_no_longer_has_leaves_its_card_but_not_the_series(live: LiveState) -> None:
    live.seed([Series(1, "roof", "tracer", "old", "W", "gauge")], {1: Point(50.0, 1.0)})
    live.update(INFO, b'{"model": "epever", "channels": {"new": {"unit": "W"}}}')
    assert list(live.devices["roof", "tracer"].channels()) == ["new"]
    assert set(newest(live)) == {"roof/tracer/old", "roof/tracer/new"}


def test_a_feed_keeps_only_the_newest_of_each_series_it_wants(live: LiveState) -> None:
    live.update(STATE, b'{"time": 1, "values": {"pv_power": 0, "load": false}}')
    feed = live.open_feed()
    live.subscribe(feed, ["roof/*/pv_power"])
    for number in range(1000):
        live.update(STATE, b'{"time": 2, "values": {"pv_power": %d, "load": true}}' % number)
    assert asyncio.run(feed.take()) == {"roof/tracer/pv_power": (2, 999)}


def test_a_feed_that_is_ignored_hears_nothing_more(live: LiveState) -> None:
    feed = live.open_feed()
    live.subscribe(feed, ["*/*/*"])
    live.close_feed(feed)
    live.update(STATE, b'{"time": 1, "values": {"pv_power": 0}}')
    assert live.listeners == 0

    async def news() -> None:
        await asyncio.wait_for(feed.take(), 0.05)

    with pytest.raises(TimeoutError):
        asyncio.run(news())


def test_a_reading_from_the_future_is_shown_as_one_of_now_and_replaced_by_whatever_arrives_later(
    live: LiveState,
) -> None:
    live.update(STATE, b'{"time": %d, "values": {"p": 3}}' % (NOW + 3600))  # of a producer whose clock is ahead
    assert newest(live) == {"roof/tracer/p": (NOW, 3)}
    live.update(STATE, b'{"time": %d, "values": {"p": 11, "e": 6}}' % (NOW - 1))
    assert newest(live) == {"roof/tracer/p": (NOW - 1, 11), "roof/tracer/e": (NOW - 1, 6)}
    live.update(STATE, b'{"time": %d, "clock": "ahead", "values": {"p": 4}}' % (NOW - 2))
    assert newest(live)["roof/tracer/p"] == (NOW, 4)
    live.update(STATE, b'{"time": %d, "values": {"p": 12}}' % (NOW - 3))
    assert newest(live)["roof/tracer/p"] == (NOW - 3, 12)


def test_a_late_reading_replaces_no_newer_value_of_its_channel(live: LiveState) -> None:
    live.update(STATE, b'{"time": 20, "values": {"p": 2}}')
    live.update(STATE, b'{"time": 10, "values": {"p": 1, "e": 1}}')
    assert newest(live) == {"roof/tracer/p": (20, 2), "roof/tracer/e": (10, 1)}


def test_while_the_clock_of_this_node_is_not_set_no_time_is_ahead_of_it() -> None:
    live = LiveState(now=lambda: 1000.0, latest=lambda: math.inf)
    live.update(STATE, b'{"time": %d, "values": {"p": 3}}' % NOW)
    assert newest(live) == {"roof/tracer/p": (NOW, 3)}


def test_when_the_clock_of_this_node_is_set_back_older_readings_are_shown_again() -> None:
    clock = [NOW + 3600]
    live = LiveState(now=lambda: clock[0])
    live.update(STATE, b'{"time": %d, "values": {"p": 1}}' % (NOW + 3600))
    clock[0] = NOW
    live.update(STATE, b'{"time": %d, "values": {"p": 2}}' % NOW)
    assert newest(live) == {"roof/tracer/p": (NOW, 2)}


def test_the_store_shows_no_value_from_the_future(live: LiveState) -> None:
    live.seed([Series(1, "roof", "tracer", "p", "W", "gauge")], {1: Point(NOW + 1, 9.0)})
    assert newest(live) == {"roof/tracer/p": None}
