"""One line, polled for as long as the service lives."""

import logging
import queue
import random
import threading
import time

from heliograph.messages import Availability
from heliograph.producer import Producer
from heliograph.service import Service
from services.modbus_poller import models, writing
from services.modbus_poller.client import Client
from services.modbus_poller.errors import LineDown
from services.modbus_poller.options import Device, Line
from services.modbus_poller.polling import Polled, Result
from services.modbus_poller.reads import Block
from services.modbus_poller.schedule import Schedule, Turn
from services.modbus_poller.sunspec.device import SunSpec
from services.modbus_poller.writing import Command

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0  # how often a worker with nothing to do shows that it is alive
REOPEN_SECONDS = 1.0
LAST_REOPEN_SECONDS = 30.0


class Worker:
    """Polls the devices of one line and publishes what they say; `moved` is its last sign of life.

    Ticks come `phase` seconds late, so that many lines do not all ask at once. Runs until `stop` is set. A line that goes away is opened again for ever; of each loss
    there is one line in the log, and one of the return.
    """

    def __init__(
        self, line: Line, service: Service, producer: Producer, stop: threading.Event, phase: float = 0.0
    ) -> None:
        self._line = line
        self._service = service
        self._producer = producer
        self._stop = stop
        self._client = Client(line)
        self._polled = {device.name: _polled(device) for device in line.devices}
        self._commands: queue.SimpleQueue[Command | None] = queue.SimpleQueue()
        self._wall = time.time() - time.monotonic() - phase
        self._schedule = Schedule(
            {device.name: device.interval for device in line.devices},
            line.timeout,
            lambda: random.uniform(0.9, 1.1),
            self._now(),
        )
        self._down = False
        self._reopen_seconds = REOPEN_SECONDS
        self.moved = time.monotonic()

    def obey(self, command: Command) -> None:
        """Carry out a command before the next poll; called from any thread."""
        self._commands.put(command)

    def wake(self) -> None:
        """Let the worker see at once that it is to stop."""
        self._commands.put(None)

    def run(self) -> None:
        """Poll until told to stop."""
        for name in self._polled:
            self._declare(name)
        while not self._stop.is_set():
            self.moved = time.monotonic()
            try:
                with self._client:
                    self._serve()
            except LineDown as error:
                self._lost(error)
                self._rest(self._reopen_seconds, f"the line is down: {error}")
                self._reopen_seconds = min(2 * self._reopen_seconds, LAST_REOPEN_SECONDS)

    def _lost(self, error: LineDown) -> None:
        self._service.count("connection_losses")
        if not self._down:
            self._down = True
            log.warning("%s: %s", self._line.port, error)
            for name in self._polled:
                self._tell(name, "offline", f"the line is down: {error}")

    def _serve(self) -> None:
        self._schedule.restart(self._now())
        while not self._stop.is_set():
            self.moved = time.monotonic()
            turn = self._schedule.turn(self._now())
            if not self._commands.empty():
                self._rest(0.0)
            elif turn is None:
                self._rest(min(self._schedule.wait(self._now()), LOOK_SECONDS))
            elif turn.probe:
                self._probe(turn)
            else:
                self._poll(turn)

    def _rest(self, seconds: float, refusal: str = "") -> None:
        """Wait for a command or the end of the time, and carry the command out, or answer with a refusal."""
        end = time.monotonic() + seconds
        while not self._stop.is_set():
            try:
                command = self._commands.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                return
            if command and refusal:
                writing.tell(self._service, command, {}, dict.fromkeys(command.values, refusal))
            elif command:
                self._write(command)
                return

    def _write(self, command: Command) -> None:
        polled = self._polled[command.device]
        try:
            values, refused = polled.write(
                command.values,
                lambda function, address, words: self._client.write(
                    polled.device.unit_id, function, address, words, self._pause(polled)
                ),
                lambda block: self._read(polled, block),
            )
        except LineDown as error:
            writing.tell(self._service, command, {}, dict.fromkeys(command.values, f"the line is down: {error}"))
            raise
        log.info("%s: wrote %s%s", command.device, values, f", refused {refused}" if refused else "")
        if values:
            clock = self._service.clock
            self._producer.publish(command.device, values, clock.now() if clock.synchronised else None)
        writing.tell(self._service, command, values, refused)

    def _probe(self, turn: Turn) -> None:
        polled = self._polled[turn.device]
        self._service.count("probes")
        failure = polled.probe(lambda block: self._read(polled, block))
        if failure:
            self._schedule.failed(turn, self._now())
        else:
            self._answered(turn)

    def _poll(self, turn: Turn) -> None:
        polled = self._polled[turn.device]
        clock = self._service.clock
        revision, left_out = polled.revision, polled.left_out
        at = clock.now() if clock.synchronised else None
        result = polled.poll(lambda block: self._read(polled, block), self._now())
        for why, what in result.bad:
            self._service.set_aside(why, what, turn.device)
        if polled.revision != revision:
            self._changed(turn.device, left_out)
        if result.values:
            self._producer.publish(turn.device, result.values, at)
        missed = self._schedule.missed
        if result.failure:
            self._failed(turn, result)
        else:
            self._service.count("polls")
            self._answered(turn)
        if self._schedule.missed > missed:
            self._service.count("missed_polls", self._schedule.missed - missed)

    def _read(self, polled: Polled, block: Block) -> list[int]:
        self._service.count("requests")
        self.moved = time.monotonic()
        return self._client.read(
            polled.device.unit_id,
            block.function,
            block.address,
            block.count,
            self._pause(polled),
        )

    def _pause(self, polled: Polled) -> float:
        return polled.model.header.request_delay if self._line.framing == "rtu" else 0.0

    def _answered(self, turn: Turn) -> None:
        if self._down:
            self._down = False
            log.info("%s: open again", self._line.port)
        self._reopen_seconds = REOPEN_SECONDS
        if self._schedule.answered(turn, self._now()):
            log.info("%s: answers again", turn.device)
        self._tell(turn.device, "online")

    def _failed(self, turn: Turn, result: Result) -> None:
        self._service.count("failed_polls")
        if self._schedule.failed(turn, self._now()):
            log.warning(
                "%s: %s; probing it again in %.0f s, then at longer intervals",
                turn.device,
                result.failure,
                self._schedule.retry_seconds(turn.device),
            )
            self._tell(turn.device, "offline", result.failure)

    def _tell(self, name: str, state: Availability, why: str = "") -> None:
        self._producer.availability(name, state)
        self._service.fact(
            f"device:{name}",
            {"state": state, "why": why, "unsupported": self._polled[name].left_out},
        )

    def _changed(self, name: str, left_out: list[str]) -> None:
        """Tell everyone what this device turned out to have, and log once what it has not."""
        polled = self._polled[name]
        if polled.left_out != left_out:
            log.info("%s: does not support %s", name, ", ".join(polled.left_out))
        self._declare(name)

    def _declare(self, name: str) -> None:
        self._producer.declare(name, self._polled[name].info(self._service.name))

    def _now(self) -> float:
        """Return wall-clock seconds as of the start, less the phase: ticks fall on round times, and no one sets this clock."""
        return self._wall + time.monotonic()


def _polled(device: Device) -> Polled:
    return SunSpec(device) if device.model == models.SUNSPEC else Polled(device)
