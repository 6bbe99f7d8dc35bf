"""Reads messages source by source, and publishes what they say as readings of our devices."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from heliograph import topics
from heliograph.producer import Producer
from heliograph.service import Service
from services.mqtt_importer import families, filters, payloads, times
from services.mqtt_importer.commands import Commands
from services.mqtt_importer.devices import Device, nothing_missing
from services.mqtt_importer.heard import Family, Heard, NotUnderstood, Silence
from services.mqtt_importer.intake import OWN, Incoming
from services.mqtt_importer.naming import Names
from services.mqtt_importer.options import MqttImporter, Override, Source
from services.mqtt_importer.unknown import Unknown

KNOWN_TOPICS = 10_000
KNOWN_EARLY = 1_000
SHOWN_DEVICES = 500
SLOW_SECONDS = 5.0
COPY_SECONDS = 1.0  # a broker sends copies one right after the other


def wanted(options: MqttImporter, broker: str) -> list[str]:
    """Return the filters to subscribe to on a broker."""
    made = [families.load(source.family)(source) for source in options.sources if source.broker == broker]
    return filters.needed([*(one for family in made for one in family.filters), *options.watch])


class _Route(NamedTuple):
    source: Source
    family: Family


class Reader:
    """Knows the devices of all sources; `subscribed` are the filters by broker; not thread-safe."""

    def __init__(
        self,
        options: MqttImporter,
        subscribed: Mapping[str, Sequence[str]],
        service: Service,
        producer: Producer,
        names: Names,
        commands: Commands,
    ) -> None:
        self._service = service
        self._producer = producer
        self._names = names
        self._commands = commands
        self._most_devices = options.most_devices
        self._routes = [_Route(source, families.load(source.family)(source)) for source in options.sources]
        self._routes_of: dict[tuple[str, str], list[_Route]] = {}
        self._devices: dict[str, tuple[Source, Device]] = {}
        self._foreign: dict[tuple[str, str], str] = {}
        self._early: dict[tuple[str, str], Heard] = {}
        self._subscribed = subscribed
        self._last: Incoming | None = None
        self._repeats = 0
        self.unknown = Unknown()
        service.watch(lambda: {"unknown_messages": self.unknown.messages})

    def take(self, message: Incoming) -> None:
        """Publish what a message says, or set it aside."""
        if message.broker == OWN and message.topic.split("/")[0] == topics.ROOT:
            self._commands.take(message, self._devices)
            return
        if self._is_copy(message):
            return
        self._service.count("messages")
        for route in self._matching(message.broker, message.topic):
            try:
                said = route.family.read(message.topic, message.payload)
            except NotUnderstood as error:
                self._refuse(str(error), message.payload, message.topic)
                return
            if isinstance(said, Silence):
                return
            if said is not None:
                self._heard(route, said, message)
                return
        self.unknown.take(message.broker, message.topic, message.payload)

    def lost(self, broker: str) -> None:
        """Take note that a broker is away, and with it all that is known of its devices."""
        self._early.clear()
        for name, (source, device) in self._devices.items():
            if source.broker == broker and device.info.channels:
                device.availability = None
                self._producer.availability(name, "offline")

    def facts(self) -> dict[str, object]:
        """Return how the devices are, for the status; `last` is in seconds since 1970 UTC."""
        facts: dict[str, object] = {}
        foreign = {ours: theirs for (_, theirs), ours in self._foreign.items()}
        for name, (source, device) in list(self._devices.items())[:SHOWN_DEVICES]:
            fact: dict[str, object] = {"source": source.called, "foreign": payloads.printable(foreign[name], 120)}
            if device.availability:
                fact["availability"] = device.availability
            if device.last is not None:
                fact["last"] = round(device.last, 3)
            if source.commands and device.switches:
                fact["settable"] = sorted(device.switches)
            facts[name] = fact
        return facts

    def _is_copy(self, message: Incoming) -> bool:
        """Whether a broker sent a message once more because several of our filters match its topic."""
        last = self._last
        same = last is not None and message[:4] == last[:4] and (message.at or 0) - (last.at or 0) < COPY_SECONDS
        if not same or self._repeats + 1 >= self._filters(message.broker, message.topic):
            self._last, self._repeats = message, 0
            return False
        self._repeats += 1
        return True

    def _filters(self, broker: str, topic: str) -> int:
        return sum(filters.wildcards(one, topic) is not None for one in self._subscribed[broker])

    def _matching(self, broker: str, topic: str) -> list[_Route]:
        routes = self._routes_of.get((broker, topic))
        if routes is None:
            routes = [
                route
                for route in self._routes
                if route.source.broker == broker
                and any(filters.wildcards(one, topic) is not None for one in route.family.filters)
            ]
            if len(self._routes_of) < KNOWN_TOPICS:
                self._routes_of[broker, topic] = routes
        return routes

    def _heard(self, route: _Route, heard: Heard, message: Incoming) -> None:
        if heard.everyone:
            for name, (source, device) in self._devices.items():
                if source is route.source and heard.availability == "offline":
                    device.availability = "offline"
                    self._producer.availability(name, "offline")
            return
        if (route.source.called, heard.device) not in self._foreign and not heard.members:
            for why in heard.refused:
                self._refuse("not a value", why, message.topic)
            self._announced(route.source, heard)
            return
        found = self._device(route, heard.device, message)
        if found is None:
            return
        name, device = found
        if heard.availability and heard.availability != device.availability:
            device.availability = heard.availability
            if device.info.channels:
                self._producer.availability(name, heard.availability)
            if heard.availability == "online":
                self._commands.ask(route.source, heard.asks)
        values, refused = device.take(heard)
        for why in refused:
            self._refuse("not a value", why, message.topic)
        if missing := nothing_missing(heard.members):
            self._service.count("no_value", missing)
        if not device.info.channels:
            return
        self._producer.declare(name, device.info)
        if not values:
            return
        if message.retained and not route.source.retained:
            self._service.count("retained_messages")
            if device.availability:
                self._producer.availability(name, device.availability)
            return
        self._service.count("imported")
        at = self._time(route.source, heard, message, device.last)
        device.last = at
        if device.availability == "offline" and not message.retained:
            device.availability = "online"  # it speaks; a last will may come late, or from an earlier connection
        self._producer.availability(name, device.availability or "online")
        self._producer.publish(name, values, at)

    def _announced(self, source: Source, heard: Heard) -> None:
        """Remember what is told of a device before its first value; there may never be one."""
        key = (source.called, heard.device)
        before = self._early.pop(key, heard._replace(availability=None))
        after = before._replace(
            model=heard.model or before.model, availability=heard.availability or before.availability
        )
        self._early[key] = after
        if len(self._early) > KNOWN_EARLY:
            del self._early[next(iter(self._early))]
        if heard.availability == "online" != before.availability:
            self._commands.ask(source, heard.asks)

    def _time(self, source: Source, heard: Heard, message: Incoming, last: float | None) -> float | None:
        """Return the device's own time if it can be believed, else when the message came.

        One that lies a little before the device's last reading is a clock that is slow.
        """
        if heard.time is None or message.at is None:
            return message.at
        at = times.believed(heard.time, source.zone(), message.at, source.past)
        self._service.count("own_times" if at is not None else "unused_times")
        if at is None:
            return message.at
        return last + 0.001 if last is not None and last - SLOW_SECONDS <= at < last else at

    def _device(self, route: _Route, foreign: str, message: Incoming) -> tuple[str, Device] | None:
        key = (route.source.called, foreign)
        name = self._foreign.get(key)
        if name is None:
            if len(self._devices) >= self._most_devices:
                self._refuse("more devices than most_devices", message.payload, message.topic)
                return None
            try:
                name = self._names.name(*key)
            except ValueError as error:
                self._refuse(str(error), message.payload, message.topic)
                return None
            if name in self._devices:
                self._refuse(f"another device is called {name}", message.payload, message.topic)
                return None
            self._foreign[key] = name
            overrides = _overrides(route.source, name, foreign)
            model = route.family.default_model
            source = route.source
            device = Device(model, self._service.name, source.interval, overrides, commands=source.commands)
            if early := self._early.pop(key, None):
                device.availability = early.availability
                device.take(early)
            self._devices[name] = (route.source, device)
        return name, self._devices[name][1]

    def _refuse(self, why: str, what: bytes | str, where: str) -> None:
        self._service.count("refused")
        self._service.set_aside(why, what[:200], where[:200])


def _overrides(source: Source, ours: str, foreign: str) -> dict[str, Override]:
    """Return what the configuration says of a device's channels: `channel`, or `device/channel`, which counts more."""
    found = {name: override for name, override in source.channels.items() if "/" not in name}
    for device in (foreign, ours):
        prefix = f"{device}/"
        found |= {
            name.removeprefix(prefix): override for name, override in source.channels.items() if name.startswith(prefix)
        }
    return found
