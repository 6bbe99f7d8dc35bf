"""From parsed lines to readings that are published, counted, or set aside: the same for ports and sockets."""

import logging
import time

from heliograph.names import NameOwners, NameTaken
from heliograph.producer import Producer
from heliograph.service import Service
from heliograph.written_times import AHEAD_SECONDS
from services.serial_bridge.devices import SerialDevice
from services.serial_bridge.parsing.readings import NotAReading, ParsedPiece, ParsedReading, StatusLine, UnknownNode
from services.serial_bridge.radio.unknown_nodes import UnknownNodes

log = logging.getLogger(__name__)

MAX_DEVICES = 64  # more behind one port are noise that looks like names
MAX_REPEATED = 256
MAX_UNREAD = 20  # kinds of lines that are shown
SHOWN_CHARACTERS = 80
FORGOTTEN_SECONDS = 7 * 86_400.0  # a device that was silent for this long makes room for another


class SerialIntake:
    """Publishes the readings of one source, and knows its devices; not thread-safe."""

    def __init__(
        self,
        name: str,
        service: Service,
        producer: Producer,
        unknown_nodes: UnknownNodes,
        owners: NameOwners,
        max_devices: int = MAX_DEVICES,
    ) -> None:
        self._name = name
        self._service = service
        self._producer = producer
        self._unknown_nodes = unknown_nodes
        self._owners = owners
        self._max_devices = max_devices
        self._devices: dict[str, SerialDevice] = {}
        self._board_settings = ""
        self._published: dict[tuple[str, tuple[str, ...]], float] = {}  # the own times of what is sent again and again
        self._unread: dict[str, str] = {}  # lines that were not understood, by what they have in common
        self._lines = 0
        self._readings = 0
        self._dropped = 0
        self._last_reading = 0.0

    def facts(self) -> dict[str, object]:
        """Return what came, for the status; `last_reading` is in seconds since 1970 UTC."""
        devices = sorted(self._devices.copy())
        facts: dict[str, object] = {"lines": self._lines, "readings": self._readings, "devices": devices[:MAX_DEVICES]}
        if len(devices) > MAX_DEVICES:
            facts["more_devices"] = len(devices) - MAX_DEVICES
        if self._last_reading:
            facts["last_reading"] = round(self._last_reading, 3)
        if self._dropped:
            facts["dropped_bytes"] = self._dropped
        if self._board_settings:
            facts["board_settings"] = self._board_settings
        if self._unread:
            facts["unread"] = list(self._unread.copy().values())
        return facts

    def knows(self, device: str) -> bool:
        """Return whether there was a reading of this device."""
        return device in self._devices

    def offline(self) -> None:
        """Publish that the devices are offline, because nothing reads them."""
        for device in list(self._devices):
            self._producer.availability(device, "offline")

    def accept(self, piece: ParsedPiece) -> bool:
        """Publish the readings of a piece, or set it aside; return whether there was one."""
        self._lines += 1
        self._service.count("lines")
        result = piece.result
        if isinstance(result, StatusLine):
            self._service.count(result.counter)
            self._board_settings = result.settings or self._board_settings
            return False
        if isinstance(result, NotAReading):
            if isinstance(result, UnknownNode):
                self._unknown_nodes.add(result.number, result.length)
            self.refuse(str(result), piece.raw, result.counter)
            return False
        readings = result if isinstance(result, list) else [result]
        published = [self._publish(reading, piece.raw) for reading in readings]
        return any(published)

    def refuse(self, reason: str, content: bytes | str, counter: str) -> None:
        """Count a bad input, and show it among the last ones."""
        self._service.count(counter)
        self._service.set_aside(reason, content, self._name)

    def dropped(self, count: int) -> None:
        """Count bytes that were dropped without being a line: noise between telegrams, half a one after the port was opened."""
        if count:
            self._dropped += count
            self._service.count("dropped_bytes", count)

    def _publish(self, reading: ParsedReading, line: bytes) -> bool:
        name = reading.device
        try:
            self._check(reading)
        except NotAReading as error:
            self.refuse(str(error), line, error.counter)
            return False
        for refused in reading.refused:
            self.refuse("not a value", refused, "invalid_values")
        self._note_unread(reading.unread)
        if reading.no_sensor:
            self._service.count("no_sensor", reading.no_sensor)
        if not (reading.values or reading.no_sensor):
            return False
        if self._was_published(reading):
            self._producer.availability(name, "online")  # again, if the port was lost
            return False
        device = self._devices.setdefault(name, SerialDevice())
        for channel, reason in device.update(reading, time.monotonic()).items():
            self.refuse(str(reason), channel, reason.counter)
        self._readings += 1
        self._last_reading = self._service.clock.now()
        self._service.count("lines_parsed")
        self._producer.declare(name, device.info)
        self._producer.availability(name, "online")
        if reading.values:
            self._producer.publish(name, reading.values, reading.at)
        return True

    def _was_published(self, reading: ParsedReading) -> bool:
        """Return whether a reading that is sent again and again was published; remember it, now that it can be."""
        if not reading.once or reading.at is None:
            return False
        key = (reading.device, tuple(reading.values))
        if self._published.get(key) == reading.at:
            return True
        if key in self._published or len(self._published) < MAX_REPEATED:
            self._published[key] = reading.at
        return False

    def _note_unread(self, lines: tuple[str, ...]) -> None:
        """Count lines that were not understood, and show the first of each kind."""
        if not lines:
            return
        self._service.count("unread_lines", len(lines))
        for line in lines:
            kind = line.partition("(")[0][:SHOWN_CHARACTERS]
            if kind not in self._unread and len(self._unread) < MAX_UNREAD:
                self._unread[kind] = line[:SHOWN_CHARACTERS]
                log.info("%s: not understood: %s", self._name, line[:SHOWN_CHARACTERS])

    def _check(self, reading: ParsedReading) -> None:
        """Raise NotAReading if a reading cannot be published."""
        clock = self._service.clock
        if reading.at and clock.synchronised and reading.at > clock.now() + AHEAD_SECONDS:
            raise NotAReading("the time is in the future", "invalid_timestamps")
        name = reading.device
        if name not in self._devices and len(self._devices) >= self._max_devices and not self._forget_one():
            raise NotAReading("more devices than a port can have")
        try:
            self._owners.claim(name, reading.device_text or name)
        except NameTaken as error:
            raise NotAReading(str(error), "duplicate_names") from None

    def _forget_one(self) -> bool:
        """Forget the device that was silent for longest; return False if none was silent for long enough."""
        name, device = min(self._devices.items(), key=lambda item: item[1].last_seen)
        if device.last_seen > time.monotonic() - FORGOTTEN_SECONDS:
            return False
        del self._devices[name]
        self._producer.availability(name, "offline")
        return True
