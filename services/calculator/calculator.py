"""The service: what it subscribes to, and the loop that brings messages to the calculations."""

import logging
import queue
import time
from functools import partial
from typing import TypeAlias

from heliograph import topics, units
from heliograph.bus import Message
from heliograph.errors import ConfigError
from heliograph.messages import Channel, Info
from heliograph.service import Service
from heliograph.store import open_reader
from heliograph.store.damage import Damage
from heliograph.write_loop import until_stopped
from services.calculator.calculations import Calculations
from services.calculator.catching_up import StoredInputs
from services.calculator.options import CalculatedDevice, Calculator

log = logging.getLogger(__name__)

WAIT_SECONDS = 1.0
FACTS_SECONDS = 2.0

Inbox: TypeAlias = "queue.SimpleQueue[Message | None]"  # None: a connection to the broker has begun


def listen(options: Calculator, service: Service, inbox: Inbox) -> None:
    """Subscribe to the inputs of the formulas; raise ConfigError if one names a calculated device with the node's own name."""
    _refuse_own_results(options, service.node)
    names = [
        name
        for device in options.devices.values()
        for calculated in device.channels.values()
        for name in calculated.parsed.names
    ]
    for node in sorted({name.node or service.node for name in names}):
        service.bus.subscribe(topics.every_service("journal", node), inbox.put)
        service.bus.subscribe(topics.every_service("replay", node), inbox.put)
    service.bus.on_connect(partial(inbox.put, None))


def main(options: Calculator, service: Service, inbox: Inbox) -> None:
    """Calculate until the process is stopped."""
    if not options.devices:
        log.warning("no [calculator.devices.NAME] in the configuration: nothing to calculate")
    producer = service.producer()
    for name, device in options.devices.items():
        producer.declare(name, info(device, service.name))
    damage = Damage()
    stored = StoredInputs(partial(open_reader, service.store.data, url=service.store.url, damage=damage))
    calculations = Calculations(options, service, producer, stored)
    calculations.load()
    service.watch(calculations.counters)
    until_stopped(service, partial(_work, calculations, inbox, service, damage), calculations.finish)


def info(device: CalculatedDevice, service: str) -> Info:
    """Return the description of a calculated device."""
    channels = {
        name: Channel(units.spelled(calculated.unit), calculated.kind, calculated.label)
        for name, calculated in device.channels.items()
    }
    return Info(device.model, channels, device.interval, service)


def _refuse_own_results(options: Calculator, node: str) -> None:
    """Raise ConfigError if a formula uses a calculated device by way of the node's own name."""
    for name, device in options.devices.items():
        for channel, calculated in device.channels.items():
            for used in calculated.parsed.names:
                if used.node == node and used.device in options.devices:
                    raise ConfigError(
                        f"[calculator] devices.{name}.channels.{channel}: formula: {used} is calculated here;"
                        f" leave {node}/ out if it is of the same device, else write its formula out"
                    )


def _work(calculations: Calculations, inbox: Inbox, service: Service, damage: Damage) -> None:
    """Handle messages until it is time to save, and save; raise OSError if the disk refuses."""
    reported_at = 0.0
    while not calculations.is_save_due():
        service.alive()
        calculations.drop_what_is_ahead()
        calculations.follow_renames()
        calculations.catch_up()
        try:
            calculations.take(inbox.get(timeout=WAIT_SECONDS))
        except queue.Empty:
            reported_at = 0.0
        if time.monotonic() - reported_at >= FACTS_SECONDS:
            reported_at = time.monotonic()
            calculations.publish_availability()
            service.fact("devices", calculations.facts())
            service.fact("store_problems", damage.problems())
    calculations.save()
