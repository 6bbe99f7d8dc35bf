"""The newest reading of each device, for everyone who watches."""

import time
from collections.abc import Callable

from heliograph.messages import Reading, encode

APART_SECONDS = 0.1  # nobody watches faster, and every message costs the broker more than a frame does


class Live:
    """Publishes what devices say as it comes, but at most ten times a second each.

    What comes faster is put together: the newest value of every channel, at the newest
    time. Not thread-safe. `publish` takes the device and the payload of its `state`.
    """

    def __init__(self, publish: Callable[[str, bytes], object], now: Callable[[], float] = time.monotonic) -> None:
        self._publish = publish
        self._now = now
        self._sent: dict[str, float] = {}
        self._newest: dict[str, float] = {}
        self._waiting: dict[str, list[Reading]] = {}

    @property
    def waiting(self) -> bool:
        """Whether `flush` has something to do."""
        return bool(self._waiting)

    def show(self, device: str, reading: Reading) -> None:
        """Publish a reading now or with the next `flush`; one that is older than what was shown is not news."""
        if reading.time < self._newest.get(device, reading.time):
            return
        self._newest[device] = reading.time
        if waiting := self._waiting.get(device):
            waiting.append(reading)
        elif self._now() - self._sent.get(device, -APART_SECONDS) < APART_SECONDS:
            self._waiting[device] = [reading]
        else:
            self._send(device, reading)

    def flush(self) -> None:
        """Publish what has waited long enough."""
        now = self._now()
        for device in [name for name in self._waiting if now - self._sent[name] >= APART_SECONDS]:
            waiting = self._waiting.pop(device)
            values = {channel: value for reading in waiting for channel, value in reading.values.items()}
            self._send(device, Reading(waiting[-1].time, values, waiting[-1].clock))

    def _send(self, device: str, reading: Reading) -> None:
        self._sent[device] = self._now()
        self._publish(device, encode(reading))
