"""From the journals to derived devices: take, calculate, keep, acknowledge. In that order."""

import logging
import math
import queue
import time
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import msgspec

from heliograph import topics, units
from heliograph.bus import Message
from heliograph.errors import ConfigError, MessageError
from heliograph.messages import Block, Channel, Info, frames, is_value
from heliograph.producer import Producer
from heliograph.service import Service
from heliograph.write_loop import until_stopped
from services.calculator.checkpoint import File
from services.calculator.grid import Grid, Source
from services.calculator.history import History
from services.calculator.options import Calculator, Device

log = logging.getLogger(__name__)

SAVE_SECONDS = 60.0
SAVE_MESSAGES = 1_000  # well below what the broker sends without an acknowledgement
WAIT_SECONDS = 1.0
FACTS_SECONDS = 2.0
AHEAD_SECONDS = 86_400.0  # a time further ahead of the clock is wrong
FAR_FUTURE = float(1 << 40)  # as far as a producer goes

Inbox: TypeAlias = "queue.SimpleQueue[Message]"


class Calculations:
    """Takes messages in the order they came, publishes what comes out, and acknowledges them once that is safe."""

    def __init__(self, options: Calculator, service: Service, producer: Producer) -> None:
        self._service = service
        self._producer = producer
        self._histories: dict[Source, History] = {}
        self._file = File(service.data / "calculator" / "checkpoint.json")
        self._grids = {
            name: Grid(name, device, service.node, self._histories) for name, device in options.devices.items()
        }
        self._wanted: dict[tuple[str, str], dict[str, Source]] = {}
        self._users: dict[Source, list[Grid]] = {}
        for grid in self._grids.values():
            for source in set(grid.inputs.values()):
                self._wanted.setdefault((source.node, source.device), {})[source.channel] = source
                self._users.setdefault(source, []).append(grid)
        self._patience = {
            name: device.max_age + device.wait + device.interval for name, device in options.devices.items()
        }
        self._heard: dict[str, float] = {}
        self._acks: list[Callable[[], object]] = []
        self._saved = time.monotonic()
        self._busy = False
        self.readings = self.forgotten = 0

    def load(self) -> None:
        """Go on where the last process was; what cannot be read is told, and forgotten."""
        try:
            self._file.load(self._histories, list(self._grids.values()))
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("the checkpoint cannot be read (%s): results around the restart may be missing", error)

    def take(self, message: Message) -> None:
        """Take one message and publish what follows from it; its acknowledgement waits for `save`."""
        self._busy = True
        try:
            parsed = topics.parse(message.topic)
            own = (parsed.node, parsed.owner) == (self._service.node, self._service.name)
            for frame in () if own else frames(message.payload):
                for block in frame.blocks:
                    if wanted := self._wanted.get((parsed.node, block.device)):
                        self._block(block, wanted, message.topic)
        except (MessageError, ValueError) as error:
            self._service.set_aside(str(error), message.payload[:1000], message.topic)
        self._publish()
        self._acks.append(message.ack)
        self._busy = False

    def due(self) -> bool:
        """Whether it is time to save."""
        waited = time.monotonic() - self._saved
        return bool(self._acks) and (len(self._acks) >= SAVE_MESSAGES or waited >= SAVE_SECONDS)

    def save(self) -> None:
        """Make everything durable that was taken and calculated, and acknowledge it; raise OSError if the disk refuses."""
        if not self._producer.flush():
            raise OSError("the outbox cannot be written")
        self._file.save(self._histories, list(self._grids.values()))
        self._busy = True
        for ack in self._acks:
            ack()
        self._acks.clear()
        self._saved = time.monotonic()
        self._busy = False

    def finish(self) -> None:
        """Save a last time, unless a signal came in the middle of something: then it comes again."""
        if self._acks and not self._busy:
            self.save()

    def watch(self) -> None:
        """Say which devices are there: those of which something came out lately."""
        now = time.monotonic()
        for name, grid in self._grids.items():
            is_online = grid.is_fresh and now - self._heard.get(name, -math.inf) < self._patience[name]
            self._producer.availability(name, "online" if is_online else "offline")

    def counters(self) -> dict[str, int]:
        """Return what the status counts."""
        grids = self._grids.values()
        return {
            "inputs": self.readings,
            "calculated": sum(grid.calculated for grid in grids),
            "revised": sum(grid.revised for grid in grids),
            "without_value": sum(grid.without_value for grid in grids),
            "too_late": self.forgotten,
            "unacknowledged": len(self._acks),
        }

    def facts(self) -> dict[str, object]:
        """Return of each device up to when it is calculated, and which inputs had no value then."""
        return {
            name: {
                "until": grid.next * grid.interval / 1000 if grid.next is not None else None,
                "missing": grid.missing,
            }
            for name, grid in self._grids.items()
        }

    def _block(self, block: Block, wanted: dict[str, Source], where: str) -> None:
        columns = [(place, wanted[name]) for place, name in enumerate(block.channels, 1) if name in wanted]
        if not columns:
            return
        clock = self._service.clock
        latest = clock.now() + AHEAD_SECONDS if clock.synchronised else FAR_FUTURE
        for row in block.rows:
            at = row[0] if len(row) == len(block.channels) + 1 else None
            if isinstance(at, bool) or not isinstance(at, int | float) or not 0 <= at <= latest:
                self._service.set_aside("not a reading, or of the future", repr(row)[:200], where)
                continue
            self.readings += 1
            moment = round(at * 1000)
            for place, source in columns:
                if not isinstance(row[place], str) and is_value(row[place]):
                    self._value(source, moment, float(row[place]))

    def _value(self, source: Source, at: int, value: float) -> None:
        history = self._histories[source]
        if history.is_forgotten(at):
            self.forgotten += 1
        elif history.take(at, value):
            for grid in self._users[source]:
                grid.changed(source, at)
                self._heard[grid.name] = time.monotonic()

    def _publish(self) -> None:
        for name, grid in self._grids.items():
            for result in grid.results():
                self._producer.publish(name, result.values, result.at / 1000)


