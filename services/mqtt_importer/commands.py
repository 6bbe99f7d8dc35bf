"""Commands to devices: from our `set` topics to theirs."""

from collections.abc import Mapping

from heliograph import topics
from heliograph.service import Service
from services.mqtt_importer.connection import BrokerConnection
from services.mqtt_importer.device_registry import DeviceRegistry
from services.mqtt_importer.devices import MAX_CHANNELS, ImportedDevice
from services.mqtt_importer.message_queue import OWN_BROKER, ReceivedMessage
from services.mqtt_importer.parsing import payloads
from services.mqtt_importer.parsing.parsed import NotUnderstood
from services.mqtt_importer.source import MqttSource


class CommandForwarder:
    """Publishes commands on the brokers of the devices; the state changes when the device reports that it did."""

    def __init__(self, service: Service, devices: DeviceRegistry, connections: Mapping[str, BrokerConnection]) -> None:
        self._service = service
        self._devices = devices
        self._connections = connections

    def forward(self, message: ReceivedMessage) -> None:
        """Carry out a command to one of our devices; set aside what cannot be carried out."""
        try:
            name = topics.parse(message.topic).owner
        except ValueError:
            return
        device = self._devices.get(name)
        if device is None:
            return  # of another service
        if message.retained:
            self._reject("a retained command is an old one", message)
            return
        if not device.source.commands:
            self._reject(f"source {device.source.label} does not have commands = true", message)
            return
        try:
            values = payloads.json_object(message.payload)
        except NotUnderstood as error:
            self._reject(str(error), message)
            return
        if len(values) > MAX_CHANNELS:
            self._reject("more channels than a device has", message)
            return
        for channel, value in values.items():
            try:
                self._command(device, channel, value)
            except ValueError as error:
                self._reject(str(error), message)

    def request_state(self, source: MqttSource, requests: tuple[tuple[str, str], ...]) -> None:
        """Publish what makes a device report its state, if its source takes commands."""
        if source.commands:
            for topic, payload in requests:
                self._publish(source.broker, topic, payload.encode())

    def _command(self, device: ImportedDevice, channel: str, value: object) -> None:
        command_topic = device.command_topics.get(channel)
        if command_topic is None:
            raise ValueError(f"only {', '.join(sorted(device.command_topics)) or 'nothing'} can be set")
        payload = command_topic.payload(value).encode("utf-8", "backslashreplace")
        if not self._publish(device.source.broker, command_topic.topic, payload):
            raise ValueError("not sent: the broker is away")
        self._service.count("commands")

    def _publish(self, broker: str, topic: str, payload: bytes) -> bool:
        if broker == OWN_BROKER:
            return self._service.bus.publish(topic, payload, qos=1)
        return self._connections[broker].publish(topic, payload)

    def _reject(self, reason: str, message: ReceivedMessage) -> None:
        self._service.count("refused_commands")
        self._service.set_aside(reason, message.payload[:200], message.topic)
