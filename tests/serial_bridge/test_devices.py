import pytest

from heliograph.messages import Channel, Value
from services.serial_bridge.devices import MOST_CHANNELS, Device
from services.serial_bridge.readings import About, Reading

ABOUT = About("thing", 0.0, {"p": Channel("W")})


def said(interval: float = 0.0, **values: Value) -> Reading:
    return Reading("thing", dict(values), ABOUT._replace(interval=interval))


def missed(device: Device, message: Value) -> Value | None:
    reading = said(msg=message)
    device.take(reading, 0.0)
    return reading.values.get("missed")


def test_channels_are_described_as_configured_and_else_as_their_values_are() -> None:
    device = Device()
    device.take(said(p=5, on=True, mode="eco", t=1.5), 0.0)
    assert device.info.model == "thing"
    assert device.info.service == "serial_bridge"
    assert device.info.channels == {
        "p": Channel("W"),
        "on": Channel(kind="state"),
        "mode": Channel(kind="text"),
        "t": Channel(),
    }


def test_a_new_channel_is_added_to_the_ones_that_are_known() -> None:
    device = Device()
    device.take(said(p=5), 0.0)
    known = device.info
    device.take(said(p=6), 1.0)
    assert device.info is known
    device.take(said(q=6), 2.0)
    assert list(device.info.channels) == ["p", "q"]


def test_channels_without_end_are_noise() -> None:
    device = Device()
    device.take(said(**{f"c{n}": n for n in range(MOST_CHANNELS)}), 0.0)
    reading = said(c1=1, one_more=2)
    assert list(device.take(reading, 1.0)) == ["one_more"]
    assert reading.values == {"c1": 1}


def test_messages_that_did_not_arrive_are_counted() -> None:
    device = Device()
    assert [missed(device, message) for message in (5, 6, 9, 10, 20)] == [0, 0, 2, 2, 11]


def test_a_device_that_starts_again_has_missed_nothing() -> None:
    device = Device()
    assert [missed(device, message) for message in (70_000, 1, 2, 2, 4)] == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("message", [True, "7", 7.5])
def test_a_message_number_that_is_none_counts_nothing(message: Value) -> None:
    assert missed(Device(), message) is None


def test_missed_messages_are_a_counter() -> None:
    device = Device()
    missed(device, 1)
    assert device.info.channels["missed"].kind == "counter"


def learnt(*times: float, interval: float = 0.0) -> float:
    device = Device()
    for time in times:
        device.take(said(interval, p=1), time)
    return device.info.interval


def test_the_interval_is_learnt_from_a_few_readings() -> None:
    assert learnt(0, 10.1, 20.2, 30.1) == 0.0
    assert learnt(0, 10.1, 20.2, 30.1, 40.2) == 10.0


def test_a_lost_reading_does_not_change_the_interval() -> None:
    assert learnt(0, 10, 20, 30, 40, 60, 70, 80, 110, 120) == 10.0


def test_a_device_that_speaks_when_it_likes_has_no_interval() -> None:
    assert learnt(0, 1, 30, 33, 100, 101, 150) == 0.0


def test_a_device_that_changes_its_interval_is_followed() -> None:
    assert learnt(*range(0, 50, 10), *range(100, 1000, 60)) == 60.0


def test_a_configured_interval_is_believed() -> None:
    assert learnt(0, 10, 20, 30, 40, 50, interval=60.0) == 60.0
