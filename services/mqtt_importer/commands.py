"""What people want devices to do: from our `set` topics to theirs."""

from collections.abc import Mapping

from heliograph import topics
from heliograph.service import Service
from services.mqtt_importer import payloads
from services.mqtt_importer.devices import MOST_CHANNELS, Device
from services.mqtt_importer.heard import NotUnderstood
from services.mqtt_importer.intake import OWN, Incoming
from services.mqtt_importer.links import Link
from services.mqtt_importer.options import Source


class Commands:
    """Passes commands on to the brokers of the devices; the state follows from the devices."""

    def __init__(self, service: Service, links: Mapping[str, Link]) -> None:
        self._service = service
        self._links = links

    def take(self, message: Incoming, devices: Mapping[str, tuple[Source, Device]]) -> None:
        """Carry out a command to one of our devices; set aside what cannot be done."""
        try:
            name = topics.parse(message.topic).owner
        except ValueError:
            return
        if name not in devices:
            return  # of another service
        source, device = devices[name]
        if message.retained:
            self._refuse("a retained command is an old one", message)
            return
        if not source.commands:
            self._refuse(f"source {source.called} does not have commands = true", message)
            return
        try:
            wanted = payloads.members(message.payload)
        except NotUnderstood as error:
            self._refuse(str(error), message)
            return
        if len(wanted) > MOST_CHANNELS:
            self._refuse("more than a device has", message)
            return
        for channel, value in wanted.items():
            try:
                self._command(source, device, channel, value)
            except ValueError as error:
                self._refuse(str(error), message)

    def ask(self, source: Source, asks: tuple[tuple[str, str], ...]) -> None:
        """Ask a device to tell about itself, if this source may write."""
        if source.commands:
            for topic, payload in asks:
                self._publish(source.broker, topic, payload.encode())

    def _command(self, source: Source, device: Device, channel: str, value: object) -> None:
        switch = device.switches.get(channel)
        if switch is None:
            raise ValueError(f"only {', '.join(sorted(device.switches)) or 'nothing'} can be set")
        payload = switch.payload(value).encode("utf-8", "backslashreplace")
        if not self._publish(source.broker, switch.topic, payload):
            raise ValueError("not sent: the broker is away")
        self._service.count("commands")

    def _publish(self, broker: str, topic: str, payload: bytes) -> bool:
        if broker == OWN:
            return self._service.bus.publish(topic, payload, qos=1)
        return self._links[broker].publish(topic, payload)

    def _refuse(self, why: str, message: Incoming) -> None:
        self._service.count("refused_commands")
        self._service.set_aside(why, message.payload[:200], message.topic)
