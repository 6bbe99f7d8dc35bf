"""What clients of the broker see of devices: their newest readings, their descriptions, whether they answer."""

import time
from collections.abc import Callable

from heliograph import topics
from heliograph.bus import Bus
from heliograph.messages import Availability, Info, Reading, encode

APART_SECONDS = 0.1  # no display is faster, and every message costs the broker more than a frame does


class StatePublisher:
    """Publishes the newest reading of each device, at most ten times a second.

    Readings that come faster are merged: the newest value of every channel, at the newest
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
        """Publish a reading now or with the next `flush`; ignore one that is older than the newest."""
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
        """Publish the readings that have waited long enough."""
        now = self._now()
        for device in [name for name in self._waiting if now - self._sent[name] >= APART_SECONDS]:
            waiting = self._waiting.pop(device)
            values = {channel: value for reading in waiting for channel, value in reading.values.items()}
            self._send(device, Reading(waiting[-1].time, values, waiting[-1].clock))

    def _send(self, device: str, reading: Reading) -> None:
        self._sent[device] = self._now()
        self._publish(device, encode(reading))


class Announcements:
    """Publishes the retained facts about the devices of one node: once, and all of them again with `repeat`."""

    def __init__(self, bus: Bus, node: str) -> None:
        self._bus = bus
        self._node = node
        self._infos: dict[str, Info] = {}
        self._availability: dict[str, Availability] = {}

    def __contains__(self, device: str) -> bool:
        """Whether a device has been declared."""
        return device in self._infos

    def declare(self, device: str, info: Info) -> None:
        """Publish what a device is, if that has changed."""
        if self._infos.get(device) != info:
            self._infos[device] = info
            self._publish_info(device, info)

    def availability(self, device: str, state: Availability) -> None:
        """Publish whether a device answers, if that has changed."""
        if self._availability.get(device) != state:
            self._availability[device] = state
            self._publish_availability(device, state)

    def repeat(self) -> None:
        """Publish everything again: the broker may have lost it."""
        for device, info in list(self._infos.items()):
            self._publish_info(device, info)
        for device, state in list(self._availability.items()):
            self._publish_availability(device, state)

    def goodbye(self) -> None:
        """Publish that all devices are offline: this service no longer reads them."""
        for device in {**self._infos, **self._availability}:
            self._publish_availability(device, "offline")

    def _publish_info(self, device: str, info: Info) -> None:
        self._bus.publish(topics.device(self._node, device, "info"), encode(info), qos=1, retain=True)

    def _publish_availability(self, device: str, state: Availability) -> None:
        self._bus.publish(topics.device(self._node, device, "availability"), state.encode(), qos=1, retain=True)
