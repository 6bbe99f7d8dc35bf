from pathlib import Path

import msgspec
import pytest

from services.sensor_reader import discovery
from services.sensor_reader.options import Choice, SensorReader
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


def test_what_is_ignored_is_left_out(tree: Tree) -> None:
    assert names(tree, ignore=("ds18b20_*", "system")) == {"dht11_4", "bme280_1-0076"}


def test_a_user_gives_names_and_intervals(tree: Tree) -> None:
    chosen = {"bme280_1-0076": Choice(name="attic"), "dht11_4": Choice(interval=60.0)}
    found = discovery.find(options(tree, sensors=chosen), tree.root).sensors
    assert found["attic"].automatic == "bme280_1-0076"
    assert found["attic"].interval == 10.0
    assert found["dht11_4"].interval == 60.0
    assert found["system"].interval == 60.0


def test_a_chosen_name_is_not_taken_away_by_an_automatic_one(tree: Tree) -> None:
    found = discovery.find(options(tree, sensors={"system": Choice(name="dht11_4")}), tree.root)
    assert found.sensors["dht11_4"].automatic == "system"
    assert len(found.troubles) == 1
    assert "another device is named dht11_4" in found.troubles[0]


def test_two_sensors_that_would_be_called_the_same_are_numbered(tree: Tree) -> None:
    for number in (5, 6):
        tree.write(f"sys/bus/iio/devices/iio:device{number}/name", "adc\n")
        tree.write(f"sys/bus/iio/devices/iio:device{number}/in_voltage0_raw", "1\n")
    assert {"adc", "adc_2"} <= names(tree)


def test_what_is_plugged_in_later_is_found_and_what_is_gone_is_not(tree: Tree) -> None:
    tree.unplug("sys/bus/iio/devices/iio:device0")
    tree.bme280(number=9, address=0x77)
    assert names(tree) == {"bme280_1-0076", "bme280_1-0077", "ds18b20_0316a2794bff", "system"}


def test_a_sensor_is_the_same_until_its_place_or_its_channels_change(tree: Tree) -> None:
    def found() -> list[Sensor]:
        return list(iio.discover(tree.root))

    before = found()
    assert all(one.same(other) for one, other in zip(before, found(), strict=True))
    tree.write(tree.root / "sys/bus/iio/devices/iio:device0/in_pressure_input", "1\n")
    assert [one.same(other) for one, other in zip(before, found(), strict=True)] == [False, True]


def test_a_family_that_cannot_be_listed_does_not_hide_the_others(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path) -> list[Sensor]:
        raise PermissionError("no")

    monkeypatch.setattr(iio, "_files", fail)
    found = discovery.find(options(tree), tree.root)
    assert set(found.sensors) == {"ds18b20_0316a2794bff", "system"}
    assert found.troubles == ["cannot list sensors: no"]
