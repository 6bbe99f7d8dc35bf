import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph import units
from heliograph.messages import Channel, Info
from services.home_assistant import device_classes, discovery, identifiers
from services.home_assistant.entity_description import describe
from tests.home_assistant.rules import refusals

NAMES = st.from_regex(r"[a-z0-9_][a-z0-9_-]{0,8}", fullmatch=True)
WORDS = st.sampled_from(
    [
        "battery",
        "soc",
        "humidity",
        "wind",
        "direction",
        "power",
        "factor",
        "pf",
        "co2",
        "co",
        "voc",
        "pm1",
        "pm25",
        "pm10",
        "rain",
        "water",
        "gas",
        "stored",
        "rssi",
        "ph",
    ]
)
CHANNEL_NAMES = st.lists(WORDS, min_size=1, max_size=3).map("_".join) | st.text(max_size=8)
LIMITS = st.none() | st.just((0.0, 1.0)) | st.tuples(st.floats(), st.floats())
CHANNELS = st.builds(
    Channel,
    unit=st.sampled_from(sorted(units.DEVICE_CLASSES)) | st.text(max_size=5),
    kind=st.sampled_from(["gauge", "counter", "state", "text"]),
    label=st.text(max_size=10),
    writable=LIMITS,
)
INFOS = st.builds(
    Info,
    model=st.text(max_size=20),
    channels=st.dictionaries(CHANNEL_NAMES, CHANNELS, max_size=6),
    interval=st.floats(),
    service=NAMES | st.text(max_size=4),
)


@given(NAMES, NAMES, INFOS, st.booleans(), st.sampled_from(["", "homeassistant/heliograph/x/state"]))
def test_home_assistant_accepts_any_device_that_a_producer_declares(
    node: str, device: str, info: Info, has_availability: bool, mirror: str
) -> None:
    message = discovery.message(node, device, info, mirror=mirror, has_availability=has_availability)
    if not message["cmps"]:
        assert not any(map(discovery.is_shown, info.channels))
        return
    assert refusals(identifiers.join(node, device), msgspec.json.decode(msgspec.json.encode(message))) == []
    assert len(message["cmps"]) == sum(map(discovery.is_shown, info.channels))


def test_every_unit_of_ours_is_shown_with_the_class_that_it_measures() -> None:
    for unit in units.DEVICE_CLASSES:
        gauge, counter = describe("value", Channel(unit)), describe("value", Channel(unit, "counter"))
        for description in (gauge, counter):
            assert description.unit == device_classes.spelled(unit)
            assert device_classes.accepts(description.device_class, description.unit, description.state_class), unit
        assert gauge.rejected_class == "", unit


@pytest.mark.parametrize(
    ("name", "channel", "device_class", "state_class"),
    [
        ("power", Channel("W"), "power", "measurement"),
        ("energy", Channel("kWh", "counter"), "energy", "total_increasing"),
        ("energy_yesterday", Channel("kWh"), "energy", ""),
        ("energy_stored", Channel("kWh"), "energy_storage", "measurement"),
        ("battery_soc", Channel("%"), "battery", "measurement"),
        ("humidity", Channel("%"), "humidity", "measurement"),
        ("dimmer", Channel("%"), "", "measurement"),
        ("power_factor_l1", Channel(""), "power_factor", "measurement"),
        ("wind_direction", Channel("°"), "wind_direction", "measurement_angle"),
        ("sun_azimuth", Channel("°"), "", "measurement_angle"),
        ("tilt", Channel("°"), "", "measurement"),
        ("co2", Channel("ppm"), "carbon_dioxide", "measurement"),
        ("salt", Channel("ppm"), "", "measurement"),
        ("pm10", Channel("µg/m³"), "pm10", "measurement"),
        ("water_total", Channel("m³", "counter"), "water", "total_increasing"),
        ("gas", Channel("m³", "counter"), "gas", "total_increasing"),
        ("tank", Channel("L"), "volume_storage", "measurement"),
        ("wind_speed", Channel("m/s"), "wind_speed", "measurement"),
        ("flow", Channel("m/s"), "speed", "measurement"),
        ("rain", Channel("mm", "counter"), "precipitation", "total_increasing"),
        ("level", Channel("mm"), "distance", "measurement"),
        ("barometric_pressure", Channel("hPa"), "atmospheric_pressure", "measurement"),
        ("pulses", Channel("", "counter"), "", "total_increasing"),
        ("resistance", Channel("Ω"), "", "measurement"),
        ("heat", Channel("GJ", "counter"), "energy", "total_increasing"),
    ],
)
def test_classes_come_from_unit_kind_and_name(name: str, channel: Channel, device_class: str, state_class: str) -> None:
    description = describe(name, channel)
    assert (description.device_class, description.state_class, description.rejected_class) == (
        device_class,
        state_class,
        "",
    )


def test_a_class_that_home_assistant_would_refuse_is_left_out_and_counted() -> None:
    description = describe("power_sum", Channel("W", "counter"))
    assert description[:3] == ("W", "", "total_increasing")
    assert description.rejected_class == "power"
    info = Info("x", {"power_sum": Channel("W", "counter"), "power": Channel("W"), "mode": Channel(kind="text")})
    assert discovery.rejected_classes(info) == 1


