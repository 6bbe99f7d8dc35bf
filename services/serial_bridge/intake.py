"""From what was heard to what is published, counted, and set aside: the same for ports and sockets."""

import time

from heliograph.names import NameOwners, NameTaken
from heliograph.producer import Producer
from heliograph.service import Service
from services.serial_bridge.devices import Device
from services.serial_bridge.offers import Offers
from services.serial_bridge.readings import Heard, NotAReading, Reading, Remark, UnknownNode

FUTURE_SECONDS = 60.0
MOST_DEVICES = 64  # more behind one port are noise that looks like names
FORGOTTEN_SECONDS = 7 * 86_400.0  # a device that was silent for this long makes room for another


class Intake:
    """Publishes what one source says, and knows its devices; not for several threads."""

    def __init__(
        self,
        name: str,
        service: Service,
        producer: Producer,
        offers: Offers,
        owners: NameOwners,
        most_devices: int = MOST_DEVICES,
    ) -> None:
        self._name = name
        self._service = service
        self._producer = producer
        self._offers = offers
        self._owners = owners
        self._most = most_devices
        self._devices: dict[str, Device] = {}
        self._settings = ""
        self._lines = 0
        self._frames = 0
        self._last = 0.0

    def facts(self) -> dict[str, object]:
        """Return what came, for the status; `last` is when the last frame did, in seconds since 1970 UTC."""
        devices = sorted(self._devices.copy())
        facts: dict[str, object] = {"lines": self._lines, "frames": self._frames, "devices": devices[:MOST_DEVICES]}
        if len(devices) > MOST_DEVICES:
            facts["more_devices"] = len(devices) - MOST_DEVICES
        if self._last:
            facts["last"] = round(self._last, 3)
        if self._settings:
            facts["settings"] = self._settings
        return facts

    def knows(self, device: str) -> bool:
        """Whether a device was heard here."""
        return device in self._devices

    def offline(self) -> None:
        """Say that nobody reads these devices now."""
        for device in list(self._devices):
            self._producer.availability(device, "offline")

    def take(self, heard: Heard) -> bool:
        """Publish what was said, or set it aside; return whether it was a reading."""
        self._lines += 1
        self._service.count("lines")
        said = heard.said
        if isinstance(said, Remark):
            self._service.count(said.counter)
            self._settings = said.settings or self._settings
            return False
        if isinstance(said, NotAReading):
            if isinstance(said, UnknownNode):
                self._offers.heard(said.number, said.length)
            self.refuse(str(said), heard.raw, said.counter)
            return False
        readings = said if isinstance(said, list) else [said]
        published = [self._publish(reading, heard.raw) for reading in readings]
        return any(published)

    def refuse(self, why: str, what: bytes | str, counter: str) -> None:
        """Count a bad input, and show it among the last ones."""
        self._service.count(counter)
        self._service.set_aside(why, what, self._name)

    def _publish(self, reading: Reading, line: bytes) -> bool:
        clock = self._service.clock
        now = clock.now()
        if reading.at and clock.synchronised and reading.at > now + FUTURE_SECONDS:
            self.refuse("the time is in the future", line, "wrong_times")
            return False
        name = reading.device
        if name not in self._devices and len(self._devices) >= self._most and not self._forget():
            self.refuse("more devices than a port can have", line, "noise_lines")
            return False
        try:
            self._owners.claim(name, reading.device_text or name)
        except NameTaken as error:
            self.refuse(str(error), line, "names_taken")
            return False
        for refused in reading.refused:
            self.refuse("not a value", refused, "refused_values")
        if reading.no_sensor:
            self._service.count("no_sensor", reading.no_sensor)
        if not (reading.values or reading.no_sensor):
            return False
        device = self._devices.setdefault(name, Device())
        for channel, reason in device.take(reading, time.monotonic()).items():
            self.refuse(str(reason), channel, reason.counter)
        self._frames += 1
        self._last = now
        self._service.count("frames")
        self._producer.declare(name, device.info)
        self._producer.availability(name, "online")
        if reading.values:
            self._producer.publish(name, reading.values, reading.at)
        return True

    def _forget(self) -> bool:
        """Forget the device that was silent for longest; return whether one was silent for long enough."""
        name, device = min(self._devices.items(), key=lambda item: item[1].heard)
        if device.heard > time.monotonic() - FORGOTTEN_SECONDS:
            return False
        del self._devices[name]
        self._producer.availability(name, "offline")
        return True
