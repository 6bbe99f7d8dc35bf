"""Publishes what the messages of all sources say as readings of our devices."""

from heliograph import topics
from heliograph.messages import Value
from heliograph.names import Rule
from heliograph.producer import Producer
from heliograph.service import Service
from services.mqtt_importer.commands import CommandForwarder
from services.mqtt_importer.devices import ImportedDevice
from services.mqtt_importer.message_queue import OWN_BROKER, ReceivedMessage
from services.mqtt_importer.naming import DeviceNames
from services.mqtt_importer.parsing import payloads, timestamps
from services.mqtt_importer.parsing.parsed import Ignored, NotUnderstood, ParsedMessage
from services.mqtt_importer.routing import Route, Router, UnknownTopics
from services.mqtt_importer.source import MqttSource

MAX_ANNOUNCED = 1_000
SHOWN_DEVICES = 500
SLOW_SECONDS = 5.0


class MqttReader:
    """Parses messages source by source, and knows the devices of all sources; not thread-safe."""

    def __init__(
        self,
        router: Router,
        service: Service,
        producer: Producer,
        device_names: DeviceNames,
        commands: CommandForwarder,
        max_devices: int,
        rule: Rule,
    ) -> None:
        self._router = router
        self._service = service
        self._producer = producer
        self._device_names = device_names
        self._commands = commands
        self._max_devices = max_devices
        self._rule = rule
        self._devices: dict[str, ImportedDevice] = {}
        self._our_names: dict[tuple[str, str], str] = {}  # by source and original name
        self._announced: dict[tuple[str, str], ParsedMessage] = {}  # devices without a value so far
        self.unknown_topics = UnknownTopics()
        service.watch(lambda: {"unknown_messages": self.unknown_topics.messages})

    def read(self, message: ReceivedMessage) -> None:
        """Publish what a message says, or set it aside."""
        if message.broker == OWN_BROKER and message.topic.split("/")[0] == topics.ROOT:
            self._commands.forward(message, self._devices)
            return
        if self._router.is_copy(message):
            return
        self._service.count("messages")
        for route in self._router.routes(message.broker, message.topic):
            try:
                result = route.family.parse(message.topic, message.payload)
            except NotUnderstood as error:
                self._reject(str(error), message.payload, message.topic)
                return
            if isinstance(result, Ignored):
                return
            if result is not None:
                self._import(route, result, message)
                return
        self.unknown_topics.add(message)

    def broker_lost(self, broker: str) -> None:
        """Report the devices of a broker that is away as offline; forget what was announced before it went."""
        self._announced.clear()
        for name, device in self._devices.items():
            if device.source.broker == broker and device.info.channels:
                device.availability = None
                self._producer.availability(name, "offline")

    def facts(self) -> dict[str, object]:
        """Return how the devices are, for the status; `last_reading` is in seconds since 1970 UTC."""
        facts: dict[str, object] = {}
        for name, device in list(self._devices.items())[:SHOWN_DEVICES]:
            fact: dict[str, object] = {
                "source": device.source.label,
                "original_name": payloads.printable(device.original_name, 120),
            }
            if device.availability:
                fact["availability"] = device.availability
            if device.last_reading is not None:
                fact["last_reading"] = round(device.last_reading, 3)
            if device.source.commands and device.command_topics:
                fact["writable"] = sorted(device.command_topics)
            facts[name] = fact
        return facts

    def _import(self, route: Route, parsed: ParsedMessage, message: ReceivedMessage) -> None:
        if parsed.all_devices:
            self._set_all_offline(route.source, parsed)
            return
        if not parsed.values and (route.source.label, parsed.device) not in self._our_names:
            self._reject_parts(list(parsed.rejected), message)
            self._announce(route.source, parsed)
            return
        name = self._name(route, parsed.device, message)
        if name is None:
            return
        device = self._devices[name]
        self._update_availability(name, device, parsed)
        values, rejected = device.update(parsed)
        self._reject_parts(rejected, message)
        if missing := sum(item.value is None for item in parsed.values):
            self._service.count("no_value", missing)
        if not device.info.channels:
            return
        self._producer.declare(name, device.info)
        if not values:
            return
        if message.retained and not route.source.import_retained:
            self._service.count("retained_messages")
            if device.availability:
                self._producer.availability(name, device.availability)
            return
        self._publish(name, device, values, parsed, message)

    def _set_all_offline(self, source: MqttSource, parsed: ParsedMessage) -> None:
        if parsed.availability != "offline":
            return  # online is each device with its next message
        for name, device in self._devices.items():
            if device.source is source:
                device.availability = "offline"
                self._producer.availability(name, "offline")

    def _announce(self, source: MqttSource, parsed: ParsedMessage) -> None:
        """Remember model and availability of a device before its first value; there may never be one."""
        key = (source.label, parsed.device)
        before = self._announced.pop(key, parsed._replace(availability=None))
        after = before._replace(
            model=parsed.model or before.model, availability=parsed.availability or before.availability
        )
        self._announced[key] = after
        if len(self._announced) > MAX_ANNOUNCED:
            del self._announced[next(iter(self._announced))]
        if parsed.availability == "online" != before.availability:
            self._commands.request_state(source, parsed.requests)

    def _update_availability(self, name: str, device: ImportedDevice, parsed: ParsedMessage) -> None:
        if not parsed.availability or parsed.availability == device.availability:
            return
        device.availability = parsed.availability
        if device.info.channels:
            self._producer.availability(name, parsed.availability)
        if parsed.availability == "online":
            self._commands.request_state(device.source, parsed.requests)

    def _publish(
        self,
        name: str,
        device: ImportedDevice,
        values: dict[str, Value],
        parsed: ParsedMessage,
        message: ReceivedMessage,
    ) -> None:
        self._service.count("imported")
        at = self._timestamp(device, parsed, message)
        device.last_reading = at
        if device.availability == "offline" and not message.retained:
            device.availability = "online"  # it sends; a last will may come late, or from an earlier connection
        self._producer.availability(name, device.availability or "online")
        self._producer.publish(name, values, at)

    def _timestamp(self, device: ImportedDevice, parsed: ParsedMessage, message: ReceivedMessage) -> float | None:
        """Return the device's own time if it is credible, else when the message came.

        One a little before the device's last reading is that of a slow clock.
        """
        if parsed.time is None or message.at is None:
            return message.at
        source, last = device.source, device.last_reading
        at = timestamps.credible(parsed.time, source.zone(), message.at, source.max_timestamp_age)
        self._service.count("device_timestamps" if at is not None else "unused_timestamps")
        if at is None:
            return message.at
        return last + 0.001 if last is not None and last - SLOW_SECONDS <= at < last else at

    def _name(self, route: Route, original_name: str, message: ReceivedMessage) -> str | None:
        """Return our name of a device that is known from now on; None if it is set aside."""
        key = (route.source.label, original_name)
        if key in self._our_names:
            return self._our_names[key]
        try:
            name = self._new_name(*key)
        except ValueError as error:
            self._reject(str(error), message.payload, message.topic)
            return None
        model = route.family.default_model
        device = ImportedDevice(route.source, original_name, name, model, self._service.name, self._rule)
        if announced := self._announced.pop(key, None):
            device.availability = announced.availability
            device.update(announced)
        self._our_names[key] = name
        self._devices[name] = device
        return name

    def _new_name(self, source: str, original_name: str) -> str:
        if len(self._devices) >= self._max_devices:
            raise ValueError("more devices than max_devices")
        name = self._device_names.name(source, original_name)
        if name in self._devices:
            raise ValueError(f"another device is called {name}")
        return name

    def _reject_parts(self, parts: list[str], message: ReceivedMessage) -> None:
        for part in parts:
            self._reject("not a value", part, message.topic)

    def _reject(self, reason: str, content: bytes | str, topic: str) -> None:
        self._service.count("refused")
        self._service.set_aside(reason, content[:200], topic[:200])
