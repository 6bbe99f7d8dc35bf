"""One line, polled for as long as the service lives."""

import logging
import random
import threading
import time

from heliograph.messages import Availability
from heliograph.producer import Producer
from heliograph.service import Service
from services.modbus_poller.answers import LineDown
from services.modbus_poller.client import Client
from services.modbus_poller.options import Line
from services.modbus_poller.polling import Polled, Result
from services.modbus_poller.reads import Block
from services.modbus_poller.schedule import Schedule, Turn

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0  # how often a worker with nothing to do shows that it is alive
REOPEN_SECONDS = 1.0
LAST_REOPEN_SECONDS = 30.0


class Worker:
    """Polls the devices of one line and publishes what they say; `moved` is its last sign of life.

    Runs until `stop` is set. A line that goes away is opened again for ever; of each loss
    there is one line in the log, and one of the return.
    """

    def __init__(self, line: Line, service: Service, producer: Producer, stop: threading.Event) -> None:
        self._line = line
        self._service = service
        self._producer = producer
        self._stop = stop
        self._client = Client(line)
        self._polled = {device.name: Polled(device) for device in line.devices}
        self._wall = time.time() - time.monotonic()
        self._schedule = Schedule(
            {device.name: device.interval for device in line.devices},
            line.timeout,
            lambda: random.uniform(0.9, 1.1),
            self._now(),
        )
        self._down = False
        self._reopen_seconds = REOPEN_SECONDS
        self.moved = time.monotonic()

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
                self._stop.wait(self._reopen_seconds)
                self._reopen_seconds = min(2 * self._reopen_seconds, LAST_REOPEN_SECONDS)

    def _lost(self, error: LineDown) -> None:
        self._service.count("line_losses")
        if not self._down:
            self._down = True
            log.warning("%s: %s", self._line.port, error)
            for name in self._polled:
                self._tell(name, "offline", f"no line: {error}")

    def _serve(self) -> None:
        self._schedule.restart(self._now())
        while not self._stop.is_set():
            self.moved = time.monotonic()
            turn = self._schedule.turn(self._now())
            if turn is None:
                self._stop.wait(min(self._schedule.wait(self._now()), LOOK_SECONDS))
            elif turn.probe:
                self._probe(turn)
            else:
                self._poll(turn)

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
        left_out = polled.left_out
        at = clock.now() if clock.synchronised else None
        result = polled.poll(lambda block: self._read(polled, block), self._now())
        for why, what in result.bad:
            self._service.set_aside(why, what, turn.device)
        if result.values:
            self._producer.publish(turn.device, result.values, at)
        if polled.left_out != left_out:
            self._refused(turn.device)
        missed = self._schedule.missed
        if result.failure:
            self._failed(turn, result)
        else:
            self._service.count("polls")
            self._answered(turn)
        if self._schedule.missed > missed:
            self._service.count("missed_ticks", self._schedule.missed - missed)

    def _read(self, polled: Polled, block: Block) -> list[int]:
        self._service.count("requests")
        self.moved = time.monotonic()
        return self._client.read(
            polled.device.unit,
            block.function,
            block.address,
            block.count,
            polled.model.head.pause if self._line.framing == "rtu" else 0.0,
        )

    def _answered(self, turn: Turn) -> None:
        if self._down:
            self._down = False
            log.info("%s: works again", self._line.port)
        self._reopen_seconds = REOPEN_SECONDS
        if self._schedule.answered(turn, self._now()):
            log.info("%s: answers again", turn.device)
        self._tell(turn.device, "online")

    def _failed(self, turn: Turn, result: Result) -> None:
        self._service.count("failed_polls")
        if self._schedule.failed(turn, self._now()):
            log.warning(
                "%s: %s; asking again in %.0f s, then ever more rarely",
                turn.device,
                result.failure,
                self._schedule.retry_seconds(turn.device),
            )
            self._tell(turn.device, "offline", result.failure)

    def _tell(self, name: str, state: Availability, why: str = "") -> None:
        self._producer.availability(name, state)
        self._service.fact(
            f"device:{name}",
            {"state": state, "why": why, "refused": self._polled[name].left_out},
        )

    def _refused(self, name: str) -> None:
        """Tell once, and everyone, which channels this device does not have."""
        log.info("%s: does not have %s", name, ", ".join(self._polled[name].left_out))
        self._declare(name)

    def _declare(self, name: str) -> None:
        self._producer.declare(name, self._polled[name].info(self._service.name))

    def _now(self) -> float:
        """Return wall-clock seconds as of the start: ticks fall on round times, and no one sets this clock."""
        return self._wall + time.monotonic()
