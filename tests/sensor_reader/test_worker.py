import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from heliograph.messages import Channel, Value
from services.sensor_reader import worker as worker_module
from services.sensor_reader.discovery import NamedSensor
from services.sensor_reader.errors import InvalidValue, ReadFailed
from services.sensor_reader.sensor import Sensor
from services.sensor_reader.worker import BusWorker
from tests.service_stub import ServiceStub

Eventually = Callable[[Callable[[], object]], object]


class Probe:
    """A sensor whose driver a test controls."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.reads = 0
        self.blocked = threading.Event()
        self.blocked.set()
        self.hangs = threading.Event()

    def __call__(self) -> Mapping[str, Value]:
        self.reads += 1
        if not self.blocked.wait(0):
            self.hangs.set()
            self.blocked.wait(60)
        if self.failure:
            raise self.failure
        return {"temperature": 21.5}

    def named(self, name: str, interval: float = 0.1) -> NamedSensor:
        sensor = Sensor(name, "model", "path", "bus", {"temperature": Channel("°C")}, (self,))
        return NamedSensor(name, name, interval, sensor)


@pytest.fixture
def stub(tmp_path: Path) -> ServiceStub:
    return ServiceStub(tmp_path)


@pytest.fixture
def worker(stub: ServiceStub) -> Iterator[BusWorker]:
    worker = BusWorker("test", stub.service, stub.producer)
    yield worker
    worker.stop()
    worker.join(30)


def test_sensors_are_read_again_and_again(worker: BusWorker, stub: ServiceStub, eventually: Eventually) -> None:
    for name in ("a", "b"):
        worker.add(Probe().named(name))
    for name in ("a", "b"):
        eventually(partial(stub.several, name))
        assert stub.of(name)[0] == {"temperature": 21.5}
        assert stub.states[name] == ["online"]
        assert stub.infos[name].interval == 0.1
    assert set(stub.arrived) == {stub.clock.time}  # when it was read: the producer gives each its millisecond
    assert set(stub.times) == {None}


def test_a_sensor_that_fails_is_offline_after_some_readings_and_online_with_the_next_value(
    worker: BusWorker, stub: ServiceStub, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "MAX_RETRY_SECONDS", 0.2)
    bad, good = Probe(), Probe()
    bad.failure = ReadFailed("Input/output error")
    worker.add(bad.named("bad"))
    worker.add(good.named("good"))
    eventually(lambda: stub.states.get("bad") == ["offline"])
    assert stub.counters["failures"] >= worker_module.FAILURES
    assert stub.facts["sensor:bad"]["why"] == "Input/output error"
    assert stub.of("bad") == []
    eventually(lambda: len(stub.of("good")) >= 3)
    bad.failure = None
    eventually(lambda: stub.states["bad"] == ["offline", "online"])
    eventually(partial(stub.of, "bad"))


def test_one_failure_does_not_make_a_sensor_offline(
    worker: BusWorker, stub: ServiceStub, eventually: Eventually
) -> None:
    probe = Probe()
    worker.add(probe.named("dht"))
    eventually(lambda: stub.of("dht"))
    probe.failure = InvalidValue("garbage", "x")
    eventually(lambda: stub.counters["failures"])
    probe.failure = None
    before = len(stub.of("dht"))
    eventually(lambda: len(stub.of("dht")) > before)
    assert ("garbage", "x", "dht") in stub.invalid


def test_a_removed_sensor_is_offline_and_not_read(worker: BusWorker, stub: ServiceStub, eventually: Eventually) -> None:
    gone, stays = Probe(), Probe()
    worker.add(gone.named("gone"))
    worker.add(stays.named("stays"))
    eventually(lambda: stub.of("gone"))
    worker.remove("gone", "it was removed")
    reads, before = gone.reads, stays.reads
    eventually(lambda: stays.reads > before + 3)
    assert gone.reads <= reads + 1
    assert stub.states["gone"] == ["online", "offline"]
    assert len(worker) == 1


def test_a_reading_of_a_removed_sensor_is_not_published(
    worker: BusWorker, stub: ServiceStub, eventually: Eventually
) -> None:
    probe = Probe()
    probe.blocked.clear()
    worker.add(probe.named("slow"))
    eventually(lambda: probe.reads)
    worker.remove("slow", "it was removed")
    probe.blocked.set()
    other = Probe()
    worker.add(other.named("other"))
    eventually(lambda: stub.of("other"))
    assert stub.of("slow") == []
    assert stub.states["slow"] == ["offline"]


def test_a_driver_that_does_not_return_is_offline_until_it_does(
    worker: BusWorker, stub: ServiceStub, eventually: Eventually
) -> None:
    probe = Probe()
    worker.add(probe.named("stuck"))
    eventually(lambda: stub.of("stuck"))
    probe.blocked.clear()
    assert probe.hangs.wait(60)
    worker.stuck("its driver does not return")
    assert stub.states["stuck"] == ["online", "offline"]
    probe.blocked.set()
    eventually(lambda: stub.states["stuck"] == ["online", "offline", "online"])
