import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.sensor_reader import reader as reader_module
from services.sensor_reader.options import SensorOptions, SensorReader
from services.sensor_reader.reader import Dispatcher
from tests.sensor_reader.test_one_wire import GOOD, w1_slave
from tests.sensor_reader.tree import Tree
from tests.service_stub import ServiceStub

Eventually = Callable[[Callable[[], object]], object]


class Bench:
    """Dispatchers of a tree, with a stub for the service."""

    def __init__(self, folder: Path) -> None:
        self.tree = Tree(folder / "root")
        self.stub = ServiceStub(folder)
        self._dispatchers: list[Dispatcher] = []

    def dispatcher(self, **given: Any) -> Dispatcher:
        options = msgspec.structs.replace(SensorReader(root=str(self.tree.root), interval=0.1), **given)
        made = Dispatcher(options, self.stub.service, self.stub.producer)
        self._dispatchers.append(made)
        return made

    def stop(self) -> None:
        for dispatcher in self._dispatchers:
            dispatcher.stop()
            for worker in dispatcher.workers.values():
                worker.join(30)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.stop()


def test_many_buses_share_few_threads(bench: Bench, eventually: Eventually, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "MAX_WORKERS", 3)
    for pin in range(20):
        bench.tree.dht(number=pin, pin=pin)
    dispatcher = bench.dispatcher()
    dispatcher.update()
    assert len(dispatcher.workers) == 3
    eventually(lambda: len({name for name, _ in bench.stub.readings}) == 21)


def test_a_bus_that_is_empty_needs_no_thread(bench: Bench, eventually: Eventually) -> None:
    bench.tree.ds18b20("000000000001", w1_slave(GOOD))
    bench.tree.ds18b20("000000000002", w1_slave(GOOD))
    dispatcher = bench.dispatcher(ignore=("system",))
    dispatcher.update()
    assert list(dispatcher.workers) == ["w1_bus_master1"]
    bench.tree.unplug("sys/bus/w1/devices/28-000000000001")
    dispatcher.update()
    assert bench.stub.states["ds18b20_000000000001"][-1] == "offline"
    assert list(dispatcher.workers) == ["w1_bus_master1"]
    eventually(lambda: bench.stub.of("ds18b20_000000000002"))
    bench.tree.unplug("sys/bus/w1/devices/28-000000000002")
    dispatcher.update()
    assert dispatcher.workers == {}


def test_a_sensor_that_gets_another_channel_is_declared_again(bench: Bench, eventually: Eventually) -> None:
    folder = bench.tree.dht()
    dispatcher = bench.dispatcher()
    dispatcher.update()
    bench.tree.write(folder / "in_pressure_input", "100\n")
    dispatcher.update()
    assert "pressure" in bench.stub.infos["dht11_4"].channels
    eventually(lambda: any("pressure" in values for values in bench.stub.of("dht11_4")))
    assert bench.stub.states["dht11_4"][-1] == "online"


def test_a_driver_that_hangs_is_noticed(bench: Bench, eventually: Eventually, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "STUCK_SECONDS", 0.0)
    folder = bench.tree.dht()
    (folder / "in_temp_input").unlink()
    os.mkfifo(folder / "in_temp_input")
    dispatcher = bench.dispatcher()

    def noticed() -> bool:
        dispatcher.update()
        return bench.stub.states.get("dht11_4") == ["offline"]

    eventually(noticed)
    assert bench.stub.facts["sensor:dht11_4"]["why"] == "its driver does not respond"
    writing = os.open(folder / "in_temp_input", os.O_RDWR | os.O_NONBLOCK)
    bench.tree.write(folder / "in_temp_input", "20000\n")
    os.close(writing)  # it returns at last
    eventually(lambda: bench.stub.states["dht11_4"][-1] == "online")


def test_a_sensor_in_the_configuration_that_does_not_exist_is_in_the_status(bench: Bench) -> None:
    bench.dispatcher(sensors={"bme280_1-0076": SensorOptions(name="attic")}).update()
    assert bench.stub.facts["absent"] == ["bme280_1-0076"]


def test_a_name_that_is_taken_is_reported_once(bench: Bench) -> None:
    bench.tree.dht()
    dispatcher = bench.dispatcher(sensors={"system": SensorOptions(name="dht11_4")})
    for _ in range(3):
        dispatcher.update()
    assert len(bench.stub.invalid) == 1
