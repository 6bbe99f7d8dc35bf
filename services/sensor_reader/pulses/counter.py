"""A pulse counter: a line that is watched for as long as the service lives."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from heliograph.messages import Channel, Info
from heliograph.producer import Producer
from heliograph.service import Service
from services.sensor_reader.options import Counter
from services.sensor_reader.pulses.count_file import CountFile
from services.sensor_reader.pulses.edges import Edge, Pulses
from services.sensor_reader.pulses.gpio import GpioLine, Line

log = logging.getLogger(__name__)

LISTEN_SECONDS = 0.5  # how long a silent line may keep its thread from stopping
RETRY_SECONDS = 5.0
SYNC_SECONDS = 60.0  # as many pulses as a power cut may take; more often wears the card
FOLDER = "sensor_reader"

Open = Callable[[Counter, Path], Line]


class Watch:
    """Counts the pulses of one line in a thread of its own; a line that goes away is requested again for ever."""

    def __init__(
        self, counter: Counter, root: str, service: Service, producer: Producer, open_line: Open = GpioLine
    ) -> None:
        self._counter = counter
        self._root = Path(root)
        self._service = service
        self._producer = producer
        self._open_line = open_line
        self._stop = threading.Event()
        self._trouble = ""
        self._shown = (0, 0)
        self._synced = time.monotonic()
        self._due = 0.0
        producer.declare(
            counter.name, Info("pulse counter", {"pulses": Channel(kind="counter")}, counter.interval, service.name)
        )
        self._thread = threading.Thread(target=self._run, name=f"counter {counter.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Count no more."""
        self._stop.set()

    def join(self, seconds: float) -> None:
        """Wait until the count is kept."""
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                file = CountFile(self._service.data / FOLDER / file_name(self._counter), self._counter.initial_count)
            except OSError as error:
                self._away(f"cannot open the file with its count: {error}")
                self._stop.wait(RETRY_SECONDS)
                continue
            if file.damaged:
                self._service.set_aside("the file with the count is damaged", file_name(self._counter), "")
            try:
                self._count(file)
            finally:
                self._close(file)

    def _count(self, file: CountFile) -> None:
        """Count until told to stop, through any absence of the line."""
        pulses = Pulses(file.count, self._counter.debounce)
        while not self._stop.is_set():
            try:
                line = self._open_line(self._counter, self._root)
            except (OSError, ValueError) as error:
                self._away(str(error))
                self._stop.wait(RETRY_SECONDS)
                continue
            pulses.reopened()
            self._there()
            try:
                while not self._stop.is_set():
                    self._listen(line, pulses, file)
                # Edges that came since the last read: the kernel drops them with the request.
                self._take(line.edges(0.0), pulses, file)
            except OSError as error:
                self._away(str(error))
            finally:
                line.close()
            self._stop.wait(RETRY_SECONDS)

    def _listen(self, line: Line, pulses: Pulses, file: CountFile) -> None:
        """Take what comes until it is time to tell the count."""
        name = self._counter.name
        wait = min(LISTEN_SECONDS, max(0.0, self._due - time.monotonic()))
        self._take(line.edges(wait), pulses, file)
        bounced, overflowed = self._shown
        if (pulses.bounced, pulses.overflowed) != self._shown:
            self._service.count("bounced", pulses.bounced - bounced)
            self._service.count("overflowed", pulses.overflowed - overflowed)
            self._shown = (pulses.bounced, pulses.overflowed)
        if time.monotonic() >= self._due:
            self._producer.publish(name, {"pulses": pulses.count})
            self._due = time.monotonic() + self._counter.interval

    def _take(self, edges: list[Edge], pulses: Pulses, file: CountFile) -> None:
        pulses.take(edges)
        if pulses.count != file.count:
            self._keep(file, pulses.count)

    def _keep(self, file: CountFile, count: int) -> None:
        """Save the count before anyone is told of it, so that it never goes back."""
        try:
            file.save(count)
            if time.monotonic() - self._synced >= SYNC_SECONDS:
                self._synced = time.monotonic()
                file.sync()
        except OSError as error:
            file.count = count
            self._service.count("unsaved_counts")
            self._service.set_aside(f"cannot save the count: {error}", str(count), self._counter.name)

    def _close(self, file: CountFile) -> None:
        try:
            file.close()
        except OSError as error:
            self._service.set_aside(f"cannot save the count: {error}", str(file.count), self._counter.name)

    def _there(self) -> None:
        log.info("%s: counting on line %s", self._counter.name, self._counter.line)
        self._trouble = ""
        self._producer.availability(self._counter.name, "online")
        self._service.fact(f"counter:{self._counter.name}", {"state": "online", "line": self._counter.line})

    def _away(self, why: str) -> None:
        """Say so once, however often trying again fails."""
        if why != self._trouble:
            log.warning("%s: %s; retrying", self._counter.name, why)
        self._trouble = why
        self._producer.availability(self._counter.name, "offline")
        facts = {"state": "offline", "line": self._counter.line, "why": why}
        self._service.fact(f"counter:{self._counter.name}", facts)


def file_name(counter: Counter) -> str:
    """Return what the file with a counter's count is called."""
    return f"{counter.name}.count"
