from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sensor_reader.errors import InvalidValue, ReadFailed
from services.sensor_reader.sensor import Sensor, read
from services.sensor_reader.sources import one_wire
from services.sensor_reader.sources.one_wire import Thermometer, checksum, slave
from tests.sensor_reader.tree import Tree

GOOD = "72 01 4b 46 7f ff 0e 10 57"


def w1_slave(scratchpad: str, verdict: str = "YES") -> str:
    """Return the content of a w1_slave file with nine bytes in hexadecimal."""
    content = bytes.fromhex(scratchpad)
    celsius = int.from_bytes(content[:2], "little", signed=True) * 1000 // 16
    return f"{scratchpad} : crc={content[8]:02x} {verdict}\n{scratchpad} t={celsius}\n"


def pad(sixteenths: int, reserved: int = 0x10) -> str:
    content = sixteenths.to_bytes(2, "little", signed=True) + bytes([0x4B, 0x46, 0x7F, 0xFF, reserved, 0x10])
    return (content + bytes([checksum(content)])).hex(" ")


# Case C16 of the older projects: the file that emonHub's DS18B20 interfacer reads.
FILE = "73 01 4b 46 7f ff 0d 10 41 : crc=41 {}\n73 01 4b 46 7f ff 0d 10 41 t=23187\n"


@pytest.fixture
def thermometer(tree: Tree) -> tuple[Thermometer, Callable[[str], object]]:
    folder = tree.ds18b20("0316a2794bff", w1_slave(GOOD))
    return Thermometer(folder, "28"), lambda content: tree.write(folder / "w1_slave", content)


Subject = tuple[Thermometer, Callable[[str], object]]


def only(tree: Tree) -> Sensor:
    (sensor,) = one_wire.discover(tree.root)
    return sensor


def test_a_ds18b20_is_found_under_its_serial_number(tree: Tree) -> None:
    tree.ds18b20("0316a2794bff", w1_slave(GOOD))
    (tree.root / "sys/bus/w1/devices/w1_bus_master1").mkdir()
    sensor = only(tree)
    assert (sensor.name, sensor.model, sensor.bus) == ("ds18b20_0316a2794bff", "DS18B20", "w1_bus_master1")
    assert read(sensor, lambda _: None).values == {"temperature": 23.125}


def test_every_family_of_thermometers_is_found_and_nothing_else(tree: Tree) -> None:
    for name in ("10-000802b4ba0e", "3b-000000183ca2", "1d-000000000001", "28-short", "00-800000000000"):
        tree.device(f"sys/devices/w1_bus_master1/{name}", f"sys/bus/w1/devices/{name}", {"w1_slave": w1_slave(GOOD)})
    assert [sensor.model for sensor in one_wire.discover(tree.root)] == ["DS18S20", "DS1825"]


def test_sensors_of_one_bus_share_a_worker_and_those_of_two_do_not(tree: Tree) -> None:
    tree.ds18b20("000000000001", w1_slave(GOOD))
    tree.ds18b20("000000000002", w1_slave(GOOD))
    tree.ds18b20("000000000003", w1_slave(GOOD), bus=2)
    buses = [sensor.bus for sensor in one_wire.discover(tree.root)]
    assert buses == ["w1_bus_master1", "w1_bus_master1", "w1_bus_master2"]


@pytest.mark.parametrize(
    ("sixteenths", "celsius"), [(-20, -1.25), (0, 0.0), (-880, -55.0), (2000, 125.0), (371, 23.1875)]
)
def test_temperatures_above_and_below_zero_are_read(thermometer: Subject, sixteenths: int, celsius: float) -> None:
    read_values, write = thermometer
    content = w1_slave(pad(sixteenths))
    write(content)
    assert read_values()["temperature"] == pytest.approx(celsius, abs=0.001)


