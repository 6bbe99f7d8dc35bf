import logging
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
    """Nothing happens by itself: what happens was woken for."""
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
        worker = Worker(engine.pipeline)
        self._started.append((worker, engine))
        worker.start()
        return worker

    def close(self) -> None:
        for worker, _ in self._started:
            worker.stop()
        for worker, engine in self._started:
            worker.join(30)
            engine.close()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    made = Workers(tmp_path)
    yield made
    made.close()


@pytest.mark.usefixtures("never_idle")
def test_a_worker_sleeps_until_it_is_woken(workers: Workers, eventually: Eventually) -> None:
    target = FakeTarget()
    workers.store.arrive(NOON, {"power": 1.0})
    worker = workers.start(target)
    eventually(lambda: len(target.taken) == 1)
    workers.store.arrive(NOON + 1, {"power": 2.0})
    worker.wake()
    eventually(lambda: len(target.taken) == 2)


@pytest.mark.usefixtures("never_idle")
def test_a_target_that_hangs_holds_up_no_other(workers: Workers, eventually: Eventually) -> None:
    release = threading.Event()

    class Hanging(FakeTarget):
        def upload(self, rows: Sequence[Row]) -> Answer:
            release.wait(60)
            return super().upload(rows)

    hanging, other = Hanging(), FakeTarget()
    workers.store.arrive(NOON, {"power": 1.0})
    slow, quick = workers.start(hanging), workers.start(other)
    for index in range(1, 6):
        eventually(lambda index=index: len(other.taken) == index)
        workers.store.arrive(NOON + index, {"power": 1.0})
        quick.wake()
        slow.wake()
    assert hanging.taken == []
    release.set()
    eventually(lambda: len(hanging.taken) == 6)


@pytest.mark.usefixtures("never_idle")
def test_a_test_is_made_while_the_target_is_paused_or_waits(workers: Workers, eventually: Eventually) -> None:
    target = FakeTarget(Limits(rows=10))
    target.script = [TryLater("busy", after=3000.0)]
    workers.store.arrive(NOON, {"power": 1.0})
    worker = workers.start(target)
    eventually(lambda: worker.facts()["state"] == "waiting")
    assert worker.test().result(30) == (True, "thank you")
    worker.pause(paused=True)
    assert worker.test().result(30) == (True, "thank you")
    worker.pause(paused=False)
    eventually(lambda: len(target.taken) == 3)


def outages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.levelname for record in caplog.records if record.name.endswith(".outage")]


class Broken(FakeTarget):
    """Raises what no target may raise, until it is mended; knows what it was answered."""

    is_mended = False
    last_answer = 'HTTP 200: {"results":null} for t0p-secret'

    def upload(self, rows: Sequence[Row]) -> Answer:
        if not self.is_mended:
            raise TypeError("'NoneType' object is not iterable, of t0p-secret")
        return super().upload(rows)


def test_an_unexpected_error_stays_in_its_target_and_is_logged_once_and_once_when_it_is_over(
    workers: Workers, eventually: Eventually, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "RAISED_SECONDS", 0.001)
    caplog.set_level(logging.INFO)
    broken, other = Broken(), FakeTarget()
    workers.store.arrive(NOON, {"power": 1.0})
    bad, good = workers.start(broken, token="t0p-secret"), workers.start(other)
    for index in range(1, 6):
        eventually(lambda index=index: len(other.taken) == index)
        workers.store.arrive(NOON + index, {"power": 1.0})
        good.wake()
    eventually(lambda: bad.facts()["state"] == "waiting")
    assert "TypeError: 'NoneType' object is not iterable, of …" in bad.facts()["last_error"]
    assert bad.test().result(30) == (False, bad.facts()["last_error"])
    assert outages(caplog) == ["ERROR"]
    assert 'its last answer: HTTP 200: {"results":null} for …' in caplog.text
    assert "Traceback" in caplog.text
    broken.is_mended = True
    eventually(lambda: len(broken.taken) == 6)
    eventually(lambda: "works again" in caplog.text)
    assert outages(caplog) == ["ERROR", "INFO"]
    assert "t0p-secret" not in caplog.text


def test_a_target_whose_close_raises_is_reported(workers: Workers, eventually: Eventually) -> None:
    class Unclosable(FakeTarget):
        def close(self) -> None:
            raise OSError("not even this")

    workers.store.arrive(NOON, {"power": 1.0})
    target = Unclosable()
    worker = workers.start(target)
    eventually(lambda: len(target.taken) == 1)
    worker.stop()
    worker.join(30)
    assert "not even this" in worker.facts()["last_error"]
