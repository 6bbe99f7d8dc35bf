"""The newest value of every series of every node, and the clients that subscribe to them.

Not thread-safe: everything happens on the event loop.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from msgspec import Struct, field

from heliograph import topics
from heliograph.errors import MessageError
from heliograph.messages import Availability, Channel, Info, Reading, Status, Value, decode, is_value
from heliograph.series_patterns import matches
from heliograph.store.interface import Point, Series
from services.api.removed_devices import RemovedDevices

_AVAILABILITY: dict[bytes, Availability] = {b"online": "online", b"offline": "offline", b"asleep": "asleep"}
LATEST = 4102444800.0  # 2100-01-01; a later time is a mistake


class Newest(NamedTuple):
    """One value and when it was read, UTC seconds."""

    time: float
    value: Value


class DeviceState(Struct):
    """What is known of one device; `stored` are the channels in the store, `reported` those with a reading since the start."""

    node: str
    name: str
    info: Info | None = None
    availability: Availability | None = None
    stored: dict[str, Channel] = field(default_factory=dict)
    reported: set[str] = field(default_factory=set)
    newest: dict[str, Newest] = field(default_factory=dict)
    by_arrival: set[str] = field(default_factory=set)  # of which the newest value has the time of its arrival

    def channels(self) -> dict[str, Channel]:
        """Return its present channels: those it declares, or else those in the store; and those with a reading since the start."""
        channels = dict(self.info.channels if self.info else self.stored)
        for name in sorted(self.reported - channels.keys()):
            channels[name] = self.stored.get(name, Channel())
        return channels

    def all_channels(self) -> dict[str, Channel]:
        """Return these, and those that only the store has."""
        return self.stored | self.channels()


class LiveFeed:
    """The values that wait for one client: at most one per series, the newest."""

    def __init__(self) -> None:
        self._patterns: list[str] = []
        self._is_subscribed: dict[str, bool] = {}
        self._pending: dict[str, Newest] = {}
        self._has_values = asyncio.Event()

    def subscribe(self, patterns: list[str]) -> None:
        """Replace the subscription, and discard the values that wait."""
        self._patterns = patterns
        self._is_subscribed.clear()
        self._pending.clear()

    def offer(self, series: str, newest: Newest) -> None:
        """Keep a value for the client if it has subscribed to the series."""
        is_subscribed = self._is_subscribed.get(series)
        if is_subscribed is None:
            is_subscribed = any(matches(pattern, series) for pattern in self._patterns)
            self._is_subscribed[series] = is_subscribed
        if is_subscribed:
            self._pending[series] = newest
            self._has_values.set()

    async def take(self) -> dict[str, Newest]:
        """Wait until there are values, and return all of them by series."""
        while not self._pending:
            self._has_values.clear()
            await self._has_values.wait()
        pending, self._pending = self._pending, {}
        return pending


class LiveState:
    """Devices, services and newest values, from the bus and from the store.

    The newest value of a channel is the one with the newest time that is not in the future. One that has the time of its
    arrival, because its own was wrong, is replaced by whatever arrives later. `latest` returns the latest time (s UTC) that
    is not in the future, infinity while the clock of this node is not set.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.time,
        latest: Callable[[], float] | None = None,
        removed: RemovedDevices | None = None,
    ) -> None:
        self.devices: dict[tuple[str, str], DeviceState] = {}
        self.services: dict[tuple[str, str], Status] = {}
        self._removed = removed or RemovedDevices()  # their info was cleared: the store keeps their series
        self._feeds: set[LiveFeed] = set()
        self._now = now
        self.latest = latest or now

    def update(self, topic: str, payload: bytes) -> None:
        """Update the state from one message of the bus; raise MessageError if the topic or the payload is malformed."""
        try:
            node, owner, kind, _ = topics.parse(topic)
        except ValueError as error:
            raise MessageError(str(error)) from None
        if kind == "state":
            self._state(node, owner, decode(Reading, payload))
        elif kind == "info":
            self._info(node, owner, payload)
        elif kind == "availability":
            self._availability(node, owner, payload)
        elif kind == "status":
            if payload:
                self.services[node, owner] = decode(Status, payload)
            else:
                self.services.pop((node, owner), None)

    def seed(self, series: Iterable[Series], latest: Mapping[int, Point]) -> None:
        """Fill in what the store has and the bus has not sent: values that are newer, of all devices but removed ones."""
        present, now = self.latest(), self._now()
        for one in series:
            if (one.node, one.device) in self._removed:
                continue
            device = self._device(one.node, one.device)
            device.stored[one.channel] = Channel(one.unit, one.kind)
            point, newest = latest.get(one.id), device.newest.get(one.channel)
            if point is None or point.time > present:
                continue
            # Before the clock is set, what arrives may have an older time than what is stored.
            if newest is None or newest.time < point.time <= now or newest.time > present:
                device.by_arrival.discard(one.channel)
                self._set(device, one.channel, Newest(point.time, point.value))

    def is_removed(self, node: str, device: str) -> bool:
        """Whether a device was forgotten, also before the start, and has not been there since."""
        return (node, device) in self._removed

    def lacks_values(self) -> bool:
        """Return whether a device declares a channel of which there is no value."""
        return any(
            device.info is not None and not device.info.channels.keys() <= device.newest.keys()
            for device in self.devices.values()
        )

    def newest(self) -> Iterator[tuple[str, Channel, Newest | None]]:
        """Yield every series with its channel and its newest value, None before the first one."""
        for device in self.devices.values():
            for name, channel in device.all_channels().items():
                yield f"{device.node}/{device.name}/{name}", channel, device.newest.get(name)

    def open_feed(self) -> LiveFeed:
        """Return a new feed; `close_feed` it when its client has disconnected."""
        feed = LiveFeed()
        self._feeds.add(feed)
        return feed

    def subscribe(self, feed: LiveFeed, patterns: list[str]) -> None:
        """Replace the subscription of a feed, and offer it the newest value of each series."""
        feed.subscribe(patterns)
        for series, _, newest in self.newest():
            if newest:
                feed.offer(series, newest)

    def close_feed(self, feed: LiveFeed) -> None:
        """Offer a feed nothing more."""
        self._feeds.discard(feed)

    @property
    def listeners(self) -> int:
        """How many feeds there are."""
        return len(self._feeds)

    def _device(self, node: str, name: str) -> DeviceState:
        device = self.devices.get((node, name))
        if device is None:
            self._removed.discard((node, name))
            device = self.devices[node, name] = DeviceState(node, name)
        return device

    def _state(self, node: str, name: str, reading: Reading) -> None:
        for channel, value in reading.values.items():
            if not topics.is_channel(channel) or not is_value(value):
                raise MessageError(f"{channel[:80]!r} is not a channel, or its value is not valid")
        if not 0 <= reading.time <= LATEST:
            raise MessageError(f"time {reading.time} is not between 1970 and 2100")
        device, latest = self._device(node, name), self.latest()
        # The time of a clock that is not set yet, or that is ahead, is wrong; the time of arrival is near.
        by_arrival = bool(reading.clock) or reading.time > latest
        moment = self._now() if by_arrival else reading.time
        for channel, value in reading.values.items():
            device.reported.add(channel)
            newest = device.newest.get(channel)
            if by_arrival:
                device.by_arrival.add(channel)
            elif channel in device.by_arrival:
                device.by_arrival.discard(channel)
            elif newest is not None and reading.time < newest.time <= latest:
                continue
            self._set(device, channel, Newest(moment, value))

    def _info(self, node: str, name: str, payload: bytes) -> None:
        if not payload:
            if self.devices.pop((node, name), None):
                self._removed.add((node, name))
            return
        info = decode(Info, payload)
        for channel in info.channels:
            if not topics.is_channel(channel):
                raise MessageError(f"{channel[:80]!r} is not a channel")
        self._device(node, name).info = info

    def _availability(self, node: str, name: str, payload: bytes) -> None:
        if not payload:
            if device := self.devices.get((node, name)):
                device.availability = None
            return
        if payload not in _AVAILABILITY:
            raise MessageError("not an availability: it is online, offline or asleep")
        self._device(node, name).availability = _AVAILABILITY[payload]

    def _set(self, device: DeviceState, channel: str, newest: Newest) -> None:
        device.newest[channel] = newest
        series = f"{device.node}/{device.name}/{channel}"
        for feed in self._feeds:
            feed.offer(series, newest)
