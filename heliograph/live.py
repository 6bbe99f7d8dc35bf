"""What clients of the broker see of devices: their newest readings, their descriptions, whether they answer."""

import math
import time
from collections.abc import Callable, Collection

from heliograph import topics
from heliograph.bus import Bus, Message
from heliograph.messages import Availability, Info, Reading, Value, encode

APART_SECONDS = 0.1  # no display is faster, and every message costs the broker more than a frame does
TOGETHER_SECONDS = 1.0  # values that are this far apart are shown with one time


class StatePublisher:
    """Publishes the newest reading of each channel, at most ten times a second for each device.

    Readings that come faster are merged: the newest value of every channel, at the newest time; a channel whose newest
    value is more than a second older is published before, with its own time. `latest` returns the latest time (s UTC) that
    is not in the future, infinity while the clock is not set. A reading from the future is published with the present time,
    marked "ahead", and every later arrival replaces it. Not thread-safe. `publish` takes the device and what is to be its
    `state`.
    """

    def __init__(
        self,
        publish: Callable[[str, Reading], object],
        latest: Callable[[], float],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._publish = publish
        self._latest = latest
        self._now = now
        self._sent: dict[str, float] = {}
        self._newest: dict[str, _NewestTimes] = {}
        self._waiting: dict[str, list[Reading]] = {}

    @property
    def waiting(self) -> bool:
        """Whether `flush` has something to do."""
        return bool(self._waiting)

    def show(self, device: str, reading: Reading) -> None:
        """Publish a reading now or with the next `flush`, without the channels of which there was a newer value."""
        newer = self._newer(device, reading)
        if newer is None:
            return
        if waiting := self._waiting.get(device):
            waiting.append(newer)
        elif self._now() - self._sent.get(device, -APART_SECONDS) < APART_SECONDS:
            self._waiting[device] = [newer]
        else:
            self._send(device, newer)

    def flush(self) -> None:
        """Publish the readings that have waited long enough."""
        now = self._now()
        for device in [name for name in self._waiting if now - self._sent[name] >= APART_SECONDS]:
            for reading in _merged(self._waiting.pop(device)):
                self._send(device, reading)

    def _newer(self, device: str, reading: Reading) -> Reading | None:
        """Return what is to be published of a reading, None if all of it is old."""
        if reading.clock:  # its time says nothing: the order of arrival counts
            return reading
        latest = self._latest()
        if reading.time > latest:
            return Reading(round(latest, 3), reading.values, "ahead")
        times = self._newest.get(device)
        if times is None:
            times = self._newest[device] = _NewestTimes()
        return times.newer(reading, latest)

    def _send(self, device: str, reading: Reading) -> None:
        self._sent[device] = self._now()
        self._publish(device, reading)


class _NewestTimes:
    """The time of the newest reading of each channel of a device."""

    def __init__(self) -> None:
        self._by_channel: dict[str, float] = {}
        self._newest = -math.inf

    def newer(self, reading: Reading, latest: float) -> Reading | None:
        """Note a reading, and return it without the channels of which there was a newer one; None if nothing is left."""
        if self._newest > latest:  # the clock was ahead, and has been set back
            self._by_channel = {name: at for name, at in self._by_channel.items() if at <= latest}
            self._newest = max(self._by_channel.values(), default=-math.inf)
        if reading.time < self._newest:
            known = self._by_channel
            values = {
                name: value for name, value in reading.values.items() if known.get(name, -math.inf) <= reading.time
            }
            if not values:
                return None
            reading = Reading(reading.time, values)
        else:
            self._newest = reading.time
        self._by_channel.update(dict.fromkeys(reading.values, reading.time))
        return reading


def _merged(readings: list[Reading]) -> list[Reading]:
    """Return the newest value of every channel, of readings in order of arrival; the newest reading last."""
    last = {channel: reading for reading in readings for channel in reading.values}
    newest = max(reading.time for reading in last.values())
    parts: dict[tuple[float, str], dict[str, Value]] = {}
    for channel, reading in last.items():
        time = newest if newest - reading.time <= TOGETHER_SECONDS else reading.time
        parts.setdefault((time, reading.clock), {})[channel] = reading.values[channel]
    return [Reading(time, values, clock) for (time, clock), values in sorted(parts.items(), key=lambda part: part[0])]


class Announcements:
    """Publishes the retained facts about the devices of one node: once, and all of them again with `repeat`.

    Of a device that was forgotten nothing is published until `reported` says that it has sent a reading again.
    """

    def __init__(self, bus: Bus, node: str, channels: Callable[[str, Collection[str]], object]) -> None:
        """`channels` is called with a device and the channels that it has now: none while it is forgotten."""
        self._bus = bus
        self._node = node
        self._channels = channels
        self._infos: dict[str, Info] = {}
        self._availability: dict[str, Availability] = {}
        self._forgotten: set[str] = set()

    def follow(self) -> None:
        """Notice from now on which devices `heliograph forget` removes."""
        self._bus.subscribe(topics.every_device("info", self._node), self._info)

    def __contains__(self, device: str) -> bool:
        """Whether a device has been declared."""
        return device in self._infos

    def declare(self, device: str, info: Info) -> None:
        """Publish what a device is, if that has changed."""
        if self._infos.get(device) != info:
            self._infos[device] = info
            self._publish_info(device, info)
            if device not in self._forgotten:
                self._channels(device, info.channels)

    def availability(self, device: str, state: Availability) -> None:
        """Publish whether a device answers, if that has changed."""
        if self._availability.get(device) != state:
            self._availability[device] = state
            self._publish_availability(device, state)

    def reported(self, device: str) -> None:
        """Publish what is known of a device if it was forgotten, now that it has a reading."""
        if device not in self._forgotten:
            return
        self._forgotten.discard(device)
        if info := self._infos.get(device):
            self._publish_info(device, info)
            self._channels(device, info.channels)
        if state := self._availability.get(device):
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

    def _info(self, message: Message) -> None:
        """Take an empty `info`, which is how `heliograph forget` removes a device; what is published here comes, too."""
        try:
            device = topics.parse(message.topic).owner
        except ValueError:  # of another client, with a name that no device here has
            return
        if not message.payload and (device in self._infos or device in self._availability):
            self._forgotten.add(device)
            self._channels(device, ())

    def _publish_info(self, device: str, info: Info) -> None:
        if device in self._forgotten:
            return
        self._bus.publish(topics.device(self._node, device, "info"), encode(info), qos=1, retain=True)

    def _publish_availability(self, device: str, state: Availability) -> None:
        if device in self._forgotten:
            return
        self._bus.publish(topics.device(self._node, device, "availability"), state.encode(), qos=1, retain=True)
