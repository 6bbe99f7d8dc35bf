"""The thread of one target: a slow or dead one delays only itself."""

import threading
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any

from services.uploader.engine.pipeline import Pipeline
from services.uploader.engine.status import TestResult


class Worker:
    """Takes one step after another; whoever calls these methods never waits for the target."""

    def __init__(self, course: Pipeline) -> None:
        self.course = course
        self._trials: SimpleQueue[Future[TestResult]] = SimpleQueue()
        self._bell = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"target {course.options.name}", daemon=True)

    def start(self) -> None:
        """Begin to upload."""
        self._thread.start()

    def ring(self) -> None:
        """Look again: there is something new."""
        self._bell.set()

    def pause(self, *, paused: bool) -> None:
        """Hold what is not sent, or go on at once."""
        self.course.pause(paused=paused)
        self.ring()

    def resend(self) -> None:
        """Send those dead letters again that are marked."""
        self.course.resend()
        self.ring()

    def trial(self) -> Future[TestResult]:
        """Have one reading sent now, paused or not."""
        asked: Future[TestResult] = Future()
        self._trials.put(asked)
        self.ring()
        return asked

    def stop(self) -> None:
        """Begin nothing new; `join` waits until what was begun has ended."""
        self._stopped.set()
        self.ring()

    def join(self, seconds: float) -> None:
        """Wait until the thread has ended, but not for ever: what it is sending is sent again later."""
        self._thread.join(seconds)

    def facts(self) -> dict[str, Any]:
        """Return how the target stands."""
        return self.course.facts()

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                self._bell.clear()
                self._serve()
                wait = self.course.step()
                if wait > 0:
                    self._bell.wait(wait)
        finally:
            self.course.close()

    def _serve(self) -> None:
        while True:
            try:
                asked = self._trials.get_nowait()
            except Empty:
                return
            asked.set_result(self.course.try_out())
