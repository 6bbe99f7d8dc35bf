"""A pulse counter: a GPIO line that is watched until the service stops."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from heliograph.messages import Channel, Info
from heliograph.producer import Producer
from heliograph.service import Service
from services.sensor_reader.options import PULSES, CounterOptions
from services.sensor_reader.pulses.count_file import CountFile
from services.sensor_reader.pulses.edges import Edge, EdgeCounter
from services.sensor_reader.pulses.gpio import GpioLine, RequestedLine

log = logging.getLogger(__name__)

WAIT_SECONDS = 0.5  # how long a line without edges may keep its thread from stopping
RETRY_SECONDS = 5.0
SYNC_SECONDS = 60.0  # the pulses that a power cut may cost; more often wears the SD card
FOLDER = "sensor_reader"

RequestLine = Callable[[CounterOptions, Path], RequestedLine]


class PulseCounter:
    """Counts the pulses of one line in a thread of its own; an unavailable line is requested again until it works."""

    def __init__(
        self,
        options: CounterOptions,
        root: str,
        service: Service,
        producer: Producer,
        request_line: RequestLine = GpioLine,
    ) -> None:
        self._options = options
        self._root = Path(root)
        self._service = service
        self._producer = producer
        self._request_line = request_line
        self._stop = threading.Event()
        self._failure = ""
        self._reported = (0, 0)
        self._synced = time.monotonic()
        self._due = 0.0
        producer.declare(
            options.name, Info("pulse counter", {PULSES: Channel(kind="counter")}, options.interval, service.name)
        )
        self._thread = threading.Thread(target=self._run, name=f"counter {options.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop counting."""
        self._stop.set()

    def join(self, seconds: float) -> None:
        """Wait until the count is saved."""
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                file = CountFile(self._service.data / FOLDER / file_name(self._options), self._options.initial_count)
            except OSError as error:
                self._offline(f"cannot open the file with its count: {error}")
                self._stop.wait(RETRY_SECONDS)
                continue
            if file.damaged:
                self._service.set_aside("the file with the count is damaged", file_name(self._options), "")
            try:
                self._count(file)
            finally:
                self._close(file)

    def _count(self, file: CountFile) -> None:
        """Count until `stop`, requesting the line again whenever it is unavailable."""
        counter = EdgeCounter(file.count, self._options.debounce)
        while not self._stop.is_set():
            try:
                line = self._request_line(self._options, self._root)
            except (OSError, ValueError) as error:
                self._offline(getattr(error, "strerror", None) or str(error))
                self._stop.wait(RETRY_SECONDS)
                continue
            counter.reopened()
            self._online()
            try:
                while not self._stop.is_set():
                    self._wait(line, counter, file)
                # Edges that came since the last read: the kernel drops them with the request.
                self._add(line.edges(0.0), counter, file)
            except OSError as error:
                self._offline(str(error))
            finally:
                line.close()
            self._stop.wait(RETRY_SECONDS)

    def _wait(self, line: RequestedLine, counter: EdgeCounter, file: CountFile) -> None:
        """Wait for edges, at most until the count is due to be published."""
        name = self._options.name
        wait = min(WAIT_SECONDS, max(0.0, self._due - time.monotonic()))
        self._add(line.edges(wait), counter, file)
        bounced, overflowed = self._reported
        if (counter.bounced, counter.overflowed) != self._reported:
            self._service.count("bounced", counter.bounced - bounced)
            self._service.count("overflowed", counter.overflowed - overflowed)
            self._reported = (counter.bounced, counter.overflowed)
        if time.monotonic() >= self._due:
            self._producer.publish(name, {"pulses": counter.count})
            self._due = time.monotonic() + self._options.interval

    def _add(self, edges: list[Edge], counter: EdgeCounter, file: CountFile) -> None:
        counter.add(edges)
        if counter.count != file.count:
            self._save(file, counter.count)

    def _save(self, file: CountFile, count: int) -> None:
        """Save the count before it is published, so that it never goes back."""
        try:
            file.save(count)
            if time.monotonic() - self._synced >= SYNC_SECONDS:
                self._synced = time.monotonic()
                file.sync()
        except OSError as error:
            file.count = count
            self._service.count("unsaved_counts")
            self._service.set_aside(f"cannot save the count: {error}", str(count), self._options.name)

    def _close(self, file: CountFile) -> None:
        try:
            file.close()
        except OSError as error:
            self._service.set_aside(f"cannot save the count: {error}", str(file.count), self._options.name)

    def _online(self) -> None:
        log.info("%s: counting on line %s", self._options.name, self._options.line)
        self._failure = ""
        self._producer.availability(self._options.name, "online")
        self._service.fact(f"counter:{self._options.name}", {"state": "online", "line": self._options.line})
        self._service.port_away(f"GPIO line {self._options.line}", "")

    def _offline(self, why: str) -> None:
        """Publish that the counter is offline; log each reason once."""
        if why != self._failure:
            log.warning("%s: %s; retrying", self._options.name, why)
        self._failure = why
        self._producer.availability(self._options.name, "offline")
        facts = {"state": "offline", "line": self._options.line, "why": why}
        self._service.fact(f"counter:{self._options.name}", facts)
        self._service.port_away(f"GPIO line {self._options.line}", why)


def file_name(options: CounterOptions) -> str:
    """Return the name of the file with the count."""
    return f"{options.name}.count"