def test_a_sensor_has_all_that_is_known_of_it() -> None:
    info = Info("EPEVER Tracer", {"pv_power": Channel("W")}, 30.0, "modbus_poller")
    message = discovery.message("pi-a", "tracer", info)
    assert message["dev"] == {"ids": ["pi-a_tracer"], "name": "Tracer", "mdl": "EPEVER Tracer", "mf": "EPEVER"}
    assert message["stat_t"] == "heliograph/pi-a/devices/tracer/state"
    assert [one["t"] for one in message["avty"]] == [
        "heliograph/pi-a/devices/tracer/availability",
        "heliograph/pi-a/services/modbus_poller/status",
    ]
    sensor = message["cmps"]["sensor_pv_power"]
    assert sensor.pop("val_tpl").startswith("{% set v =")
    assert sensor == {
        "p": "sensor",
        "uniq_id": "pi-a_tracer_pv_Upower",
        "name": "PV power",
        "unit_of_meas": "W",
        "dev_cla": "power",
        "stat_cla": "measurement",
        "sug_dsp_prc": 0,
        "exp_aft": 90,
    }


def test_a_sensor_without_unit_and_class_has_neither_key() -> None:
    message = discovery.message("pi", "relay", Info("", {"pulses": Channel("", "counter"), "level": Channel("")}))
    for sensor in message["cmps"].values():
        assert set(sensor) == {"p", "uniq_id", "name", "val_tpl", "stat_cla"}
    assert set(message["dev"]) == {"ids", "name"}


def test_a_state_that_can_be_set_is_a_switch_and_one_that_cannot_is_not() -> None:
    channels = {"load": Channel(kind="state", writable=(0, 1)), "door": Channel(kind="state")}
    parts = discovery.message("pi", "plug", Info("x", channels))["cmps"]
    assert {key: part["p"] for key, part in parts.items()} == {
        "switch_load": "switch",
        "binary_sensor_door": "binary_sensor",
    }
    switch = parts["switch_load"]
    assert (switch["cmd_t"], switch["qos"]) == ("heliograph/pi/devices/plug/set", 1)
    assert [json.loads(switch[key]) for key in ("pl_on", "pl_off")] == [{"load": True}, {"load": False}]


@pytest.mark.parametrize(
    ("limits", "step"), [((0, 290), 1.0), ((48.0, 60.0), 0.1), ((0, 1), 0.01), ((0.25, 1000), 0.01), ((0, 1e-9), 0.001)]
)
def test_a_number_has_limits_and_steps_that_fit_them(limits: tuple[float, float], step: float) -> None:
    info = Info("x", {"level": Channel("V", writable=limits)})
    number = discovery.message("pi", "charger", info)["cmps"]["number_level"]
    assert (number["min"], number["max"], number["step"]) == (*limits, step)
    assert (number["cmd_t"], number["qos"]) == ("heliograph/pi/devices/charger/set", 1)
    assert json.loads(number["cmd_tpl"].replace("{{ value }}", "12.5")) == {"level": 12.5}


@pytest.mark.parametrize(
    ("interval", "mirror", "expiry"), [(5.0, "", 60), (100.5, "", 302), (0.0, "", None), (5.0, "x", None)]
)
def test_values_expire_after_three_intervals_unless_they_are_irregular_or_retained(
    interval: float, mirror: str, expiry: int | None
) -> None:
    info = Info("x", {"power": Channel("W")}, interval)
    assert discovery.message("pi", "x", info, mirror=mirror)["cmps"]["sensor_power"].get("exp_aft") == expiry


def test_one_component_that_becomes_another_entity_is_enough_to_be_replaced() -> None:
    before = {"cmps": {"sensor_a": {"p": "sensor", "uniq_id": "a"}, "sensor_b": {"p": "sensor", "uniq_id": "b"}}}
    after = {"cmps": {"sensor_a": {"p": "sensor", "uniq_id": "a"}, "sensor_b": {"p": "sensor", "uniq_id": "c"}}}
    assert discovery.replaced(before, after)
    assert not discovery.replaced(before, before)
    assert not discovery.replaced({"cmps": {}}, after)
    assert not discovery.replaced(before, {"cmps": {}})


def test_one_entity_that_gets_another_component_is_enough_to_have_moved() -> None:
    before = {"cmps": {"sensor_a": {"p": "sensor", "uniq_id": "a"}, "sensor_b": {"p": "sensor", "uniq_id": "b"}}}
    after = {"cmps": {"sensor_a": {"p": "sensor", "uniq_id": "a"}, "sensor_c": {"p": "sensor", "uniq_id": "b"}}}
    assert discovery.moved(before, after)
    assert not discovery.moved(before, before)
    assert not discovery.moved(before, {"cmps": {"switch_b": {"p": "switch", "uniq_id": "b"}}})


@pytest.mark.parametrize(
    ("message", "ours"),
    [
        (discovery.message("pi", "meter", Info("", {"power": Channel("W")})), True),
        ({"origin": {"name": "Heliograph"}}, True),
        ({"o": {"name": "Zigbee2MQTT"}}, False),
        ({"o": {"name": "Zigbee2MQTT"}, "origin": {"name": "Heliograph"}}, False),
        ({"o": "Heliograph"}, False),
        ({}, False),
    ],
)
def test_only_messages_with_the_name_of_this_program_are_ours(message: dict[str, Any], ours: bool) -> None:
    assert discovery.is_ours(message) is ours
