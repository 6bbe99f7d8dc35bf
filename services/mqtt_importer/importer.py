"""The service: from the brokers, source by source, to readings, and commands back to the devices."""

import logging
import time
from contextlib import ExitStack
from functools import partial

from heliograph import names, names_before, topics
from heliograph.bus import Message
from heliograph.service import Service
from heliograph.status_board import BROKERS_AWAY
from services.mqtt_importer.commands import CommandForwarder
from services.mqtt_importer.connection import BrokerConnection
from services.mqtt_importer.device_registry import DeviceNames, DeviceRegistry
from services.mqtt_importer.message_queue import OWN_BROKER, MessageQueue, ReceivedMessage
from services.mqtt_importer.options import MqttImporter
from services.mqtt_importer.parsing import topic_filters
from services.mqtt_importer.reader import MqttReader
from services.mqtt_importer.routing import Router, subscriptions

log = logging.getLogger(__name__)

FACTS_SECONDS = 2.0
WAIT_SECONDS = 1.0


def main(options: MqttImporter, service: Service) -> None:
    """Import until the process is stopped."""
    if not options.sources:
        log.warning("no [[mqtt_importer.sources]] in the configuration: nothing to import")
    rule = names.rule_of(service.data, service.name, names_before.HUMPED)
    producer = service.producer()
    messages = MessageQueue()
    chosen = {(source.label, original): name for source in options.sources for original, name in source.devices.items()}
    device_names = DeviceNames(service.data / "mqtt_importer" / "devices.json", chosen)
    devices = DeviceRegistry(device_names, rule, service.name, options.max_devices)
    service.watch(lambda: {"dropped_messages": messages.dropped, "oversized_messages": messages.oversized})
    subscribed = {name: subscriptions(options, name) for name in (OWN_BROKER, *options.brokers)}
    with ExitStack() as stack:
        connections = {
            name: stack.enter_context(
                BrokerConnection(
                    name,
                    broker,
                    f"{service.client_id}-{name}",
                    subscribed[name],
                    partial(_put, messages, service, name),
                )
            )
            for name, broker in options.brokers.items()
            if subscribed[name]
        }
        commands = CommandForwarder(service, devices, connections)
        router = Router(options.sources, subscribed)
        reader = MqttReader(router, devices, commands, service, producer)
        _subscribe(subscribed[OWN_BROKER], service, messages)
        losses = dict.fromkeys(connections, 0)
        reported_at = 0.0
        while True:
            if message := messages.get(WAIT_SECONDS):
                reader.read(message)
            now = time.monotonic()
            if message is None or now - reported_at >= FACTS_SECONDS:
                reported_at = now
                service.alive()
                for name, connection in connections.items():
                    if connection.losses != losses[name]:
                        losses[name] = connection.losses
                        reader.broker_lost(name)
                service.fact("brokers", {name: connection.connected for name, connection in connections.items()})
                service.fact(BROKERS_AWAY, {name: one.problem for name, one in connections.items() if one.problem})
                service.fact("devices", devices.facts())
                service.fact("unknown_topics", reader.unknown_topics.facts())


def _subscribe(filters: list[str], service: Service, messages: MessageQueue) -> None:
    """Subscribe to the sources' topics and to commands on the node's own broker."""
    commands = topics.every_device("set", service.node)

    def received(message: Message) -> None:
        if message.topic.split("/")[0] != topics.ROOT or topic_filters.matches(commands, message.topic):
            _put(messages, service, OWN_BROKER, message.topic, message.payload, message.retained)

    for one in topic_filters.without_covered([*filters, commands]):
        service.bus.subscribe(one, received)


def _put(messages: MessageQueue, service: Service, broker: str, topic: str, payload: bytes, retained: bool) -> None:
    at = service.clock.now() if service.clock.synchronised else None
    messages.put(ReceivedMessage(broker, topic, payload, retained, at))
