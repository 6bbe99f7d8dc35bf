"""One port: keep it open, cut lines, publish what they say."""

import logging
import random
import termios
import threading
import time

import serial

from heliograph.producer import Producer
from heliograph.service import Service
from services.serial_bridge import usb
from services.serial_bridge.devices import Device
from services.serial_bridge.lines import Line, Lines
from services.serial_bridge.options import Port
from services.serial_bridge.readings import Format, NotAReading, Reading, Remark

log = logging.getLogger(__name__)

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 10.0  # a plugged-in adapter should not have to wait longer
READ_SECONDS = 0.5  # how long a silent port may keep its thread from stopping
SETTLE_SECONDS = 0.05  # a line that is being sent has another character by then
MOST_DEVICES = 64  # more behind one port are noise that looks like names
FUTURE_SECONDS = 60.0


class Reader:
    """Reads one port for ever in a thread of its own, opening it again whenever it is lost."""

    def __init__(
        self,
        port: Port,
        parse: Format,
        service: Service,
        producer: Producer,
        stop: threading.Event,
    ) -> None:
        self._port = port
        self._parse = parse
        self._service = service
        self._producer = producer
        self._stop = stop
        self._devices: dict[str, Device] = {}
        self._delay = FIRST_DELAY_SECONDS
        self._open = False
        self._trouble = ""
        self._settings = ""
        self._lines = 0
        self._frames = 0
        self._last = 0.0
        self._thread = threading.Thread(target=self._run, name=f"port {port.name}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def join(self, seconds: float) -> None:
        """Wait for the end of the thread; one that hangs in its driver is left behind."""
        self._thread.join(seconds)

    def facts(self) -> dict[str, object]:
        """Return how the port is, for the status; `last` is when the last frame came, in seconds since 1970 UTC."""
        facts: dict[str, object] = {
            "port": self._port.port,
            "open": self._open,
            "lines": self._lines,
            "frames": self._frames,
            "devices": sorted(self._devices),
        }
        if self._last:
            facts["last"] = round(self._last, 3)
        if self._trouble:
            facts["trouble"] = self._trouble
        if self._settings:
            facts["settings"] = self._settings
        return facts

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with _opened(self._port) as device:
                    self._read(device)
            except (OSError, termios.error) as error:
                self._lost(error)
                self._stop.wait(self._delay * random.uniform(0.5, 1.0))
                self._delay = min(2 * self._delay, LONGEST_DELAY_SECONDS)

    def _found(self) -> None:
        self._open = True
        self._trouble = ""
        self._service.count("ports_opened")
        log.info("reading %s from %s", self._port.name, self._port.port)

    def _lost(self, error: Exception) -> None:
        """Say so once, however often opening it again fails."""
        if self._open:
            self._service.count("ports_lost")
        if self._open or not self._trouble:
            log.warning("%s is away, waiting for it: %s", self._port.name, error)
        self._open = False
        self._trouble = str(error) or repr(error)
        for device in list(self._devices):
            self._producer.availability(device, "offline")

    def _read(self, device: serial.Serial) -> None:
        self._stop.wait(SETTLE_SECONDS)
        lines = Lines(joined_late=device.in_waiting > 0)
        self._found()
        while not self._stop.is_set():
            for line in lines.feed(device.read(max(1, device.in_waiting))):
                self._take(line)

    def _take(self, line: Line) -> None:
        self._lines += 1
        self._service.count("lines")
        if line.overlong:
            self._refuse("longer than any line", line.data, "overlong_lines")
            return
        try:
            said = self._parse(line.data.decode())
        except UnicodeDecodeError:
            self._refuse("not text", line.data, "noise_lines")
        except NotAReading as error:
            self._refuse(str(error), line.data, error.counter)
        else:
            if isinstance(said, Remark):
                self._service.count(said.counter)
                self._settings = said.settings or self._settings
            else:
                self._publish(said, line.data)

    def _publish(self, reading: Reading, line: bytes) -> None:
        clock = self._service.clock
        now = clock.now()
        if reading.at and clock.synchronised and reading.at > now + FUTURE_SECONDS:
            self._refuse("the time is in the future", line, "wrong_times")
            return
        name = reading.device
        if name not in self._devices and len(self._devices) >= MOST_DEVICES:
            self._refuse("more devices than a port can have", line, "noise_lines")
            return
        for refused in reading.refused:
            self._refuse("not a value", refused, "refused_values")
        if reading.no_sensor:
            self._service.count("no_sensor", reading.no_sensor)
        if not (reading.values or reading.no_sensor):
            return
        device = self._devices.setdefault(name, Device())
        for channel in device.take(reading, time.monotonic()):
            self._refuse("more channels than a device can have", channel, "noise_lines")
        self._frames += 1
        self._delay = FIRST_DELAY_SECONDS
        self._last = now
        self._service.count("frames")
        self._producer.declare(name, device.info)
        self._producer.availability(name, "online")
        if reading.values:
            self._producer.publish(name, reading.values, reading.at)

    def _refuse(self, why: str, what: bytes | str, counter: str) -> None:
        self._service.count(counter)
        self._service.set_aside(why, what, self._port.name)


def _opened(port: Port) -> serial.Serial:
    """Open a port; raise OSError if that is not possible now."""
    try:
        return serial.serial_for_url(
            usb.path(port.port),
            baudrate=port.baud,
            timeout=READ_SECONDS,
            exclusive=True,
        )
    except ValueError as error:  # a speed that this port does not have
        raise usb.PortAway(str(error)) from None
