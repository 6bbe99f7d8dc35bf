"""One line, polled until the service stops."""

import logging
import queue
import random
import threading
import time

from heliograph.backoff import Backoff, steady
from heliograph.producer import Producer
from heliograph.service import Service
from services.modbus_poller import models, writing
from services.modbus_poller.client import LineClient
from services.modbus_poller.errors import LineDown
from services.modbus_poller.options import DeviceOptions, LineOptions
from services.modbus_poller.polling import PolledDevice, PollResult
from services.modbus_poller.reads import ReadRequest
from services.modbus_poller.report import LineReport
from services.modbus_poller.schedule import Schedule, Turn
from services.modbus_poller.sunspec.device import SunSpecDevice
from services.modbus_poller.writing import SetCommand

log = logging.getLogger(__name__)

IDLE_SECONDS = 5.0  # how often an idle worker updates last_progress
REOPEN_SECONDS = 1.0
LAST_REOPEN_SECONDS = 30.0


class LineWorker:
    """Polls the devices of one line and publishes their readings, until `stop` is set.

    `last_progress` is when it last did something, on the monotonic clock. Ticks come `phase` seconds late, so that
    many lines do not poll at once. A line that goes down is opened again until it works; the log has one line for
    the loss and one for the return.
    """

    def __init__(
        self,
        line: LineOptions,
        service: Service,
        producer: Producer,
        stop: threading.Event,
        phase: float = 0.0,
        client: LineClient | None = None,
    ) -> None:
        self._line = line
        self._service = service
        self._producer = producer
        self._stop = stop
        self._client = client or LineClient(line)
        self._devices = {device.name: _device(device, line.framing == "rtu") for device in line.devices}
        self._commands: queue.SimpleQueue[SetCommand | None] = queue.SimpleQueue()
        self._clock_offset = time.time() - time.monotonic() - phase
        self._schedule = Schedule(
            {device.name: device.interval for device in line.devices},
            line.timeout,
            lambda: random.uniform(0.9, 1.1),
            self._now(),
        )
        self._line_down = False
        self._why_down = ""
        self._report = LineReport(line.port, self._devices, service, producer)
        self._reopening = Backoff(REOPEN_SECONDS, LAST_REOPEN_SECONDS, steady)
        self.last_progress = time.monotonic()

    def submit(self, command: SetCommand) -> None:
        """Carry out a command before the next poll; thread-safe."""
        self._commands.put(command)

    def wake(self) -> None:
        """End the current wait, so that the worker notices `stop` at once; thread-safe."""
        self._commands.put(None)

    def run(self) -> None:
        """Poll until `stop` is set."""
        for name in self._devices:
            self._report.declare(name)
        while not self._stop.is_set():
            self.last_progress = time.monotonic()
            try:
                with self._client:
                    self._serve()
            except LineDown as error:
                self._line_lost(error)
                self._wait(self._reopening.next(), f"the line is down: {error}")

    def _line_lost(self, error: LineDown) -> None:
        self._service.count("connection_losses")
        if not self._line_down:
            self._line_down = True
            log.warning("%s: %s", self._line.port, error)
        if str(error) != self._why_down:
            self._why_down = str(error)
            for name in self._devices:
                self._report.state(name, "offline", f"the line is down: {error}")
        if self._line.serial:
            self._service.port_away(self._line.port, str(error))

    def _serve(self) -> None:
        self._why_down = ""
        self._service.port_away(self._line.port, "")
        self._schedule.restart(self._now())
        while not self._stop.is_set():
            self.last_progress = time.monotonic()
            turn = self._schedule.turn(self._now())
            if not self._commands.empty():
                self._wait(0.0)
            elif turn is None:
                self._wait(min(self._schedule.wait(self._now()), IDLE_SECONDS))
            elif turn.probe:
                self._probe(turn)
            else:
                self._poll(turn)

    def _wait(self, seconds: float, refusal: str = "") -> None:
        """Wait for a command or the end of the time; carry the command out, or respond with a refusal."""
        end = time.monotonic() + seconds
        while not self._stop.is_set():
            try:
                command = self._commands.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                return
            if command and refusal:
                writing.respond(self._service, command, {}, dict.fromkeys(command.values, refusal))
            elif command:
                self._write(command)
                return

    def _write(self, command: SetCommand) -> None:
        device = self._devices[command.device]
        try:
            values, refused = device.write(
                command.values,
                lambda function, address, registers: self._client.write(
                    device.options.unit_id, function, address, registers, self._request_delay(device)
                ),
                lambda request: self._read(device, request, wait=True),
            )
        except LineDown as error:
            writing.respond(self._service, command, {}, dict.fromkeys(command.values, f"the line is down: {error}"))
            raise
        log.info("%s: wrote %s%s", command.device, values, f", refused {refused}" if refused else "")
        if values:
            self._producer.publish(command.device, values)
        writing.respond(self._service, command, values, refused)

    def _probe(self, turn: Turn) -> None:
        device = self._devices[turn.device]
        self._service.count("probes")
        failure = device.probe(lambda request: self._read(device, request))
        if failure:
            self._schedule.failed(turn, self._now())
        else:
            self._answered(turn)

    def _poll(self, turn: Turn) -> None:
        device = self._devices[turn.device]
        clock = self._service.clock
        revision, unsupported = device.revision, device.unsupported
        at = clock.now() if clock.synchronised else None
        result = device.poll(lambda request: self._read(device, request), self._now())
        for why, what in result.invalid:
            self._service.set_aside(why, what, turn.device)
        if device.revision != revision:
            self._report.changed(turn.device, unsupported)
        if result.values:
            self._producer.publish(turn.device, result.values, arrived=at)
        missed = self._schedule.missed
        if result.held_back:
            self._service.count("held_back", len(result.held_back))
        if result.failure:
            self._failed(turn, result)
        elif result.held_back and not result.values:
            self._schedule.held_back(turn, self._now())
        else:
            self._service.count("polls")
            self._answered(turn)
        if self._schedule.missed > missed:
            self._service.count("missed_polls", self._schedule.missed - missed)

    def _read(self, device: PolledDevice, request: ReadRequest, *, wait: bool = False) -> list[int]:
        self._service.count("requests")
        self.last_progress = time.monotonic()
        before = self._client.late_responses, self._client.dropped_bytes
        try:
            return self._client.read(
                device.options.unit_id,
                request.function,
                request.address,
                request.count,
                self._request_delay(device),
                reuse=request.reuse,
                wait=wait,
            )
        finally:
            for name, count in self._client.counted_since(before):
                self._service.count(name, count)
            self._report.echoes(self._client.echoes)

    def _request_delay(self, device: PolledDevice) -> float:
        return device.model.header.request_delay if self._line.framing == "rtu" else 0.0

    def _answered(self, turn: Turn) -> None:
        if self._line_down:
            self._line_down = False
            log.info("%s: open again", self._line.port)
            for device in self._devices.values():
                device.reconnected()
        self._reopening.reset()
        if self._schedule.answered(turn, self._now()):
            log.info("%s: answers again", turn.device)
            self._devices[turn.device].reconnected()
        self._report.state(turn.device, "online")

    def _failed(self, turn: Turn, result: PollResult) -> None:
        self._service.count("failed_polls")
        if self._schedule.failed(turn, self._now()):
            log.warning(
                "%s: %s; probing it again in %.0f s, then at longer intervals",
                turn.device,
                result.failure,
                self._schedule.retry_delay(turn.device),
            )
            self._report.state(turn.device, "offline", result.failure)

    def _now(self) -> float:
        """Return the wall clock as of the start, in seconds, less the phase: ticks fall on round times, and it is never set."""
        return self._clock_offset + time.monotonic()


def _device(options: DeviceOptions, rtu: bool) -> PolledDevice:
    return SunSpecDevice(options, rtu=rtu) if options.model == models.SUNSPEC else PolledDevice(options, rtu=rtu)
