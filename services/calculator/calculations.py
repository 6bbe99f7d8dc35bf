"""What is calculated from the messages of the journals: receive, calculate, save, acknowledge. In that order."""

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import msgspec

from heliograph import topics
from heliograph.bus import Message
from heliograph.errors import MessageError, StoreAway, StoreDamaged
from heliograph.messages import Block, frames, is_value
from heliograph.producer import Producer
from heliograph.service import Service
from services.calculator.catching_up import FAR_FUTURE, CatchUp, StoredInputs, starts, times
from services.calculator.checkpoint import CheckpointFile
from services.calculator.grid import Grid, InputChannel
from services.calculator.history import InputHistory
from services.calculator.options import Calculator

log = logging.getLogger(__name__)

SAVE_SECONDS = 60.0
STORED_AT_ONCE = 500  # values between two calculations
SAVE_MESSAGES = 1_000  # well below what the broker sends without an acknowledgement
AHEAD_SECONDS = 86_400.0  # a time further ahead of the clock is wrong
RENAMES_SECONDS = 10.0  # between two questions for renames, while the store is away


class Calculations:
    """Handles messages in the order they came, publishes the results, and acknowledges the messages once that is safe."""

    def __init__(self, options: Calculator, service: Service, producer: Producer, stored: StoredInputs) -> None:
        self._stored = stored
        self._catch_up = CatchUp(stored, time.monotonic)
        self._service = service
        self._producer = producer
        self._histories: dict[InputChannel, InputHistory] = {}
        self._file = CheckpointFile(service.data / "calculator" / "checkpoint.json")
        self._grids = {
            name: Grid(name, device, service.node, self._histories) for name, device in options.devices.items()
        }
        self._inputs: dict[tuple[str, str], dict[str, InputChannel]] = {}  # by node and device, then by channel
        self._dependents: dict[InputChannel, list[Grid]] = {}
        for grid in self._grids.values():
            for channel in set(grid.inputs.values()):
                self._inputs.setdefault((channel.node, channel.device), {})[channel.channel] = channel
                self._dependents.setdefault(channel, []).append(grid)
        self._online_seconds = {
            name: device.max_age + device.wait + device.interval for name, device in options.devices.items()
        }
        self._last_input: dict[str, float] = {}  # by calculated device, in seconds of the monotonic clock
        self._acks: list[Callable[[], object]] = []
        self._saved = time.monotonic()
        self._busy = False
        self.readings = self.too_late = self.from_store = 0
        self.store_error = ""
        self._ask_at = -math.inf  # for renames

    def load(self) -> None:
        """Continue from the checkpoint; one that cannot be read is logged, and ignored."""
        try:
            self._file.load(self._histories, list(self._grids.values()))
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("the checkpoint cannot be read (%s): results around the restart may be missing", error)
        self.follow_renames()

    def follow_renames(self) -> None:
        """Continue also what the checkpoint has under other names, once the store tells what was renamed."""
        now = time.monotonic()
        if not self._file.is_waiting or now < self._ask_at:
            return
        self._ask_at = now + RENAMES_SECONDS
        if (renames := self._stored.renames()) is None:
            return
        self._file.follow(self._service.node, self._histories, list(self._grids.values()), renames)

    def drop_what_is_ahead(self) -> None:
        """Continue from now if inputs or steps are more than a day ahead of a clock that is right, and log a warning.

        They are of a time when the clock was wrong. Without this the calculator would wait until that time comes.
        """
        if self._service.clock.synchronised:
            latest = round((self._service.clock.now() + AHEAD_SECONDS) * 1000)
            _drop_after(latest, self._histories, self._grids.values())

    def take(self, message: Message | None) -> None:
        """Handle a message, or hold it while earlier ones may be missing; None is the beginning of a connection."""
        if message is None:
            if _has_values(self._histories):
                self._catch_up.begin()
        elif self._catch_up.is_holding:
            self._catch_up.held.append(message)
        else:
            self.handle(message)

    def catch_up(self) -> None:
        """Once it is time, calculate with what the store has, and with the messages that waited for that."""
        if not self._catch_up.is_check_due():
            return
        try:
            if self._catch_up.is_read_due(partial(times, self._inputs)):
                self._read_store()
                self._catch_up.was_read()
                self.store_error = ""
        except (StoreAway, StoreDamaged) as error:
            if not self.store_error:
                log.warning("the store cannot be read: %s; what the broker lost is missing until it can", error)
            self.store_error = str(error)
        if not self._catch_up.is_holding:
            for message in self._catch_up.released():
                self.handle(message)

    def handle(self, message: Message) -> None:
        """Publish the results that follow from one message; its acknowledgement waits for `save`."""
        self._busy = True
        try:
            parsed = topics.parse(message.topic)
            own = (parsed.node, parsed.owner) == (self._service.node, self._service.name)
            for frame in () if own else frames(message.payload):
                for block in frame.blocks:
                    if inputs := self._inputs.get((parsed.node, block.device)):
                        self._add_block(block, inputs, message.topic)
        except (MessageError, ValueError) as error:
            self._service.set_aside(str(error), message.payload[:1000], message.topic)
        self._publish()
        self._acks.append(message.ack)
        self._busy = False

    def is_save_due(self) -> bool:
        """Whether it is time to save; at once with the first value, because the store is read from what is known."""
        is_long_ago = time.monotonic() - self._saved >= SAVE_SECONDS
        is_first = _has_values(self._histories) and not self._file.has_values
        return bool(self._acks) and (len(self._acks) >= SAVE_MESSAGES or is_long_ago or is_first)

    def save(self) -> None:
        """Make inputs and results durable, and acknowledge the messages; raise OSError if the disk refuses."""
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
        """Save a last time, unless the signal interrupted a message: then the broker sends that one again."""
        if self._acks and not self._busy:
            self.save()

    def publish_availability(self) -> None:
        """Publish as online the devices that had a result lately, and the others as offline."""
        now = time.monotonic()
        for name, grid in self._grids.items():
            waited = now - self._last_input.get(name, -math.inf)
            is_online = grid.is_fresh and waited < self._online_seconds[name]
            self._producer.availability(name, "online" if is_online else "offline")

    def counters(self) -> dict[str, int]:
        """Return the counters for the status."""
        grids = self._grids.values()
        return {
            "inputs": self.readings,
            "calculated": sum(grid.calculated for grid in grids),
            "revised": sum(grid.revised for grid in grids),
            "without_value": sum(grid.without_value for grid in grids),
            "too_late": self.too_late,
            "inputs_from_store": self.from_store,
            "unacknowledged": len(self._acks),
        }

    def facts(self) -> dict[str, object]:
        """Return until when each device is calculated, in seconds since 1970 UTC, and which inputs had no value then."""
        return {
            name: {
                "calculated_until": grid.next_step * grid.interval / 1000 if grid.next_step is not None else None,
                "missing_inputs": grid.missing_inputs,
            }
            for name, grid in self._grids.items()
        }

    def _add_block(self, block: Block, inputs: dict[str, InputChannel], topic: str) -> None:
        columns = [(index, inputs[name]) for index, name in enumerate(block.channels, 1) if name in inputs]
        if not columns:
            return
        clock = self._service.clock
        latest = clock.now() + AHEAD_SECONDS if clock.synchronised else FAR_FUTURE
        for row in block.rows:
            at = row[0] if len(row) == len(block.channels) + 1 else None
            if isinstance(at, bool) or not isinstance(at, int | float) or not 0 <= at <= latest:
                self._service.set_aside("not a reading, or of the future", repr(row)[:200], topic)
                continue
            self.readings += 1
            moment = round(at * 1000)
            for index, channel in columns:
                if not isinstance(row[index], str) and is_value(row[index]):
                    self._add_value(channel, moment, float(row[index]))

    def _add_value(self, channel: InputChannel, at: int, value: float) -> bool:
        """Add a value to the history of its input; return whether that changed anything."""
        history = self._histories[channel]
        if history.is_too_old(at):
            self.too_late += 1
            return False
        if not history.add(at, value):
            return False
        for grid in self._dependents[channel]:
            grid.input_changed(channel, at)
            self._last_input[grid.name] = time.monotonic()
        return True

    def _read_store(self) -> None:
        """Calculate with the values of the store since the oldest that is known of each input."""
        clock = self._service.clock
        end = clock.now() + AHEAD_SECONDS if clock.synchronised else FAR_FUTURE
        for number, stored in enumerate(self._stored.values(starts(self._histories), end)):
            if not self._histories[stored.channel].is_too_old(stored.at):
                self.from_store += self._add_value(stored.channel, stored.at, stored.value)
            if number % STORED_AT_ONCE == 0:
                self._publish()
                self._service.alive()
        self._publish()

    def _publish(self) -> None:
        for name, grid in self._grids.items():
            for result in grid.results():
                self._producer.publish(name, result.values, result.at / 1000)


def _drop_after(latest: int, histories: Mapping[InputChannel, InputHistory], grids: Iterable[Grid]) -> None:
    channels = [channel for channel, history in histories.items() if history.drop_after(latest)]
    devices = [grid.name for grid in grids if grid.drop_after(latest)]
    if channels or devices:
        log.warning(
            "values of the inputs %s and results of %s were more than a day ahead of the clock, which must have been"
            " wrong: they are dropped from the checkpoint, and calculation continues from now",
            ", ".join(map("{0.node}/{0.device}.{0.channel}".format, channels)) or "(none)",
            ", ".join(devices) or "(none)",
        )


def _has_values(histories: Mapping[InputChannel, InputHistory]) -> bool:
    return any(history.newest is not None for history in histories.values())
