"""The service: finds the sensors, and gives each to the worker of its bus."""

import logging
import time

from heliograph.producer import Producer
from heliograph.service import Service
from services.sensor_reader import discovery
from services.sensor_reader.discovery import NamedSensor
from services.sensor_reader.options import SensorReader
from services.sensor_reader.pulses.counter import PulseCounter
from services.sensor_reader.worker import BusWorker

log = logging.getLogger(__name__)

DISCOVERY_SECONDS = 5.0
STUCK_SECONDS = 60.0  # longer than any sensor needs: a driver that does not return
MAX_WORKERS = 24  # each is a thread
SHUTDOWN_SECONDS = 1.5


def main(options: SensorReader, service: Service) -> None:
    """Read until the process is stopped."""
    producer = service.producer()
    dispatcher = Dispatcher(options, service, producer)
    counters = [PulseCounter(counter, options.root, service, producer) for counter in options.counters]
    try:
        while True:
            dispatcher.update()
            service.wait(DISCOVERY_SECONDS)
    finally:
        for counter in counters:
            counter.stop()
        dispatcher.stop()
        end = time.monotonic() + SHUTDOWN_SECONDS
        for join in (
            *(counter.join for counter in counters),
            *(worker.join for worker in dispatcher.workers.values()),
        ):
            join(max(0.0, end - time.monotonic()))


class Dispatcher:
    """The sensors that the machine has, each with the worker of its bus; `workers` are by bus."""

    def __init__(self, options: SensorReader, service: Service, producer: Producer) -> None:
        self._options = options
        self._service = service
        self._producer = producer
        self._sensors: dict[str, NamedSensor] = {}
        self._worker_of: dict[str, str] = {}
        self._errors: list[str] = []
        self.workers: dict[str, BusWorker] = {}

    def update(self) -> None:
        """Add new sensors, remove those that are gone, and notice drivers that do not return."""
        discovered = discovery.find(self._options, self._service.data)
        for error in discovered.errors:
            if error not in self._errors:
                self._service.set_aside(error, "", "")
        self._errors = discovered.errors
        for name, known in list(self._sensors.items()):
            now = discovered.sensors.get(name)
            if now is None or not now.sensor.same(known.sensor):
                self._remove(name)
        for name, named in discovered.sensors.items():
            if name not in self._sensors:
                self._add(named)
        for worker in self.workers.values():
            since = worker.reading_since
            if since and time.monotonic() - since > STUCK_SECONDS:
                worker.stuck("its driver does not respond")
        automatic_names = {named.automatic_name for named in discovered.sensors.values()}
        self._service.fact("absent", sorted(self._options.sensors.keys() - automatic_names))

    def stop(self) -> None:
        """Stop all workers."""
        for worker in self.workers.values():
            worker.stop()

    def _add(self, named: NamedSensor) -> None:
        sensor = named.sensor
        log.info("%s: %s at %s", named.name, sensor.model, sensor.path)
        key = sensor.bus
        if key not in self.workers:
            if len(self.workers) >= MAX_WORKERS:
                key = min(self.workers, key=lambda bus: len(self.workers[bus]))
            else:
                self.workers[key] = BusWorker(key, self._service, self._producer)
        self._sensors[named.name] = named
        self._worker_of[named.name] = key
        self.workers[key].add(named)

    def _remove(self, name: str) -> None:
        log.warning("%s: was removed", name)
        del self._sensors[name]
        key = self._worker_of.pop(name)
        worker = self.workers[key]
        worker.remove(name, "it was removed")
        if not len(worker):
            worker.stop()
            del self.workers[key]
