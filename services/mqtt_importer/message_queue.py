"""Messages between the network threads and the thread that reads them."""

import queue
import threading
from typing import NamedTuple

MAX_BYTES = 16 << 20  # waiting; a flood of larger ones must not take the machine's memory
MAX_MESSAGES = 20_000
MAX_PAYLOAD_BYTES = 1 << 20  # a bridge with hundreds of devices lists them in less
OWN_BROKER = ""  # the name of the node's own broker


class ReceivedMessage(NamedTuple):
    """A message as it came; `at` is when, in seconds since 1970 UTC, None while the clock is not synchronised."""

    broker: str
    topic: str
    payload: bytes
    retained: bool
    at: float | None


class MessageQueue:
    """A queue with a limit in messages and bytes; what does not fit is counted and dropped."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[ReceivedMessage] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._bytes = 0
        self._waiting = 0
        self.dropped = 0
        self.oversized = 0

    def put(self, message: ReceivedMessage) -> None:
        """Add a message, or drop it; never waits."""
        size = len(message.payload)
        with self._lock:
            if size > MAX_PAYLOAD_BYTES:
                self.oversized += 1
                return
            if self._bytes + size > MAX_BYTES or self._waiting >= MAX_MESSAGES:
                self.dropped += 1
                return
            self._bytes += size
            self._waiting += 1
        self._queue.put(message)

    def get(self, timeout: float) -> ReceivedMessage | None:
        """Return the next message, None if none came in so many seconds."""
        try:
            message = self._queue.get(timeout=timeout)
        except queue.Empty:
            return None
        with self._lock:
            self._bytes -= len(message.payload)
            self._waiting -= 1
        return message
