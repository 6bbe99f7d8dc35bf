import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from services.uploader.engine import pipeline
from services.uploader.engine.worker import Worker
from services.uploader.target import Answer, Limits, Row, TryLater
from tests.uploader.engine.fakes import NOON, Engine, FakeTarget, MemoryStore

Eventually = Callable[..., object]


@pytest.fixture
def never_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing happens by itself: what happens was rung for."""
    monkeypatch.setattr(pipeline, "IDLE_SECONDS", 3600.0)


class Workers:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.store = MemoryStore()
        self._started: list[tuple[Worker, Engine]] = []

    def start(self, target: FakeTarget, **options: object) -> Worker:
        folder = self._folder / str(len(self._started))
        folder.mkdir()
        engine = Engine(folder, self.store, target, **options)
        lane = Worker(engine.course)
        self._started.append((lane, engine))
        lane.start()
        return lane

    def close(self) -> None:
        for lane, _ in self._started:
            lane.stop()
        for lane, engine in self._started:
            lane.join(30)
            engine.close()


@pytest.fixture
def lanes(tmp_path: Path) -> Iterator[Workers]:
    made = Workers(tmp_path)
    yield made
    made.close()


@pytest.mark.usefixtures("never_idle")
def test_a_lane_sleeps_until_it_is_rung_for(lanes: Workers, eventually: Eventually) -> None:
    target = FakeTarget()
    lanes.store.arrive(NOON, {"power": 1.0})
    lane = lanes.start(target)
    eventually(lambda: len(target.taken) == 1)
    lanes.store.arrive(NOON + 1, {"power": 2.0})
    lane.ring()
    eventually(lambda: len(target.taken) == 2)


@pytest.mark.usefixtures("never_idle")
def test_a_target_that_hangs_holds_up_nobody_else(lanes: Workers, eventually: Eventually) -> None:
    release = threading.Event()

    class Hanging(FakeTarget):
        def upload(self, rows: Sequence[Row]) -> Answer:
            release.wait(60)
            return super().upload(rows)

    hanging, other = Hanging(), FakeTarget()
    lanes.store.arrive(NOON, {"power": 1.0})
    slow, quick = lanes.start(hanging), lanes.start(other)
    for place in range(1, 6):
        eventually(lambda place=place: len(other.taken) == place)
        lanes.store.arrive(NOON + place, {"power": 1.0})
        quick.ring()
        slow.ring()
    assert hanging.taken == []
    release.set()
    eventually(lambda: len(hanging.taken) == 6)


@pytest.mark.usefixtures("never_idle")
def test_a_trial_is_made_while_the_target_is_paused_or_waits(lanes: Workers, eventually: Eventually) -> None:
    target = FakeTarget(Limits(rows=10))
    target.script = [TryLater("busy", after=3000.0)]
    lanes.store.arrive(NOON, {"power": 1.0})
    lane = lanes.start(target)
    eventually(lambda: lane.facts()["state"] == "waiting")
    assert lane.trial().result(30) == (True, "thank you")
    lane.pause(paused=True)
    assert lane.trial().result(30) == (True, "thank you")
    lane.pause(paused=False)
    eventually(lambda: len(target.taken) == 3)