def listen(options: Calculator, service: Service, inbox: Inbox) -> None:
    """Subscribe to what the formulas need; raise ConfigError if one asks for what is calculated here by the node's name."""
    _refuse_circles(options, service.node)
    asked = [
        name for device in options.devices.values() for one in device.channels.values() for name in one.parsed.names
    ]
    for node in sorted({name.node or service.node for name in asked}):
        service.bus.subscribe(topics.every_service("journal", node), inbox.put)
        service.bus.subscribe(topics.every_service("replay", node), inbox.put)


def main(options: Calculator, service: Service, inbox: Inbox) -> None:
    """Calculate until the process is told to stop."""
    if not options.devices:
        log.warning("no [calculator.devices.NAME] in the configuration: nothing to calculate")
    producer = service.producer()
    for name, device in options.devices.items():
        producer.declare(name, info(device, service.name))
    calculations = Calculations(options, service, producer)
    calculations.load()
    service.watch(calculations.counters)
    until_stopped(service, partial(_work, calculations, inbox, service), calculations.finish)


def info(device: Device, service: str) -> Info:
    """Return what a calculated device is."""
    channels = {
        name: Channel(units.spelled(derived.unit), derived.kind, derived.label)
        for name, derived in device.channels.items()
    }
    return Info(device.model, channels, device.interval, service)


def _refuse_circles(options: Calculator, node: str) -> None:
    """Raise ConfigError if a formula asks, by way of the node's own name, for what is calculated here."""
    for name, device in options.devices.items():
        for channel, derived in device.channels.items():
            for asked in derived.parsed.names:
                if asked.node == node and asked.device in options.devices:
                    raise ConfigError(
                        f"[calculator] devices.{name}.channels.{channel}: formula: {asked} is calculated here;"
                        f" leave {node}/ out if it is of the same device, else write its formula out"
                    )


def _work(calculations: Calculations, inbox: Inbox, service: Service) -> None:
    """Take what comes until it is time to save, and save; raise OSError if the disk refuses."""
    shown = 0.0
    while not calculations.due():
        service.alive()
        try:
            calculations.take(inbox.get(timeout=WAIT_SECONDS))
        except queue.Empty:
            shown = 0.0
        if time.monotonic() - shown >= FACTS_SECONDS:
            shown = time.monotonic()
            calculations.watch()
            service.fact("devices", calculations.facts())
    calculations.save()
