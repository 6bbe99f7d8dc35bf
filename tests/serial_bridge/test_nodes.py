import struct
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.messages import Channel, Value
from services.serial_bridge.parsing.readings import NotAReading
from services.serial_bridge.parsing.values import scale
from services.serial_bridge.radio.nodes import CODES, NodeOptions, PacketDecoder


def channels(**options: Any) -> dict[str, Channel]:
    return dict(PacketDecoder(10, NodeOptions("ten", **options)).description.channels)


@given(st.integers(-(2**31), 2**32), st.integers(1, 10_000_000).map(lambda digits: Decimal(digits).scaleb(-4)))
def test_a_scaled_integer_is_the_float_nearest_to_the_exact_product(raw: int, factor: Decimal) -> None:
    assert scale(float(factor)).times(raw) == float(factor * raw)


def single_precision(raw: bytes) -> Value:
    (value,) = PacketDecoder(1, NodeOptions("one", datacode="f")).decode(raw, None).values.values()
    return value


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_single_precision_number_keeps_its_value(single: float) -> None:
    assert struct.pack("<f", single_precision(struct.pack("<f", single))) == struct.pack("<f", single)


@given(st.integers(-999_999, 999_999).map(lambda digits: Decimal(digits).scaleb(-2)))
def test_a_single_precision_number_has_no_digits_that_the_device_did_not_know(sent: Decimal) -> None:
    assert single_precision(struct.pack("<f", float(sent))) == float(sent)


@given(st.lists(st.sampled_from(CODES), max_size=8), st.binary(max_size=70), st.booleans())
def test_any_payload_is_a_reading_of_the_right_length_or_refused(codes: list[str], payload: bytes, white: bool) -> None:
    layout = PacketDecoder(1, NodeOptions("one", datacodes=tuple(codes), whitening=white, scale=0.1))
    try:
        reading = layout.decode(payload, None)
    except NotAReading:
        right = struct.calcsize("<" + "".join(codes)) if codes else 2 * max(1, len(payload) // 2)
        assert len(payload) != right
        return
    if codes:
        assert len(payload) == struct.calcsize("<" + "".join(codes))
        assert len(reading.values) + len(reading.refused) == len(codes)
    else:
        assert len(reading.values) == len(payload) // 2


@pytest.mark.parametrize("code", CODES)
def test_an_empty_packet_is_not_a_reading(code: str) -> None:
    with pytest.raises(NotAReading):
        PacketDecoder(1, NodeOptions("one", datacode=code)).decode(b"", -40)


def test_scales_that_are_too_few_leave_the_rest_as_it_is() -> None:
    layout = PacketDecoder(1, NodeOptions("one", datacode="b", scales=(0.5,)))
    assert layout.decode(bytes([3, 3]), None).values == {"1": 1.5, "2": 3}


def test_a_temperature_of_300_302_or_304_is_no_sensor_and_a_power_of_300_is_one() -> None:
    layout = PacketDecoder(1, NodeOptions("one", names=("a", "b", "c", "d", "p"), units=("C", "degC", "°C", "C", "W")))
    reading = layout.decode(struct.pack("<5h", 300, 302, 304, 301, 300), None)
    assert (reading.values, reading.no_sensor) == ({"d": 301, "p": 300}, 3)


def test_pulses_and_energies_are_counters_unless_the_options_say_otherwise() -> None:
    described = channels(
        names=("P", "E1", "E 2", "pulse", "n"), units=("W", "Wh", "kWh", "p", "n"), kinds={"E 2": "gauge"}
    )
    assert described["p"] == Channel("W", "gauge")
    assert described["e1"] == Channel("Wh", "counter")
    assert described["e_2"] == Channel("kWh", "gauge")
    assert described["pulse"] == Channel("", "counter")
    assert described["n"] == Channel("", "gauge")
    assert described["rssi"] == Channel("dBm", "gauge")


@pytest.mark.parametrize(
    ("options", "rollover"),
    [
        ({"datacodes": ("h", "L")}, 2.0**32),
        ({"datacodes": ("h", "H"), "scales": (1.0, 0.1)}, 6553.6),
        ({"datacodes": ("h", "H"), "scale": 0.5}, 32768.0),
        ({"datacodes": ("h", "H"), "scales": (2.0,)}, 65536.0),
        ({"datacode": "I"}, 2.0**32),
        ({"datacodes": ("h", "l")}, 0.0),  # continues below zero
        ({"datacodes": ("h", "f")}, 0.0),
        ({"datacode": "h"}, 0.0),
        ({"datacodes": ("h", "L"), "kinds": {"pulse": "gauge"}}, 0.0),
    ],
)
def test_a_counter_begins_again_where_its_bytes_are_full(options: dict[str, Any], rollover: float) -> None:
    assert channels(names=("power", "pulse"), units=("W", "p"), **options)["pulse"].rollover == rollover


def test_units_reach_channels_without_names() -> None:
    assert channels(units=("W", "C"))["2"] == Channel("°C")


def test_a_node_is_called_by_its_number_unless_it_has_a_model() -> None:
    assert PacketDecoder(10, NodeOptions("ten")).description.model == "JeeLib node 10"
    assert PacketDecoder(10, NodeOptions("ten", model="emonTx V3")).description.model == "emonTx V3"
