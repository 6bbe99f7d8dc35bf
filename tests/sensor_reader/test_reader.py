import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.sensor_reader import reader as readers
from services.sensor_reader.options import Choice, SensorReader
from services.sensor_reader.reader import Reader
from tests.sensor_reader.bus import Desk
from tests.sensor_reader.test_one_wire import GOOD, said
from tests.sensor_reader.tree import Tree

Eventually = Callable[[Callable[[], object]], object]


class Bench:
    """A reader of a tree, whose service is a stand-in."""

    def __init__(self, folder: Path) -> None:
        self.tree = Tree(folder / "root")
        self.desk = Desk(folder)
        self._readers: list[Reader] = []

    def reader(self, **given: Any) -> Reader:
        options = msgspec.structs.replace(SensorReader(root=str(self.tree.root), interval=0.1), **given)
        made = Reader(options, self.desk.service, self.desk.producer)
        self._readers.append(made)
        return made

    def stop(self) -> None:
        for reader in self._readers:
            reader.stop()
            for lane in reader.lanes.values():
                lane.join(30)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.stop()


def test_many_buses_share_few_threads(bench: Bench, eventually: Eventually, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "MOST_LANES", 3)
    for pin in range(20):
        bench.tree.dht(number=pin, pin=pin)
    reader = bench.reader()
    reader.look()
    assert len(reader.lanes) == 3
    eventually(lambda: len({name for name, _ in bench.desk.readings}) == 21)


def test_a_bus_that_is_empty_needs_no_thread(bench: Bench, eventually: Eventually) -> None:
    bench.tree.ds18b20("000000000001", said(GOOD))
    bench.tree.ds18b20("000000000002", said(GOOD))
    reader = bench.reader(ignore=("system",))
    reader.look()
    assert list(reader.lanes) == ["w1_bus_master1"]
    bench.tree.unplug("sys/bus/w1/devices/28-000000000001")
    reader.look()
    assert bench.desk.states["ds18b20_000000000001"][-1] == "offline"
    assert list(reader.lanes) == ["w1_bus_master1"]
    eventually(lambda: bench.desk.of("ds18b20_000000000002"))
    bench.tree.unplug("sys/bus/w1/devices/28-000000000002")
    reader.look()
    assert reader.lanes == {}


def test_a_sensor_that_gets_another_channel_is_declared_anew(bench: Bench, eventually: Eventually) -> None:
    folder = bench.tree.dht()
    reader = bench.reader()
    reader.look()
    bench.tree.write(folder / "in_pressure_input", "100\n")
    reader.look()
    assert "pressure" in bench.desk.infos["dht11_4"].channels
    eventually(lambda: any("pressure" in values for values in bench.desk.of("dht11_4")))
    assert bench.desk.states["dht11_4"][-1] == "online"


def test_a_driver_that_hangs_is_noticed(bench: Bench, eventually: Eventually, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "STUCK_SECONDS", 0.0)
    folder = bench.tree.dht()
    (folder / "in_temp_input").unlink()
    os.mkfifo(folder / "in_temp_input")
    reader = bench.reader()

    def noticed() -> bool:
        reader.look()
        return bench.desk.states.get("dht11_4") == ["offline"]

    eventually(noticed)
    assert bench.desk.facts["sensor:dht11_4"]["why"] == "its driver does not respond"
    writing = os.open(folder / "in_temp_input", os.O_RDWR | os.O_NONBLOCK)
    bench.tree.write(folder / "in_temp_input", "20000\n")
    os.close(writing)  # it returns after all
    eventually(lambda: bench.desk.states["dht11_4"][-1] == "online")


def test_a_sensor_that_the_user_named_and_that_is_not_there_is_in_the_status(bench: Bench) -> None:
    bench.reader(sensors={"bme280_1-0076": Choice(name="attic")}).look()
    assert bench.desk.facts["absent"] == ["bme280_1-0076"]


def test_what_cannot_have_its_name_is_said_once(bench: Bench) -> None:
    bench.tree.dht()
    reader = bench.reader(sensors={"system": Choice(name="dht11_4")})
    for _ in range(3):
        reader.look()
    assert len(bench.desk.bad) == 1
