"""The service: from the descriptions of devices to Home Assistant's discovery messages."""

import logging
import queue
import random
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from heliograph import topics
from heliograph.bus import Message
from heliograph.errors import ConfigError, MessageError, StoreDamaged
from heliograph.messages import Info, Reading, decode
from heliograph.renames import FILE, Renames
from heliograph.renames import decode as decode_renames
from heliograph.service import Service
from services.home_assistant import discovery, identifiers
from services.home_assistant.options import HomeAssistant
from services.home_assistant.registry import REMOVAL_SECONDS, DeviceKey, Registry
from services.home_assistant.state_mirror import StateMirror

log = logging.getLogger(__name__)

WAIT_SECONDS = 0.5
JITTER_SECONDS = 10.0  # Home Assistant asks that not all discovery messages come at once when it starts
ORPHAN_SECONDS = 15.0  # every producer has answered by then: announcing.AGAIN_SECONDS and ANSWER_SECONDS
MARK = "mark"  # a request to ourselves: it arrives after everything that the broker has retained


class BusEvent(NamedTuple):
    """What the network thread hands over: a message, or CONNECTED for a new connection."""

    topic: str
    payload: bytes = b""
    retained: bool = False


CONNECTED = BusEvent("")


def main(
    options: HomeAssistant,
    service: Service,
    *,
    jitter_seconds: float = JITTER_SECONDS,
    removal_seconds: float = REMOVAL_SECONDS,
    orphan_seconds: float = ORPHAN_SECONDS,
) -> None:
    """Announce devices until the process is stopped."""
    events: queue.SimpleQueue[BusEvent] = queue.SimpleQueue()
    announcer = Announcer(options, service, events.put, jitter_seconds, removal_seconds, orphan_seconds)
    announcer.subscribe()
    while True:
        service.alive()
        with suppress(queue.Empty):
            announcer.handle(events.get(timeout=WAIT_SECONDS), time.monotonic())
        announcer.tick(time.monotonic())


