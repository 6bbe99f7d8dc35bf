import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from heliograph.messages import Channel, Value
from services.sensor_reader import worker as lanes
from services.sensor_reader.discovery import Named
from services.sensor_reader.errors import Disturbed, NotAValue
from services.sensor_reader.sensor import Sensor
from services.sensor_reader.worker import Lane
from tests.sensor_reader.bus import Desk

Eventually = Callable[[Callable[[], object]], object]


class Probe:
    """A sensor that a test disturbs."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.asked = 0
        self.blocked = threading.Event()
        self.blocked.set()
        self.hangs = threading.Event()

    def __call__(self) -> Mapping[str, Value]:
        self.asked += 1
        if not self.blocked.wait(0):
            self.hangs.set()
            self.blocked.wait(60)
        if self.failure:
            raise self.failure
        return {"temperature": 21.5}

    def named(self, name: str, interval: float = 0.1) -> Named:
        sensor = Sensor(name, "model", "place", "lane", {"temperature": Channel("°C")}, (self,))
        return Named(name, name, interval, sensor)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def lane(desk: Desk) -> Iterator[Lane]:
    lane = Lane("test", desk.service, desk.producer)
    yield lane
    lane.stop()
    lane.join(30)


def test_sensors_are_asked_for_ever_and_told(lane: Lane, desk: Desk, eventually: Eventually) -> None:
    for name in ("a", "b"):
        lane.add(Probe().named(name))
    for name in ("a", "b"):
        eventually(partial(desk.several, name))
        assert desk.of(name)[0] == {"temperature": 21.5}
        assert desk.states[name] == ["online"]
        assert desk.infos[name].interval == 0.1


def test_a_sensor_that_fails_is_offline_after_some_time_and_online_when_it_is_back(
    lane: Lane, desk: Desk, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "LONGEST_SECONDS", 0.2)
    bad, good = Probe(), Probe()
    bad.failure = Disturbed("Input/output error")
    lane.add(bad.named("bad"))
    lane.add(good.named("good"))
    eventually(lambda: desk.states.get("bad") == ["offline"])
    assert desk.counters["failures"] >= lanes.FAILURES
    assert desk.facts["sensor:bad"]["why"] == "Input/output error"
    assert desk.of("bad") == []
    eventually(lambda: len(desk.of("good")) >= 3)
    bad.failure = None
    eventually(lambda: desk.states["bad"] == ["offline", "online"])
    eventually(partial(desk.of, "bad"))


def test_one_failure_is_no_loss(lane: Lane, desk: Desk, eventually: Eventually) -> None:
    probe = Probe()
    lane.add(probe.named("dht"))
    eventually(lambda: desk.of("dht"))
    probe.failure = NotAValue("garbage", "x")
    eventually(lambda: desk.counters["failures"])
    probe.failure = None
    before = len(desk.of("dht"))
    eventually(lambda: len(desk.of("dht")) > before)
    assert ("garbage", "x", "dht") in desk.bad


def test_a_sensor_that_was_dropped_is_offline_and_not_asked(lane: Lane, desk: Desk, eventually: Eventually) -> None:
    gone, stays = Probe(), Probe()
    lane.add(gone.named("gone"))
    lane.add(stays.named("stays"))
    eventually(lambda: desk.of("gone"))
    lane.drop("gone", "it is gone")
    asked, before = gone.asked, stays.asked
    eventually(lambda: stays.asked > before + 3)
    assert gone.asked <= asked + 1
    assert desk.states["gone"] == ["online", "offline"]
    assert len(lane) == 1


def test_a_reading_that_comes_after_its_sensor_was_dropped_is_not_told(
    lane: Lane, desk: Desk, eventually: Eventually
) -> None:
    probe = Probe()
    probe.blocked.clear()
    lane.add(probe.named("slow"))
    eventually(lambda: probe.asked)
    lane.drop("slow", "it is gone")
    probe.blocked.set()
    other = Probe()
    lane.add(other.named("other"))
    eventually(lambda: desk.of("other"))
    assert desk.of("slow") == []
    assert desk.states["slow"] == ["offline"]


def test_a_driver_that_does_not_return_is_offline_until_it_does(lane: Lane, desk: Desk, eventually: Eventually) -> None:
    probe = Probe()
    lane.add(probe.named("stuck"))
    eventually(lambda: desk.of("stuck"))
    probe.blocked.clear()
    assert probe.hangs.wait(60)
    lane.stuck("its driver does not return")
    assert desk.states["stuck"] == ["online", "offline"]
    probe.blocked.set()
    eventually(lambda: desk.states["stuck"] == ["online", "offline", "online"])
