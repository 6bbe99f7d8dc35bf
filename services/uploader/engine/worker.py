"""The thread of one target: a slow or dead target delays no other."""

import threading
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any

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

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                self._wake.clear()
                self._run_tests()
                wait = self.pipeline.step()
                if wait > 0:
                    self._wake.wait(wait)
        finally:
            self.pipeline.close()

    def _run_tests(self) -> None:
        while True:
            try:
                result = self._tests.get_nowait()
            except Empty:
                return
            result.set_result(self.pipeline.test())
