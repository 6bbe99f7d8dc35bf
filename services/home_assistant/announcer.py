"""The service: listens to what devices are, and tells Home Assistant."""

import logging
import queue
import random
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import msgspec

from heliograph import topics
from heliograph.bus import Message
from heliograph.errors import MessageError
from heliograph.messages import Info, Reading, decode
from heliograph.service import Service
from services.home_assistant import discovery
from services.home_assistant.identifiers import joined, taken_apart
from services.home_assistant.mirror import Mirror
from services.home_assistant.options import HomeAssistant
from services.home_assistant.registry import Device, Registry

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
JITTER_SECONDS = 10.0  # Home Assistant asks whoever publishes devices not to answer all at once
MARK = "mark"  # a request of ours to ourselves: it comes after all that the broker has kept


class Heard(NamedTuple):
    """What the network thread hands over: a message, or CONNECTED for a new connection."""

    topic: str
    payload: bytes = b""
    retained: bool = False


CONNECTED = Heard("")
# All states, though few are used: a door that says what it is and that it opens would else be heard too late.
KINDS: tuple[topics.DeviceTopic, ...] = ("availability", "info", "state")


def main(options: HomeAssistant, service: Service) -> None:
    """Tell Home Assistant until the process is told to stop."""
    heard: queue.SimpleQueue[Heard] = queue.SimpleQueue()
    announcer = Announcer(options, service, heard.put)
    announcer.listen()
    while True:
        service.alive()
        with suppress(queue.Empty):
            announcer.take(heard.get(timeout=LOOK_SECONDS), time.monotonic())
        announcer.tick(time.monotonic())


class Announcer:
    """Takes messages of the bus in, and publishes discovery messages and mirrors. Not thread-safe but for `listen`'s callbacks."""

    def __init__(self, options: HomeAssistant, service: Service, put: Callable[[Heard], None]) -> None:
        self._service = service
        self._bus = service.bus
        self._put = put
        self._nodes = options.nodes or (service.node,)
        self._prefix = options.prefix
        self._registry = Registry(self._tell, self._mirror_topic)
        self._mirror = Mirror(lambda topic, payload: self._bus.publish(topic, payload, qos=1, retain=True))
        self._mirrored: set[Device] = set()
        self._left_over: set[Device] = set()
        self._mark = ""
        self._again: float | None = None
        service.watch(self._registry.counters)

    def listen(self) -> None:
        """Subscribe to everything, and ask for a mark that comes behind what the broker has kept."""
        mark = topics.request(self._service.node, self._service.name, MARK)
        wanted = [mark, f"{self._prefix}/status", self._config_topic("+"), self._mirror_topic("+")]
        for node in self._nodes:
            wanted += [topics.every_device(kind, node) for kind in KINDS]
        for one in wanted:
            self._bus.subscribe(one, self._received)
        self._bus.on_connect(self._connected)

    def _received(self, message: Message) -> None:
        self._put(Heard(message.topic, message.payload, message.retained))

    def _connected(self) -> None:
        self._mark = uuid.uuid4().hex
        self._put(CONNECTED)
        mark = topics.request(self._service.node, self._service.name, MARK)
        self._bus.publish(mark, self._mark.encode(), qos=1)

    def take(self, heard: Heard, now: float) -> None:
        """Take in one message."""
        if heard == CONNECTED:
            self._registry.restart()
            self._mirrored.clear()
            self._left_over.clear()
            self._again = None
        elif heard.topic == f"{self._prefix}/status":
            if heard.payload == b"online" and not heard.retained:
                self._again = now + random.uniform(0, JITTER_SECONDS)
        elif heard.topic.startswith(f"{self._prefix}/"):
            if heard.retained and heard.payload:
                self._kept(heard)
        else:
            self._told(heard, now)

    def tick(self, now: float) -> None:
        """Publish what is due."""
        self._registry.tick(now)
        if self._again is not None and now >= self._again:
            self._again = None
            self._registry.repeat()
            self._service.count("births")

    def _told(self, heard: Heard, now: float) -> None:
        node, owner, kind, command = topics.parse(heard.topic)
        device = (node, owner)
        if command:
            if heard.payload == self._mark.encode():
                self._complete(now)
        elif kind == "availability":
            if heard.payload:
                self._registry.announced(device, now)
        elif kind == "state":
            self._state(device, heard.payload)
        elif not heard.payload:
            self._registry.forgotten(device)
            self._clear_mirror(device)
        else:
            self._described(device, heard, now)

    def _described(self, device: Device, heard: Heard, now: float) -> None:
        try:
            info = decode(Info, heard.payload)
        except MessageError as error:
            self._service.set_aside(str(error), heard.payload, heard.topic)
            self._registry.unreadable(device)
            return
        for channel in info.channels:
            if not discovery.is_shown(channel):
                self._service.set_aside("not the name of a channel", channel, heard.topic)
        self._registry.described(device, info, now)
        if self._registry.is_irregular(device):
            self._mirrored.add(device)
        elif device in self._mirrored:
            self._clear_mirror(device)

    def _state(self, device: Device, payload: bytes) -> None:
        if device not in self._mirrored:
            return
        try:
            reading = decode(Reading, payload)
        except MessageError as error:
            self._service.set_aside(str(error), payload, f"{device[1]}: state")
            return
        self._mirror.repeat(self._mirror_topic(joined(*device)), reading)

    def _kept(self, heard: Heard) -> None:
        """Take up what the broker has kept of an earlier life of this service; leave what is somebody else's."""
        identifier = heard.topic.removeprefix(f"{self._prefix}/").split("/")[1]
        try:
            names = taken_apart(identifier)
        except ValueError:
            return
        if len(names) != 2 or names[0] not in self._nodes:
            return
        if heard.topic == self._mirror_topic(identifier):
            self._mirror.remember(heard.topic, heard.payload)
            self._left_over.add((names[0], names[1]))
            return
        try:
            message = msgspec.json.decode(heard.payload, type=dict[str, object])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if discovery.is_ours(message):
            self._registry.found(identifier, message)

    def _complete(self, now: float) -> None:
        for orphan in self._registry.complete(now):
            log.info("%s is gone: nobody describes it any more", orphan)
        for device in self._left_over - self._mirrored:
            if not self._registry.is_known(device):
                self._mirror.clear(self._mirror_topic(joined(*device)))
        self._left_over.clear()
        self._service.report()

    def _clear_mirror(self, device: Device) -> None:
        if device in self._mirrored or device in self._left_over:
            self._mirrored.discard(device)
            self._left_over.discard(device)
            self._mirror.clear(self._mirror_topic(joined(*device)))

    def _tell(self, identifier: str, payload: bytes) -> None:
        self._bus.publish(self._config_topic(identifier), payload, qos=1, retain=True)

    def _config_topic(self, identifier: str) -> str:
        return f"{self._prefix}/device/{identifier}/config"

    def _mirror_topic(self, identifier: str) -> str:
        return f"{self._prefix}/heliograph/{identifier}/state"