def test_the_attribute_of_newer_kernels_is_read_where_there_is_no_other(tree: Tree) -> None:
    folder = tree.ds18b20("0316a2794bff", w1_slave(GOOD))
    (folder / "w1_slave").unlink()
    tree.write(folder / "temperature", "-1250\n")
    assert read(only(tree), lambda _: None).values == {"temperature": -1.25}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (w1_slave(GOOD, "NO"), "wrong checksum"),
        (w1_slave(GOOD).replace("72 01", "73 01"), "wrong checksum"),
        (w1_slave("00 00 00 00 00 00 00 00 00"), "short circuit"),
        (w1_slave("ff ff ff ff ff ff ff ff ff", "NO"), "wrong checksum"),
        (w1_slave(GOOD).splitlines(keepends=True)[0], "unknown format"),
        (w1_slave(GOOD)[:-4], "incomplete"),
        ("", "incomplete"),
        ("garbage\n", "unknown format"),
    ],
)
def test_an_invalid_reading_is_repeated_and_then_set_aside(tree: Tree, content: str, why: str) -> None:
    tree.ds18b20("0316a2794bff", content)
    result = read(only(tree), lambda _: None)
    assert result.values == {}
    assert result.retries == 2
    assert [why in bad.why for bad in result.invalid] == [True]


def test_a_reading_that_is_valid_the_second_time_counts(tree: Tree) -> None:
    folder = tree.ds18b20("0316a2794bff", w1_slave(GOOD, "NO"))
    result = read(only(tree), lambda _: tree.write(folder / "w1_slave", w1_slave(GOOD)))
    assert (result.values, result.retries, result.invalid) == ({"temperature": 23.125}, 1, [])


def test_85_degrees_before_any_other_reading_are_rejected(thermometer: Subject) -> None:
    read_values, write = thermometer
    write(w1_slave(pad(85 * 16)))
    for _ in range(3):
        with pytest.raises(InvalidValue, match="85 °C"):
            read_values()


def test_85_degrees_far_from_the_last_reading_are_rejected(thermometer: Subject) -> None:
    read_values, write = thermometer
    read_values()
    write(w1_slave(pad(85 * 16)))
    with pytest.raises(InvalidValue, match="85 °C"):
        read_values()


def test_85_degrees_of_a_boiler_that_gets_there_are_accepted(thermometer: Subject) -> None:
    read_values, write = thermometer
    for sixteenths in (84 * 16, 85 * 16, 85 * 16, 86 * 16):
        write(w1_slave(pad(sixteenths)))
        assert read_values() == {"temperature": sixteenths / 16}


def test_the_file_that_emonhub_reads_is_a_temperature_unless_its_checksum_is_wrong() -> None:
    assert slave(FILE.format("YES"))[0] == Decimal("23.187")
    with pytest.raises(ReadFailed, match="wrong checksum"):
        slave(FILE.format("NO"))
    below_zero = f"{pad(-20)} : crc={pad(-20)[-2:]} YES\n{pad(-20)} t=-1250\n"
    assert slave(below_zero)[0] == Decimal("-1.25")


def test_a_sensor_that_lost_its_supply_beside_85_degrees_is_found_out_by_its_reserved_byte(
    thermometer: Subject,
) -> None:
    read_values, write = thermometer
    write(w1_slave(pad(84 * 16)))
    read_values()
    write(w1_slave(pad(85 * 16, reserved=0x0C)))
    with pytest.raises(InvalidValue, match="85 °C"):
        read_values()


def test_the_reserved_byte_of_a_clone_that_never_changes_it_is_ignored(thermometer: Subject) -> None:
    read_values, write = thermometer
    for sixteenths in (84 * 16, 85 * 16):
        write(w1_slave(pad(sixteenths, reserved=0x0C)))
        assert read_values() == {"temperature": sixteenths / 16}


def test_a_temperature_outside_the_range_of_the_sensor_is_set_aside(thermometer: Subject) -> None:
    read_values, write = thermometer
    write(w1_slave(pad(127 * 16)))
    with pytest.raises(InvalidValue, match="outside the range"):
        read_values()


FLUE = "84 13 80 19 f0 ff ff ff 49 : crc=49 YES\n84 13 80 19 f0 ff ff ff 49 t=312250\n"