class Announcer:
    """Handles the messages of the bus, and publishes discovery messages and mirrors. Only `subscribe`'s callbacks are thread-safe."""

    def __init__(
        self,
        options: HomeAssistant,
        service: Service,
        put: Callable[[BusEvent], None],
        jitter_seconds: float,
        removal_seconds: float,
        orphan_seconds: float,
    ) -> None:
        self._service = service
        self._bus = service.bus
        self._put = put
        self._jitter_seconds = jitter_seconds
        self._orphan_seconds = orphan_seconds
        self._nodes = options.nodes or (service.node,)
        self._prefix = options.discovery_prefix
        renames = _renames(service.data / service.name / FILE)
        self._former_nodes = {former for node in self._nodes for former in renames.former(node)} - {*self._nodes}
        self._registry = Registry(
            self._publish_discovery, self._mirror_topic, removal_seconds=removal_seconds, renames=renames
        )
        self._mirror = StateMirror(lambda topic, payload: self._bus.publish(topic, payload, qos=1, retain=True))
        self._mirrored: set[DeviceKey] = set()
        self._retained_mirrors: set[DeviceKey] = set()
        self._mark = ""
        self._republish_at: float | None = None
        self._remove_orphans_at: float | None = None
        service.watch(self._registry.counters)

    def subscribe(self) -> None:
        """Subscribe to everything, and publish a mark that comes after what the broker has retained."""
        mark = topics.request(self._service.node, self._service.name, MARK)
        filters = [mark, f"{self._prefix}/status", self._discovery_topic("+"), self._mirror_topic("+")]
        for node in self._nodes:
            filters += [
                topics.every_device("availability", node),
                topics.every_device("info", node),
                topics.every_device("state", node),  # all, though few are used: a door's may come right after its info
            ]
        for one in filters:
            self._bus.subscribe(one, self._received)
        self._bus.on_connect(self._connected)
        self._service.request_announcements()

    def _received(self, message: Message) -> None:
        self._put(BusEvent(message.topic, message.payload, message.retained))

    def _connected(self) -> None:
        self._mark = uuid.uuid4().hex
        self._put(CONNECTED)
        mark = topics.request(self._service.node, self._service.name, MARK)
        self._bus.publish(mark, self._mark.encode(), qos=1)

    def handle(self, event: BusEvent, now: float) -> None:
        """Handle one message, or a new connection."""
        if event == CONNECTED:
            self._registry.restart()
            self._mirrored.clear()
            self._retained_mirrors.clear()
            self._republish_at = self._remove_orphans_at = None
        elif event.topic == f"{self._prefix}/status":
            if event.payload == b"online" and not event.retained:
                self._republish_at = now + random.uniform(0, self._jitter_seconds)
        elif event.topic.startswith(f"{self._prefix}/"):
            if event.retained and event.payload:
                self._restore(event)
        else:
            self._handle_own_topic(event, now)

    def tick(self, now: float) -> None:
        """Publish what is due."""
        self._registry.tick(now)
        if self._republish_at is not None and now >= self._republish_at:
            self._republish_at = None
            self._registry.republish()
            self._service.count("births")
        if self._remove_orphans_at is not None and now >= self._remove_orphans_at:
            self._remove_orphans_at = None
            self._remove_orphans()

    def _handle_own_topic(self, event: BusEvent, now: float) -> None:
        node, owner, kind, command = topics.parse(event.topic)
        device = (node, owner)
        if command:
            if event.payload == self._mark.encode():
                self._reconcile(now)
        elif kind == "availability":
            if event.payload:
                self._registry.note_availability(device, now)
        elif kind == "state":
            self._update_mirror(device, event.payload)
        elif not event.payload:
            self._registry.forget(device)
            self._clear_mirror(device)
        else:
            self._describe(device, event, now)

    def _describe(self, device: DeviceKey, event: BusEvent, now: float) -> None:
        try:
            info = decode(Info, event.payload)
        except MessageError as error:
            self._service.set_aside(str(error), event.payload, event.topic)
            self._registry.note_unreadable(device)
            return
        for channel in info.channels:
            if not discovery.is_shown(channel):
                self._service.set_aside("not the name of a channel", channel, event.topic)
        self._registry.describe(device, info, now)
        if self._registry.is_irregular(device):
            self._mirrored.add(device)
        elif device in self._mirrored:
            self._clear_mirror(device)

    def _update_mirror(self, device: DeviceKey, payload: bytes) -> None:
        if device not in self._mirrored:
            return
        try:
            reading = decode(Reading, payload)
        except MessageError as error:
            self._service.set_aside(str(error), payload, f"{device[1]}: state")
            return
        self._mirror.update(self._mirror_topic(identifiers.join(*device)), reading)

    def _restore(self, event: BusEvent) -> None:
        """Note what this service published before it restarted; ignore messages of other programs."""
        identifier = event.topic.removeprefix(f"{self._prefix}/").split("/")[1]
        try:
            names = identifiers.split(identifier)
        except ValueError:
            return
        if len(names) != 2 or names[0] not in (*self._nodes, *self._former_nodes):
            return
        if event.topic == self._mirror_topic(identifier):
            self._mirror.restore(event.topic, event.payload)
            self._retained_mirrors.add((names[0], names[1]))
            return
        try:
            message = msgspec.json.decode(event.payload, type=dict[str, object])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if discovery.is_ours(message):
            self._registry.restore(identifier, message)

    def _reconcile(self, now: float) -> None:
        self._registry.reconcile(now)
        self._remove_orphans_at = now + self._orphan_seconds
        self._service.report()

    def _remove_orphans(self) -> None:
        for orphan in self._registry.remove_orphans():
            log.info("removed %s from Home Assistant: its description was removed", orphan)
        for device in self._retained_mirrors - self._mirrored:
            if not self._registry.is_known(device):
                self._mirror.clear(self._mirror_topic(identifiers.join(*device)))
        self._retained_mirrors.clear()
        self._service.report()

    def _clear_mirror(self, device: DeviceKey) -> None:
        if device in self._mirrored or device in self._retained_mirrors:
            self._mirrored.discard(device)
            self._retained_mirrors.discard(device)
            self._mirror.clear(self._mirror_topic(identifiers.join(*device)))

    def _publish_discovery(self, identifier: str, payload: bytes) -> None:
        self._bus.publish(self._discovery_topic(identifier), payload, qos=1, retain=True)

    def _discovery_topic(self, identifier: str) -> str:
        return f"{self._prefix}/device/{identifier}/config"

    def _mirror_topic(self, identifier: str) -> str:
        return f"{self._prefix}/heliograph/{identifier}/state"


def _renames(path: Path) -> Renames:
    """Return the renames that `heliograph store rename` has left for this service; raise ConfigError if they cannot be read."""
    try:
        return decode_renames(path.read_bytes())
    except FileNotFoundError:
        return Renames()
    except (OSError, StoreDamaged) as error:
        raise ConfigError(f"{path}: {error}") from None
