"""The service: look what is there, and have it asked."""

import logging
import time

from heliograph.producer import Producer
from heliograph.service import Service
from services.sensor_reader import discovery
from services.sensor_reader.discovery import Named
from services.sensor_reader.options import SensorReader
from services.sensor_reader.pulses.counter import Watch
from services.sensor_reader.worker import Lane

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
STUCK_SECONDS = 60.0  # longer than any sensor needs: a driver that does not return
MOST_LANES = 24  # each is a thread
LEAVE_SECONDS = 1.5


def main(options: SensorReader, service: Service) -> None:
    """Read until the process is told to stop."""
    producer = service.producer()
    reader = Reader(options, service, producer)
    watches = [Watch(counter, options.root, service, producer) for counter in options.counters]
    try:
        while True:
            reader.look()
            service.wait(LOOK_SECONDS)
    finally:
        for watch in watches:
            watch.stop()
        reader.stop()
        end = time.monotonic() + LEAVE_SECONDS
        for join in (*(watch.join for watch in watches), *(lane.join for lane in reader.lanes.values())):
            join(max(0.0, end - time.monotonic()))


class Reader:
    """Knows the sensors that are there, and gives each to a lane."""

    def __init__(self, options: SensorReader, service: Service, producer: Producer) -> None:
        self._options = options
        self._service = service
        self._producer = producer
        self._known: dict[str, Named] = {}
        self._lane_of: dict[str, str] = {}
        self._troubles: list[str] = []
        self.lanes: dict[str, Lane] = {}

    def look(self) -> None:
        """Take up what is new, let go of what is gone, and notice drivers that do not return."""
        found = discovery.find(self._options, self._service.data)
        for trouble in found.troubles:
            if trouble not in self._troubles:
                self._service.set_aside(trouble, "", "")
        self._troubles = found.troubles
        for name, known in list(self._known.items()):
            now = found.sensors.get(name)
            if now is None or not now.sensor.same(known.sensor):
                self._let_go(name)
        for name, named in found.sensors.items():
            if name not in self._known:
                self._take_up(named)
        for lane in self.lanes.values():
            since = lane.asking_since
            if since and time.monotonic() - since > STUCK_SECONDS:
                lane.stuck("its driver does not respond")
        seen = {named.automatic for named in found.sensors.values()}
        self._service.fact("absent", sorted(self._options.sensors.keys() - seen))

    def stop(self) -> None:
        """Ask nothing more."""
        for lane in self.lanes.values():
            lane.stop()

    def _take_up(self, named: Named) -> None:
        sensor = named.sensor
        log.info("%s: %s at %s", named.name, sensor.model, sensor.place)
        key = sensor.lane
        if key not in self.lanes:
            if len(self.lanes) >= MOST_LANES:
                key = min(self.lanes, key=lambda name: len(self.lanes[name]))
            else:
                self.lanes[key] = Lane(key, self._service, self._producer)
        self._known[named.name] = named
        self._lane_of[named.name] = key
        self.lanes[key].add(named)

    def _let_go(self, name: str) -> None:
        log.warning("%s: was removed", name)
        del self._known[name]
        key = self._lane_of.pop(name)
        lane = self.lanes[key]
        lane.drop(name, "it was removed")
        if not len(lane):
            lane.stop()
            del self.lanes[key]
