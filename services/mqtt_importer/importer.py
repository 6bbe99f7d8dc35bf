"""The service: what comes from the brokers, source by source, and what goes back to the devices."""

import logging
import time
from contextlib import ExitStack
from functools import partial

from heliograph import topics
from heliograph.bus import Message
from heliograph.service import Service
from services.mqtt_importer import filters
from services.mqtt_importer.commands import Commands
from services.mqtt_importer.intake import OWN, Incoming, Intake
from services.mqtt_importer.links import Link
from services.mqtt_importer.naming import Names
from services.mqtt_importer.options import MqttImporter
from services.mqtt_importer.reader import Reader, wanted

log = logging.getLogger(__name__)

FACTS_SECONDS = 2.0
WAIT_SECONDS = 1.0


def main(options: MqttImporter, service: Service) -> None:
    """Import until the process is told to stop."""
    if not options.sources:
        log.warning("no [[mqtt_importer.sources]] in the configuration: nothing to import")
    producer = service.producer()
    intake = Intake()
    chosen = {(source.called, foreign): ours for source in options.sources for foreign, ours in source.devices.items()}
    names = Names(service.data / "mqtt_importer" / "devices.json", chosen)
    service.watch(lambda: {"dropped_messages": intake.dropped, "oversized_messages": intake.oversized})
    subscribed = {name: wanted(options, name) for name in (OWN, *options.brokers)}
    with ExitStack() as stack:
        links = {
            name: stack.enter_context(
                Link(
                    name,
                    broker,
                    f"{service.node}-{service.name}",
                    subscribed[name],
                    partial(_put, intake, service, name),
                )
            )
            for name, broker in options.brokers.items()
            if subscribed[name]
        }
        commands = Commands(service, links)
        reader = Reader(options, subscribed, service, producer, names, commands)
        _subscribe(subscribed[OWN], service, intake)
        losses = dict.fromkeys(links, 0)
        said = 0.0
        while True:
            if message := intake.get(WAIT_SECONDS):
                reader.take(message)
            now = time.monotonic()
            if message is None or now - said >= FACTS_SECONDS:
                said = now
                service.alive()
                for name, link in links.items():
                    if link.losses != losses[name]:
                        losses[name] = link.losses
                        reader.lost(name)
                service.fact("brokers", {name: link.up for name, link in links.items()})
                service.fact("devices", reader.facts())
                service.fact("unknown", reader.unknown.facts())


def _subscribe(imported: list[str], service: Service, intake: Intake) -> None:
    """Subscribe to the sources' topics and to commands on the node's own broker."""
    commands = topics.every_device("set", service.node)

    def received(message: Message) -> None:
        if message.topic.split("/")[0] != topics.ROOT or filters.wildcards(commands, message.topic) is not None:
            _put(intake, service, OWN, message.topic, message.payload, message.retained)

    for one in filters.needed([*imported, commands]):
        service.bus.subscribe(one, received)


def _put(intake: Intake, service: Service, broker: str, topic: str, payload: bytes, retained: bool) -> None:
    at = service.clock.now() if service.clock.synchronised else None
    intake.put(Incoming(broker, topic, payload, retained, at))
