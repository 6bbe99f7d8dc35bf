"""Messages on their way from the network threads to the one that reads them."""

import queue
import threading
from typing import NamedTuple

MOST_BYTES = 16 << 20  # waiting; a flood of larger ones must not take the machine's memory
MOST_MESSAGES = 20_000
LARGEST = 1 << 20  # of a payload: a bridge with hundreds of devices lists them in less
OWN = ""  # the name of the node's own broker


class Incoming(NamedTuple):
    """A message as it came; `at` is when, in seconds since 1970 UTC, None if nobody knew."""

    broker: str
    topic: str
    payload: bytes
    retained: bool
    at: float | None


class Intake:
    """A queue with a limit in messages and bytes; what does not fit is counted and dropped."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Incoming] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._bytes = 0
        self._waiting = 0
        self.dropped = 0
        self.oversized = 0

    def put(self, message: Incoming) -> None:
        """Take a message, or drop it; never waits."""
        size = len(message.payload)
        with self._lock:
            if size > LARGEST:
                self.oversized += 1
                return
            if self._bytes + size > MOST_BYTES or self._waiting >= MOST_MESSAGES:
                self.dropped += 1
                return
            self._bytes += size
            self._waiting += 1
        self._queue.put(message)

    def get(self, timeout: float) -> Incoming | None:
        """Return the next message, None if none came in so many seconds."""
        try:
            message = self._queue.get(timeout=timeout)
        except queue.Empty:
            return None
        with self._lock:
            self._bytes -= len(message.payload)
            self._waiting -= 1
        return message
