"""The sensors of one bus, read in turn in a thread of their own."""

import threading
import time

import msgspec

from heliograph.backoff import Backoff, steady
from heliograph.messages import Availability
from heliograph.producer import Producer
from heliograph.service import Service
from services.sensor_reader.discovery import NamedSensor
from services.sensor_reader.sensor import ATTEMPTS, ReadResult, read

FAILURES = 3  # readings without a value, in a row, before a sensor is offline
MAX_RETRY_SECONDS = 300.0  # between readings of an offline sensor


class SensorState(msgspec.Struct):
    """A sensor and how it does; `due` is on the clock of the worker, `last_reading` in seconds since 1970 UTC."""

    named: NamedSensor
    due: float
    backoff: Backoff
    state: str = ""
    why: str = ""
    failures: int = 0
    last_reading: float = 0.0

    def facts(self) -> dict[str, object]:
        """Return the facts that the status shows."""
        sensor = self.named.sensor
        facts: dict[str, object] = {
            "state": self.state,
            "automatic_name": self.named.automatic_name,
            "model": sensor.model,
            "path": sensor.path,
        }
        if self.why:
            facts["why"] = self.why
        if self.last_reading:
            facts["last_reading"] = round(self.last_reading, 3)
        return facts


class BusWorker:
    """Reads its sensors whenever they are due, until `stop`; thread-safe.

    Ticks are whole multiples of the interval on the wall clock as of the start, which is never set.
    `reading_since` is when the current reading began, on the monotonic clock; 0 between readings.
    """

    def __init__(self, bus: str, service: Service, producer: Producer) -> None:
        self._service = service
        self._producer = producer
        self._sensors: dict[str, SensorState] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._clock_offset = time.time() - time.monotonic()
        self.reading_since = 0.0
        self._thread = threading.Thread(target=self._run, name=f"bus {bus}", daemon=True)
        self._thread.start()

    def add(self, named: NamedSensor) -> None:
        """Read a sensor from now on."""
        self._producer.declare(named.name, named.sensor.info(named.interval, self._service.name))
        with self._lock:
            backoff = Backoff(named.interval, max(MAX_RETRY_SECONDS, named.interval), steady)
            self._sensors[named.name] = SensorState(named, self._now(), backoff)
        self._wake.set()

    def remove(self, name: str, why: str) -> None:
        """Stop reading a sensor, and publish that it is offline."""
        with self._lock:
            if self._sensors.pop(name, None):
                self._producer.availability(name, "offline")
                self._service.fact(f"sensor:{name}", {"state": "offline", "why": why})

    def stuck(self, why: str) -> None:
        """Publish that all sensors are offline, until the driver responds."""
        with self._lock:
            for sensor in self._sensors.values():
                self._set_state(sensor, "offline", why)

    def stop(self) -> None:
        """Stop reading."""
        self._stopping.set()
        self._wake.set()

    def join(self, seconds: float) -> None:
        """Wait for the end of the thread; a thread that hangs in its driver is left behind."""
        self._thread.join(seconds)

    def __len__(self) -> int:
        with self._lock:
            return len(self._sensors)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            with self._lock:
                sensor = min(self._sensors.values(), key=lambda sensor: sensor.due, default=None)
            wait = None if sensor is None else sensor.due - self._now()
            if sensor is None or wait is None or wait > 0:
                self._wake.wait(wait)
                continue
            self._read(sensor)

    def _read(self, sensor: SensorState) -> None:
        clock = self._service.clock
        at = clock.now() if clock.synchronised else None
        self.reading_since = time.monotonic()
        attempts = 1 if sensor.backoff.delay else ATTEMPTS
        result = read(sensor.named.sensor, self._stopping.wait, attempts)
        self.reading_since = 0.0
        with self._lock:
            if self._sensors.get(sensor.named.name) is sensor:
                self._publish(sensor, result, at)

    def _publish(self, sensor: SensorState, result: ReadResult, at: float | None) -> None:
        name = sensor.named.name
        self._service.count("retries", result.retries)
        for why, what in result.invalid:
            self._service.set_aside(why, what, name)
        if result.failure:
            self._service.count("failures")
        if result.values:
            sensor.failures, sensor.last_reading = 0, self._service.clock.now()
            sensor.backoff.reset()
            self._producer.publish(name, result.values, arrived=at)
            self._set_state(sensor, "online", result.failure)
        else:
            self._failed(sensor, result.failure)
        self._schedule(sensor)

    def _failed(self, sensor: SensorState, why: str) -> None:
        sensor.failures += 1
        if sensor.failures >= FAILURES:
            sensor.backoff.next()
            self._set_state(sensor, "offline", why)

    def _schedule(self, sensor: SensorState) -> None:
        now, interval = self._now(), sensor.named.interval
        if sensor.backoff.delay:
            sensor.due = now + sensor.backoff.delay
            return
        due = (sensor.due // interval + 1) * interval
        if due <= now:
            missed = int((now - due) // interval)
            self._service.count("missed_readings", missed)
            due += missed * interval
        sensor.due = due

    def _set_state(self, sensor: SensorState, state: Availability, why: str) -> None:
        sensor.state, sensor.why = state, why
        self._producer.availability(sensor.named.name, state)
        self._service.fact(f"sensor:{sensor.named.name}", sensor.facts())

    def _now(self) -> float:
        return self._clock_offset + time.monotonic()
