"""The thread of one target: a slow, dead or broken target hurts no other."""

import threading
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any

from services.uploader.attempt import attempt
from services.uploader.engine.pipeline import Pipeline
from services.uploader.engine.status import TestResult


class Worker:
    """Runs the steps of a pipeline; none of these methods waits for the target."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self._tests: SimpleQueue[Future[TestResult]] = SimpleQueue()
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"target {pipeline.options.name}", daemon=True)

    def start(self) -> None:
        """Start to upload."""
        self._thread.start()

    def wake(self) -> None:
        """Look again: there is something new."""
        self._wake.set()

    def pause(self, *, paused: bool) -> None:
        """Send nothing, or continue at once."""
        self.pipeline.pause(paused=paused)
        self.wake()

    def resend(self) -> None:
        """Send those dead letters again that are marked."""
        self.pipeline.resend()
        self.wake()

    def test(self) -> Future[TestResult]:
        """Have one reading sent now, paused or not."""
        result: Future[TestResult] = Future()
        self._tests.put(result)
        self.wake()
        return result

    def stop(self) -> None:
        """Begin nothing new; `join` waits until what was begun has ended."""
        self._stopped.set()
        self.wake()

    def join(self, seconds: float) -> None:
        """Wait until the thread has ended, at most so many seconds: what it is sending is sent again later."""
        self._thread.join(seconds)

    def facts(self) -> dict[str, Any]:
        """Return the status of the target."""
        return self.pipeline.facts()

    def problem(self) -> str:
        """Return why the target accepts nothing, a sentence; empty if it does."""
        return self.pipeline.problem()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._wake.clear()
            self._run_tests()
            wait = attempt(self.pipeline.step)
            if isinstance(wait, Exception):
                wait = self._recovered(wait)
            if wait > 0:
                self._wake.wait(wait)
        error = attempt(self.pipeline.close)
        if isinstance(error, Exception):
            self._recovered(error)

    def _run_tests(self) -> None:
        while True:
            try:
                asked = self._tests.get_nowait()
            except Empty:
                return
            result = attempt(self.pipeline.test)
            if isinstance(result, Exception):
                self._recovered(result)
                result = TestResult(ok=False, response=self.pipeline.facts()["last_error"])
            asked.set_result(result)

    def _recovered(self, error: Exception) -> float:
        """Report an unexpected error, and begin again as after a crash; return the seconds to wait before that."""
        wait = self.pipeline.raised(error)
        attempt(self.pipeline.abandon)
        return wait
