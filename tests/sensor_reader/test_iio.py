import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heliograph import topics, units
from services.sensor_reader import discovery
from services.sensor_reader.options import SensorReader
from services.sensor_reader.sensor import Sensor, read
from services.sensor_reader.sources import hwmon, iio
from tests.sensor_reader.tree import Tree

LUX = "sys/devices/platform/soc/i2c-1/1-0039/iio:device3"


def only(tree: Tree) -> Sensor:
    (sensor,) = iio.discover(tree.root)
    return sensor


def no_pause(_: float) -> None:
    pass


def test_a_dht22_is_called_after_its_pin(tree: Tree) -> None:
    tree.dht()
    sensor = only(tree)
    assert (sensor.name, sensor.bus, sensor.retry_delay) == ("dht11_4", "dht11_4", 2.0)
    assert read(sensor, no_pause).values == {"temperature": 21.5, "humidity": 48.3}
    assert sensor.channels["humidity"].unit == "%"


def test_a_bme280_is_called_after_its_address_and_waits_for_its_bus(tree: Tree) -> None:
    tree.bme280()
    sensor = only(tree)
    assert (sensor.name, sensor.model, sensor.bus) == ("bme280_1-0076", "bme280", "i2c-1")
    assert read(sensor, no_pause).values == {"temperature": 23.45, "humidity": 45.123, "pressure": 987.34121093}


def test_the_name_does_not_depend_on_the_order_of_plugging_in(tree: Tree) -> None:
    tree.bme280(number=7)
    assert only(tree).name == "bme280_1-0076"


def test_raw_values_become_raw_plus_offset_times_scale(tree: Tree) -> None:
    files = {
        "name": "ads1015\n",
        "in_voltage0_raw": "1024\n",
        "in_voltage1_raw": "-5\n",
        "in_voltage1_scale": "2\n",
        "in_voltage0-voltage1_raw": "100\n",
        "in_voltage_scale": "0.125000000\n",
        "in_temp_raw": "400\n",
        "in_temp_offset": "-100\n",
        "in_temp_scale": "50\n",
    }
    tree.device("sys/devices/i2c-1/1-0048/iio:device0", "sys/bus/iio/devices/iio:device0", files)
    sensor = only(tree)
    assert read(sensor, no_pause).values == {
        "voltage0": 0.128,
        "voltage1": -0.01,
        "voltage0_voltage1": 0.0125,
        "temperature": 15.0,
    }
    assert sensor.channels["voltage0"].unit == "V"


def test_a_scaled_value_of_the_driver_is_preferred_to_a_raw_one(tree: Tree) -> None:
    files = {"in_illuminance_input": "12.5\n", "in_illuminance_raw": "77\n", "in_intensity_both_raw": "88\n"}
    tree.device(LUX, "sys/bus/iio/devices/iio:device3", {"name": "tsl2561\n", **files})
    sensor = only(tree)
    assert read(sensor, no_pause).values == {"illuminance": 12.5, "intensity_both": 88.0}
    assert sensor.channels["intensity_both"].unit == ""


def test_carbon_dioxide_and_dust_have_the_units_that_people_know(tree: Tree) -> None:
    files = {
        "name": "sps30\n",
        "in_concentration_co2_raw": "415\n",
        "in_concentration_co2_scale": "0.0001\n",
        "in_massconcentration_pm2p5_input": "7.1\n",
    }
    tree.device("sys/devices/i2c-1/1-0069/iio:device0", "sys/bus/iio/devices/iio:device0", files)
    sensor = only(tree)
    assert read(sensor, no_pause).values == {"co2": 415.0, "pm2_5": 7.1}
    assert {name: channel.unit for name, channel in sensor.channels.items()} == {"co2": "ppm", "pm2_5": "µg/m³"}


def test_of_two_files_that_would_be_one_channel_one_is_read_and_the_other_is_set_aside(tree: Tree) -> None:
    files = {"in_concentration_pm2p5_input": "1\n", "in_massconcentration_pm2p5_input": "2\n"}
    tree.device("sys/devices/z/iio:device0", "sys/bus/iio/devices/iio:device0", files)
    (sensor,) = iio.discover(tree.root)
    assert list(sensor.channels) == ["pm2_5"]
    assert sensor.left_out == ("in_massconcentration_pm2p5_input: it would be called pm2_5, too",)
    errors = discovery.find(SensorReader(root=str(tree.root)), tree.root).errors
    assert any(error.endswith("it would be called pm2_5, too") for error in errors)


def test_one_channel_that_fails_does_not_take_the_others_with_it(tree: Tree) -> None:
    folder = tree.bme280(in_temp_input="garbage\n")
    (folder / "in_pressure_input").unlink()
    (folder / "in_pressure_input").mkdir()  # reading it fails, as a driver does
    result = read(only(tree), no_pause)
    assert result.values == {"humidity": 45.123}
    assert result.retries == 2
    assert [bad.why for bad in result.invalid] == ["in_temp_input: not a number"]
    assert result.failure


def test_a_read_that_fails_in_passing_is_made_again_after_a_pause(tree: Tree) -> None:
    folder = tree.dht(in_temp_input="")
    pauses = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        tree.write(folder / "in_temp_input", "19000\n")

    result = read(only(tree), pause)
    assert result.values["temperature"] == 19.0
    assert pauses == [2.0]
    assert (result.retries, result.failure, result.invalid) == (1, "", [])


def test_a_device_without_channels_or_without_a_name_stops_nothing(tree: Tree) -> None:
    tree.device("sys/devices/x/iio:device0", "sys/bus/iio/devices/iio:device0", {"name": "trigger\n"})
    tree.device("sys/devices/y/iio:device1", "sys/bus/iio/devices/iio:device1", {"in_temp_input": "1000\n"})
    tree.link("sys/bus/iio/devices/iio:device2", tree.root / "nowhere")
    assert [sensor.name for sensor in iio.discover(tree.root)] == ["y"]


def test_units_are_those_that_everyone_knows() -> None:
    for quantity in (*iio.QUANTITIES.values(), *hwmon.QUANTITIES.values(), iio.CO2):
        assert units.spelled(quantity.unit) == quantity.unit
        assert topics.is_channel(quantity.name)


@given(content=st.one_of(st.binary(max_size=40), st.from_regex(rb"-?[0-9]{1,8}(\.[0-9]{1,4})?\n", fullmatch=True)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_content_is_a_number_or_set_aside(tree: Tree, content: bytes) -> None:
    folder = tree.root / LUX
    if not folder.exists():
        tree.device(LUX, "sys/bus/iio/devices/iio:device3", {"name": "adc\n", "in_voltage0_raw": "1\n"})
    for name in ("in_voltage0_raw", "in_voltage0_scale", "in_voltage0_offset", "name", "in_voltage0_label"):
        tree.write(folder / name, content)
    for sensor in iio.discover(tree.root):
        assert topics.is_name(sensor.name)
        result = read(sensor, no_pause)
        assert result.values or result.failure
        assert all(isinstance(value, float) for value in result.values.values())


@given(
    names=st.lists(st.from_regex(r"in_[a-z]{2,12}[0-9]?(-[a-z]{4}[0-9])?_[a-z0-9_.]{0,12}(raw|input)", fullmatch=True))
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_name_is_a_channel_or_left_out(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    tree = Tree(tmp_path_factory.mktemp("tree"))
    tree.device("sys/devices/z/iio:device0", "sys/bus/iio/devices/iio:device0", dict.fromkeys(names, "1\n"))
    for sensor in iio.discover(tree.root):
        assert all(topics.is_channel(name) for name in sensor.channels)