def on_1_wire(tree: Tree, name: str, files: dict[str, str]) -> Sensor:
    tree.device(f"sys/devices/w1_bus_master1/{name}", f"sys/bus/w1/devices/{name}", files)
    return only(tree)


def thermocouple(sixteenths: int, faults: int = 0) -> str:
    first = (sixteenths & 0xFFFC | bool(faults)) & 0xFFFF
    content = first.to_bytes(2, "little") + bytes([0x80 | faults, 0x19, 0xF0, 0xFF, 0xFF, 0xFF])
    return w1_slave((content + bytes([checksum(content)])).hex(" "))


def test_a_thermocouple_in_a_flue_pipe_is_read(tree: Tree) -> None:
    sensor = on_1_wire(tree, "3b-0cfe00000001", {"w1_slave": FLUE})
    assert read(sensor, lambda _: None).values == {"temperature": 312.25}
    assert sensor.name == "ds1825_0cfe00000001"


@pytest.mark.parametrize(
    ("celsius", "is_read"), [(1372, True), (1376, False), (-270, True), (-271, False), (85, True), (0, True)]
)
def test_a_thermocouple_has_the_range_of_type_k_and_no_85_degrees_of_its_own(
    tree: Tree, celsius: int, is_read: bool
) -> None:
    sensor = on_1_wire(tree, "3b-0cfe00000001", {"w1_slave": thermocouple(celsius * 16)})
    result = read(sensor, lambda _: None)
    assert result.values == ({"temperature": celsius} if is_read else {})
    assert [bad.why for bad in result.invalid] == ([] if is_read else ["outside the range of the sensor"])


@pytest.mark.parametrize(
    ("faults", "why"),
    [(1, "it is open"), (2, "it is connected to ground"), (5, "it is open, it is connected to the supply")],
)
def test_the_fault_of_a_thermocouple_is_reported(tree: Tree, faults: int, why: str) -> None:
    sensor = on_1_wire(tree, "3b-0cfe00000001", {"w1_slave": thermocouple(2047 * 16, faults)})
    result = read(sensor, lambda _: None)
    assert (result.values, [bad.why for bad in result.invalid]) == ({}, [f"the thermocouple has a fault: {why}"])


@pytest.mark.parametrize(("name", "is_read"), [("3b-0cfe00000001", True), ("28-0cfe00000001", False)])
def test_where_the_sensor_is_not_recognised_the_range_is_that_of_a_thermocouple(
    tree: Tree, name: str, is_read: bool
) -> None:
    sensor = on_1_wire(tree, name, {"temperature": "312250\n"})
    assert read(sensor, lambda _: None).values == ({"temperature": 312.25} if is_read else {})


@pytest.mark.parametrize("name", ["3b-0cfe00000001", "28-0cfe00000001"])
def test_a_thermometer_that_is_no_thermocouple_keeps_its_range(tree: Tree, name: str) -> None:
    sensor = on_1_wire(tree, name, {"w1_slave": w1_slave(pad(312 * 16))})
    assert [bad.why for bad in read(sensor, lambda _: None).invalid] == ["outside the range of the sensor"]


def test_the_checksum_is_that_of_the_data_sheet() -> None:
    assert checksum(bytes.fromhex("02 1c b8 01 00 00 00 a2")) == 0  # Maxim, application note 27


@given(st.one_of(st.text(max_size=200), st.binary(max_size=200).map(lambda b: b.decode("latin-1"))))
def test_any_other_text_is_a_failed_read(content: str) -> None:
    with pytest.raises(ReadFailed):
        slave(content)


@given(st.integers(0, 8), st.integers(1, 255))
def test_a_changed_byte_is_always_noticed(where: int, change: int) -> None:
    content = bytearray.fromhex(GOOD)
    content[where] ^= change
    with pytest.raises(ReadFailed, match="wrong checksum"):
        slave(f"{content.hex(' ')} : crc={content[8]:02x} YES\n{content.hex(' ')} t=1000\n")
