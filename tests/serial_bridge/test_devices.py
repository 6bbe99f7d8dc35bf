from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.messages import Channel, Value
from services.serial_bridge.devices import MAX_CHANNELS, SerialDevice
from services.serial_bridge.parsing.readings import Description, ParsedReading
from services.serial_bridge.source import ParserContext, SourceOptions

ABOUT = Description("thing", 0.0, {"p": Channel("W")})


def reading_of(interval: float = 0.0, **values: Value) -> ParsedReading:
    return ParsedReading("thing", dict(values), ABOUT._replace(interval=interval))


def missed(device: SerialDevice, message: Value) -> Value | None:
    reading = reading_of(msg=message)
    device.update(reading, 0.0)
    return reading.values.get("missed")


def test_channels_are_described_as_configured_and_else_as_their_values_are() -> None:
    device = SerialDevice()
    device.update(reading_of(p=5, on=True, mode="eco", t=1.5), 0.0)
    assert device.info.model == "thing"
    assert device.info.service == "serial_bridge"
    assert device.info.channels == {
        "p": Channel("W"),
        "on": Channel(kind="state"),
        "mode": Channel(kind="text"),
        "t": Channel(),
    }


def test_a_new_channel_is_added_to_the_ones_that_are_known() -> None:
    device = SerialDevice()
    device.update(reading_of(p=5), 0.0)
    known = device.info
    device.update(reading_of(p=6), 1.0)
    assert device.info is known
    device.update(reading_of(q=6), 2.0)
    assert list(device.info.channels) == ["p", "q"]


def test_false_is_no_value_of_a_channel_of_numbers_unless_it_is_configured_as_one() -> None:
    device = SerialDevice()
    device.update(reading_of(p=5, t=21.5, on=True), 0.0)
    reading = reading_of(p=False, t=False, on=False)
    assert {text: reason.counter for text, reason in device.update(reading, 1.0).items()} == {"t": "no_sensor"}
    assert reading.values == {"p": False, "on": False}
    device.update(reading_of(on=300), 2.0)
    assert device.info.channels["on"] == Channel()
    assert list(device.update(reading_of(on=False), 3.0)) == ["on"]


def test_channels_without_end_are_noise() -> None:
    device = SerialDevice()
    device.update(reading_of(**{f"c{n}": n for n in range(MAX_CHANNELS)}), 0.0)
    reading = reading_of(c1=1, one_more=2)
    assert list(device.update(reading, 1.0)) == ["one_more"]
    assert reading.values == {"c1": 1}


def test_messages_that_did_not_arrive_are_counted() -> None:
    device = SerialDevice()
    assert [missed(device, message) for message in (5, 6, 9, 10, 20)] == [0, 0, 2, 2, 11]


def test_a_device_that_starts_again_has_missed_nothing() -> None:
    device = SerialDevice()
    assert [missed(device, message) for message in (70_000, 1, 2, 2, 4)] == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("message", [True, "7", 7.5])
def test_a_message_number_that_is_not_a_number_counts_nothing(message: Value) -> None:
    assert missed(SerialDevice(), message) is None


def test_missed_messages_are_a_counter() -> None:
    device = SerialDevice()
    missed(device, 1)
    assert device.info.channels["missed"].kind == "counter"


def learnt(*times: float, interval: float = 0.0) -> float:
    device = SerialDevice()
    for time in times:
        device.update(reading_of(interval, p=1), time)
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


LINES = {
    "key_value": ("Power_1={} power.1={}", "ovf"),
    "json_lines": ('{{"Power_1":{},"power.1":{}}}', "null"),
}


@pytest.mark.parametrize("format_name", LINES)
@given(lines=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_of_two_texts_with_one_name_the_first_with_a_value_keeps_it(
    format_name: str, lines: list[tuple[bool, bool]]
) -> None:
    template, missing = LINES[format_name]
    source = SourceOptions(name="port", format=format_name)
    parse = import_module(f"services.serial_bridge.formats.{format_name}").parser(source, ParserContext({}))
    device, owner = SerialDevice(), None
    for number, present in enumerate(lines):
        values = [2 * number, 2 * number + 1]
        reading = parse(
            template.format(*(value if there else missing for value, there in zip(values, present, strict=True)))
        )
        if owner is None and any(present):
            owner = present.index(True)
        refused = device.update(reading, float(number))
        assert reading.values == ({"power_1": values[owner]} if owner is not None and present[owner] else {})
        assert len(refused) == sum(present) - len(reading.values)
