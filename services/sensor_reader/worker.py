"""Sensors that have to be asked one after the other, in a thread of their own."""

import threading
import time

import msgspec

from heliograph.messages import Availability
from heliograph.producer import Producer
from heliograph.service import Service
from services.sensor_reader import sensor as sensors
from services.sensor_reader.discovery import Named
from services.sensor_reader.sensor import Result

FAILURES = 3  # readings without a value, in a row, before a sensor counts as lost
LONGEST_SECONDS = 300.0  # between attempts at a lost one


class Task(msgspec.Struct):
    """A sensor and how it does; times in seconds of the lane's clock, `last` since 1970 UTC."""

    named: Named
    due: float
    state: str = ""
    why: str = ""
    failures: int = 0
    wait: float = 0.0
    last: float = 0.0

    def facts(self) -> dict[str, object]:
        """Return what the status shows of it."""
        sensor = self.named.sensor
        facts: dict[str, object] = {
            "state": self.state,
            "automatic_name": self.named.automatic,
            "model": sensor.model,
            "path": sensor.place,
        }
        if self.why:
            facts["why"] = self.why
        if self.last:
            facts["last_reading"] = round(self.last, 3)
        return facts


class Lane:
    """Asks its sensors when they are due, for ever; thread-safe.

    Ticks are whole multiples of the interval on the clock as of the start, which nobody sets.
    """

    def __init__(self, name: str, service: Service, producer: Producer) -> None:
        self._service = service
        self._producer = producer
        self._tasks: dict[str, Task] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._wall = time.time() - time.monotonic()
        self.asking_since = 0.0  # monotonic; 0 while nothing is asked
        self._thread = threading.Thread(target=self._run, name=f"lane {name}", daemon=True)
        self._thread.start()

    def add(self, named: Named) -> None:
        """Begin to ask a sensor, now."""
        self._producer.declare(named.name, named.sensor.info(named.interval, self._service.name))
        with self._lock:
            self._tasks[named.name] = Task(named, self._now())
        self._wake.set()

    def drop(self, name: str, why: str) -> None:
        """Ask a sensor no more, and say that it is offline."""
        with self._lock:
            if self._tasks.pop(name, None):
                self._producer.availability(name, "offline")
                self._service.fact(f"sensor:{name}", {"state": "offline", "why": why})

    def stuck(self, why: str) -> None:
        """Say that all its sensors are offline, until the driver returns after all."""
        with self._lock:
            for task in self._tasks.values():
                self._tell(task, "offline", why)

    def stop(self) -> None:
        """Ask nothing more."""
        self._stopping.set()
        self._wake.set()

    def join(self, seconds: float) -> None:
        """Wait for the end of the thread; one that hangs in its driver is left behind."""
        self._thread.join(seconds)

    def __len__(self) -> int:
        with self._lock:
            return len(self._tasks)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            with self._lock:
                task = min(self._tasks.values(), key=lambda task: task.due, default=None)
            wait = None if task is None else task.due - self._now()
            if task is None or wait is None or wait > 0:
                self._wake.wait(wait)
                continue
            self._ask(task)

    def _ask(self, task: Task) -> None:
        clock = self._service.clock
        at = clock.now() if clock.synchronised else None
        self.asking_since = time.monotonic()
        attempts = 1 if task.wait else sensors.ATTEMPTS
        result = sensors.read(task.named.sensor, self._stopping.wait, attempts)
        self.asking_since = 0.0
        with self._lock:
            if self._tasks.get(task.named.name) is task:
                self._take(task, result, at)

    def _take(self, task: Task, result: Result, at: float | None) -> None:
        name = task.named.name
        self._service.count("retries", result.repeats)
        for why, what in result.bad:
            self._service.set_aside(why, what, name)
        if result.failure:
            self._service.count("failures")
        if result.values:
            task.failures, task.wait, task.last = 0, 0.0, self._service.clock.now()
            self._producer.publish(name, result.values, at)
            self._tell(task, "online", result.failure)
        else:
            self._lost(task, result.failure)
        self._schedule(task)

    def _lost(self, task: Task, why: str) -> None:
        task.failures += 1
        if task.failures >= FAILURES:
            task.wait = min(2 * task.wait or task.named.interval, max(LONGEST_SECONDS, task.named.interval))
            self._tell(task, "offline", why)

    def _schedule(self, task: Task) -> None:
        now, interval = self._now(), task.named.interval
        if task.wait:
            task.due = now + task.wait
            return
        due = (task.due // interval + 1) * interval
        if due <= now:
            missed = int((now - due) // interval)
            self._service.count("missed_readings", missed)
            due += missed * interval
        task.due = due

    def _tell(self, task: Task, state: Availability, why: str) -> None:
        task.state, task.why = state, why
        self._producer.availability(task.named.name, state)
        self._service.fact(f"sensor:{task.named.name}", task.facts())

    def _now(self) -> float:
        return self._wall + time.monotonic()
