from pathlib import Path

import msgspec
import pytest

from services.sensor_reader import discovery
from services.sensor_reader.options import SensorOptions, SensorReader
from services.sensor_reader.sensor import Sensor
from services.sensor_reader.sources import iio
from tests.sensor_reader.tree import Tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path / "root")
    tree.machine()
    tree.dht()
    tree.bme280()
    tree.ds18b20("0316a2794bff", "x\n")
    return tree


def options(tree: Tree, **given: object) -> SensorReader:
    return msgspec.structs.replace(SensorReader(root=str(tree.root)), **given)


def names(tree: Tree, **given: object) -> set[str]:
    return set(discovery.find(options(tree, **given), tree.root).sensors)


def test_everything_is_found_and_named(tree: Tree) -> None:
    assert names(tree) == {"dht11_4", "bme280_1-0076", "ds18b20_0316a2794bff", "system"}


def test_ignored_sensors_are_left_out(tree: Tree) -> None:
    assert names(tree, ignore=("ds18b20_*", "system")) == {"dht11_4", "bme280_1-0076"}


def test_a_user_gives_names_and_intervals(tree: Tree) -> None:
    chosen = {"bme280_1-0076": SensorOptions(name="attic"), "dht11_4": SensorOptions(interval=60.0)}
    discovered = discovery.find(options(tree, sensors=chosen), tree.root).sensors
    assert discovered["attic"].automatic_name == "bme280_1-0076"
    assert discovered["attic"].interval == 10.0
    assert discovered["dht11_4"].interval == 60.0
    assert discovered["system"].interval == 60.0


def test_a_chosen_name_is_not_taken_away_by_an_automatic_one(tree: Tree) -> None:
    discovered = discovery.find(options(tree, sensors={"system": SensorOptions(name="dht11_4")}), tree.root)
    assert discovered.sensors["dht11_4"].automatic_name == "system"
    assert len(discovered.errors) == 1
    assert "another device is named dht11_4" in discovered.errors[0]


def test_two_sensors_that_would_be_called_the_same_are_numbered(tree: Tree) -> None:
    for number in (5, 6):
        tree.write(f"sys/bus/iio/devices/iio:device{number}/name", "adc\n")
        tree.write(f"sys/bus/iio/devices/iio:device{number}/in_voltage0_raw", "1\n")
    assert {"adc", "adc_2"} <= names(tree)


def test_a_sensor_that_is_plugged_in_later_is_found_and_a_removed_one_is_not(tree: Tree) -> None:
    tree.unplug("sys/bus/iio/devices/iio:device0")
    tree.bme280(number=9, address=0x77)
    assert names(tree) == {"bme280_1-0076", "bme280_1-0077", "ds18b20_0316a2794bff", "system"}


def test_a_sensor_is_the_same_until_its_place_or_its_channels_change(tree: Tree) -> None:
    def sensors() -> list[Sensor]:
        return list(iio.discover(tree.root))

    before = sensors()
    assert all(one.same(other) for one, other in zip(before, sensors(), strict=True))
    tree.write(tree.root / "sys/bus/iio/devices/iio:device0/in_pressure_input", "1\n")
    assert [one.same(other) for one, other in zip(before, sensors(), strict=True)] == [False, True]


def test_a_family_that_cannot_be_listed_does_not_hide_the_others(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path) -> list[Sensor]:
        raise PermissionError("no")

    monkeypatch.setattr(iio, "_files", fail)
    discovered = discovery.find(options(tree), tree.root)
    assert set(discovered.sensors) == {"ds18b20_0316a2794bff", "system"}
    assert discovered.errors == ["cannot list sensors: no"]
