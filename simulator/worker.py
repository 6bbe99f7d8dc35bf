"""A thread that waits for file descriptors and can be stopped at once."""

import os
import select
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self

PAUSE_SECONDS = 0.02  # between polls that come back early, which only faked ones do


class Stopped(Exception):  # not an error: how a worker's work ends
    """The worker was stopped while it waited."""


class StoppableThread:
    """Runs `work(worker)` in a thread between `start` and `stop`; use it as a context.

    It blocks in poll(2) without waking up for nothing. A pipe ends every wait at once.
    """

    def __init__(self, name: str, work: Callable[["StoppableThread"], None]) -> None:
        self._work = work
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._wake_reader, self._wake_writer = os.pipe()
        self._pause = threading.Event()

    @property
    def finished(self) -> bool:
        """Whether the work is over."""
        return not self._thread.is_alive()

    def start(self) -> Self:
        """Begin to work."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Make the wait the work is in, or comes to next, raise Stopped; wait for its end."""
        self._pause.set()
        os.write(self._wake_writer, b".")
        self._thread.join()
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    __enter__ = start

    def __exit__(self, *_: object) -> None:
        self.stop()

    def readable(self, fd: int, seconds: float | None = None) -> bool:
        """Wait until a descriptor has something to read; return whether it did in time.

        The seconds are monotonic ones, however early poll returns.
        """
        poll = select.poll()
        poll.register(self._wake_reader, select.POLLIN)
        if fd >= 0:
            poll.register(fd, select.POLLIN)
        left = seconds
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            ready = dict(poll.poll(None if left is None else left * 1000))
            if self._wake_reader in ready:
                raise Stopped
            if ready:
                return True
            if end is not None:
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self._pause.wait(min(left, PAUSE_SECONDS))

    def sleep(self, seconds: float) -> None:
        """Wait; raise Stopped if the worker is stopped meanwhile."""
        if seconds > 0:
            self.readable(-1, seconds)

    def _run(self) -> None:
        with suppress(Stopped):
            self._work(self)
