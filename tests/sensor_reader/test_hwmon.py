from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.sensor_reader.sensor import read
from services.sensor_reader.sources import hwmon
from tests.sensor_reader.tree import SOC, Tree


def no_pause(_: float) -> None:
    pass


def test_an_sht31_has_temperature_and_humidity_and_its_address_in_its_name(tree: Tree) -> None:
    tree.hwmon(0, "platform/soc/i2c-1/1-0044", "sht3x", temp1_input="21870", humidity1_input="51234", temp1_max="1")
    (sensor,) = hwmon.discover(tree.root)
    assert (sensor.name, sensor.bus) == ("sht3x_1-0044", "i2c-1")
    assert read(sensor, no_pause).values == {"temperature": 21.87, "humidity": 51.234}


def test_every_quantity_comes_in_its_unit(tree: Tree) -> None:
    tree.hwmon(
        0,
        "platform/soc/i2c-1/1-0040",
        "ina226",
        in0_input="1250",
        in1_input="12000",
        in1_label="bus",
        curr1_input="-350",
        power1_input="4200000",
        energy1_input="7200000000",
        fan1_input="1200",
    )
    (sensor,) = hwmon.discover(tree.root)
    values = {"voltage0": 1.25, "voltage1": 12.0, "current": -0.35, "power": 4.2, "energy": 2.0, "fan": 1200.0}
    assert read(sensor, no_pause).values == values
    assert sensor.channels["voltage1"].label == "bus"
    assert sensor.channels["energy"].kind == "counter"
    assert sensor.channels["fan"].label == "fan in rpm"


def test_an_average_replaces_a_missing_value(tree: Tree) -> None:
    tree.hwmon(0, "pci/amdgpu.0", "amdgpu", power1_average="9000000")
    tree.hwmon(1, "pci/amdgpu.1", "amdgpu", power1_average="9000000", power1_input="8000000")
    assert [read(sensor, no_pause).values["power"] for sensor in hwmon.discover(tree.root)] == [9.0, 8.0]


def test_sensors_that_other_modules_read_directly_are_left_out(tree: Tree) -> None:
    tree.hwmon(0, "w1_bus_master1/28-0316a2794bff", "w1_slave_temp", temp1_input="21000")
    tree.hwmon(1, "virtual/thermal/thermal_zone0", "cpu_thermal", temp1_input="48000")
    tree.hwmon(2, f"{SOC}/x", "rpi_volt", in0_lcrit_alarm="0")
    assert list(hwmon.discover(tree.root)) == []


def test_a_socket_without_a_sensor_is_reported_by_its_chip(tree: Tree) -> None:
    tree.hwmon(0, "platform/x", "max6675", temp1_input="9000", temp2_input="21000", temp1_fault="1", temp2_fault="0")
    (sensor,) = hwmon.discover(tree.root)
    result = read(sensor, no_pause)
    assert result.values == {"temperature2": 21.0}
    assert "nothing is connected" in result.invalid[0].why


@given(content=st.binary(max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_content_is_a_number_or_set_aside(tree: Tree, content: bytes) -> None:
    device = "sys/devices/platform/z/hwmon/hwmon0"
    if not (tree.root / device).exists():
        tree.hwmon(0, "platform/z", "chip", temp1_input="1", temp1_fault="0")
    for name in ("temp1_input", "temp1_fault", "name"):
        tree.write(f"{device}/{name}", content)
    for sensor in hwmon.discover(tree.root):
        result = read(sensor, no_pause)
        assert result.values or result.failure
