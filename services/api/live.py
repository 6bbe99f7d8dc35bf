"""The newest value of every series of every node, and who wants to hear of it.

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

_AVAILABILITY: dict[bytes, Availability] = {b"online": "online", b"offline": "offline", b"asleep": "asleep"}
LATEST = 4102444800.0  # 2100-01-01; a later time is a mistake


class Newest(NamedTuple):
    """One value and when it was read, UTC seconds."""

    time: float
    value: Value


class Device(Struct):
    """What is known of one device; `stored` are the channels the store has, `heard` those read since the start."""

    node: str
    name: str
    info: Info | None = None
    availability: Availability | None = None
    stored: dict[str, Channel] = field(default_factory=dict)
    heard: set[str] = field(default_factory=set)
    newest: dict[str, Newest] = field(default_factory=dict)

    def channels(self) -> dict[str, Channel]:
        """Return the channels it has today: those it declares, else those it once had; and those it just sent."""
        channels = dict(self.info.channels if self.info else self.stored)
        for name in sorted(self.heard - channels.keys()):
            channels[name] = self.stored.get(name, Channel())
        return channels

    def all_channels(self) -> dict[str, Channel]:
        """Return these and those that only the store remembers."""
        return self.stored | self.channels()


class Feed:
    """What one listener has not been given yet: at most one value per series, the newest."""

    def __init__(self) -> None:
        self._patterns: list[str] = []
        self._wanted: dict[str, bool] = {}
        self._pending: dict[str, Newest] = {}
        self._news = asyncio.Event()

    def want(self, wanted: list[str]) -> None:
        """Replace what is listened to; what was not given yet is forgotten."""
        self._patterns = wanted
        self._wanted.clear()
        self._pending.clear()

    def offer(self, series: str, newest: Newest) -> None:
        """Keep a value for the listener if it wants it."""
        wanted = self._wanted.get(series)
        if wanted is None:
            wanted = self._wanted[series] = any(matches(pattern, series) for pattern in self._patterns)
        if wanted:
            self._pending[series] = newest
            self._news.set()

    async def take(self) -> dict[str, Newest]:
        """Wait for news and return all of it, by series."""
        while not self._pending:
            self._news.clear()
            await self._news.wait()
        pending, self._pending = self._pending, {}
        return pending


class Live:
    """Devices, services and newest values, as the bus and the store tell of them."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.devices: dict[tuple[str, str], Device] = {}
        self.services: dict[tuple[str, str], Status] = {}
        self._feeds: set[Feed] = set()
        self._now = now

    def take(self, topic: str, payload: bytes) -> None:
        """Take in one message of the bus; raise MessageError if it is not what its topic promises."""
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
        """Fill in what the store knows and the bus has not told yet."""
        for one in series:
            device = self._device(one.node, one.device)
            device.stored[one.channel] = Channel(one.unit, one.kind)
            point = latest.get(one.id)
            if point and one.channel not in device.newest:
                self._set(device, one.channel, Newest(point.time, point.value))

    def newest(self) -> Iterator[tuple[str, Channel, Newest | None]]:
        """Yield every series with what it is and its newest value, None before the first one."""
        for device in self.devices.values():
            for name, channel in device.all_channels().items():
                yield f"{device.node}/{device.name}/{name}", channel, device.newest.get(name)

    def listen(self) -> Feed:
        """Return a new feed; `ignore` it when its listener is gone."""
        feed = Feed()
        self._feeds.add(feed)
        return feed

    def subscribe(self, feed: Feed, wanted: list[str]) -> None:
        """Change what a feed listens to and offer it the newest value of each series."""
        feed.want(wanted)
        for series, _, newest in self.newest():
            if newest:
                feed.offer(series, newest)

    def ignore(self, feed: Feed) -> None:
        """Forget a feed."""
        self._feeds.discard(feed)

    @property
    def listeners(self) -> int:
        """How many feeds there are."""
        return len(self._feeds)

    def _device(self, node: str, name: str) -> Device:
        device = self.devices.get((node, name))
        if device is None:
            device = self.devices[node, name] = Device(node, name)
        return device

    def _state(self, node: str, name: str, reading: Reading) -> None:
        for channel, value in reading.values.items():
            if not topics.is_channel(channel) or not is_value(value):
                raise MessageError(f"{channel[:80]!r} is no channel, or its value is none")
        # A clock that is not set yet says nothing about when; that it arrived does.
        moment = self._now() if reading.clock else reading.time
        if not 0 <= moment <= LATEST:
            raise MessageError(f"time {moment} is not between 1970 and 2100")
        device = self._device(node, name)
        for channel, value in reading.values.items():
            device.heard.add(channel)
            self._set(device, channel, Newest(moment, value))

    def _info(self, node: str, name: str, payload: bytes) -> None:
        if not payload:
            self.devices.pop((node, name), None)
            return
        info = decode(Info, payload)
        for channel in info.channels:
            if not topics.is_channel(channel):
                raise MessageError(f"{channel[:80]!r} is no channel")
        self._device(node, name).info = info

    def _availability(self, node: str, name: str, payload: bytes) -> None:
        if not payload:
            if device := self.devices.get((node, name)):
                device.availability = None
            return
        if payload not in _AVAILABILITY:
            raise MessageError("not an availability: it is online, offline or asleep")
        self._device(node, name).availability = _AVAILABILITY[payload]

    def _set(self, device: Device, channel: str, newest: Newest) -> None:
        device.newest[channel] = newest
        series = f"{device.node}/{device.name}/{channel}"
        for feed in self._feeds:
            feed.offer(series, newest)
