"""Publishes what the messages of all sources say as readings of our devices."""

from heliograph import topics
from heliograph.messages import Value
from heliograph.producer import Producer
from heliograph.service import Service
from services.mqtt_importer.commands import CommandForwarder
from services.mqtt_importer.device_registry import DeviceRegistry
from services.mqtt_importer.devices import ImportedDevice
from services.mqtt_importer.message_queue import OWN_BROKER, ReceivedMessage
from services.mqtt_importer.parsing import timestamps
from services.mqtt_importer.parsing.parsed import Ignored, NotUnderstood, ParsedMessage
from services.mqtt_importer.routing import Route, Router, UnknownTopics
from services.mqtt_importer.source import MqttSource

SLOW_SECONDS = 5.0


class MqttReader:
    """Parses messages source by source, and publishes their values; not thread-safe."""

    def __init__(
        self, router: Router, devices: DeviceRegistry, commands: CommandForwarder, service: Service, producer: Producer
    ) -> None:
        self._router = router
        self._devices = devices
        self._commands = commands
        self._service = service
        self._producer = producer
        self.unknown_topics = UnknownTopics()
        service.watch(lambda: {"unknown_messages": self.unknown_topics.messages})

    def read(self, message: ReceivedMessage) -> None:
        """Publish what a message says, or set it aside."""
        if message.broker == OWN_BROKER and message.topic.split("/")[0] == topics.ROOT:
            self._commands.forward(message)
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
                for parsed in (result, *result.others):
                    self._import(route, parsed, message)
                return
        self.unknown_topics.add(message)

    def broker_lost(self, broker: str) -> None:
        """Report the devices of a broker that is away as offline; forget what was announced before it went."""
        self._devices.forget_announcements()
        for device in self._devices:
            if device.source.broker == broker and device.info.channels:
                device.availability = None
                self._producer.availability(device.name, "offline")

    def _import(self, route: Route, parsed: ParsedMessage, message: ReceivedMessage) -> None:
        if parsed.all_devices:
            self._set_all_offline(route.source, parsed)
            return
        self.unknown_topics.add_parts(message, parsed.unknown)
        if not parsed.values and not self._devices.is_known(route.source, parsed.device):
            self._reject_parts(list(parsed.rejected), message)
            if self._devices.announce(route.source, parsed):
                self._commands.request_state(route.source, parsed.requests)
            return
        try:
            device = self._devices.get_or_add(route, parsed.device)
        except ValueError as error:
            self._reject(str(error), message.payload, message.topic)
            return
        self._update_availability(device, parsed)
        known = device.without_value
        values, rejected = device.update(parsed)
        self._reject_parts(rejected, message)
        if missing := device.without_value - known:
            self._service.count("no_value", missing)
        if not device.info.channels:
            return
        self._producer.declare(device.name, device.info)
        if not values:
            return
        if message.retained and not route.source.import_retained:
            self._service.count("retained_messages")
            if device.availability:
                self._producer.availability(device.name, device.availability)
            return
        self._publish(device, values, parsed, message)

    def _set_all_offline(self, source: MqttSource, parsed: ParsedMessage) -> None:
        if parsed.availability != "offline":
            return  # each device is online with its next message
        for device in self._devices:
            if device.source is source:
                device.availability = "offline"
                self._producer.availability(device.name, "offline")

    def _update_availability(self, device: ImportedDevice, parsed: ParsedMessage) -> None:
        if not parsed.availability or parsed.availability == device.availability:
            return
        device.availability = parsed.availability
        if device.info.channels:
            self._producer.availability(device.name, parsed.availability)
        if parsed.availability == "online":
            self._commands.request_state(device.source, parsed.requests)

    def _publish(
        self, device: ImportedDevice, values: dict[str, Value], parsed: ParsedMessage, message: ReceivedMessage
    ) -> None:
        self._service.count("imported")
        at = self._timestamp(device, parsed, message)
        device.last_reading = message.at if at is None else at
        if device.availability == "offline" and not message.retained:
            device.availability = "online"  # it sends; a last will may come late, or from an earlier connection
        self._producer.availability(device.name, device.availability or "online")
        self._producer.publish(device.name, values, at, arrived=message.at)

    def _timestamp(self, device: ImportedDevice, parsed: ParsedMessage, message: ReceivedMessage) -> float | None:
        """Return the device's own time if it is credible, else None: the reading has the time at which the message came.

        One that is not after the device's last reading, but nearly, is that of a slow clock, or of one that counts seconds.
        """
        if parsed.time is None or message.at is None:
            return None
        source, last = device.source, device.last_reading
        at = timestamps.credible(parsed.time, source.zone(), message.at, source.max_timestamp_age)
        self._service.count("device_timestamps" if at is not None else "unused_timestamps")
        if at is None:
            return None
        return last + 0.001 if last is not None and last - SLOW_SECONDS <= at <= last else at

    def _reject_parts(self, parts: list[str], message: ReceivedMessage) -> None:
        for part in parts:
            self._reject("not a value", part, message.topic)

    def _reject(self, reason: str, content: bytes | str, topic: str) -> None:
        self._service.count("refused")
        self._service.set_aside(reason, content[:200], topic[:200])
