"""One serial port: keep it open, read what it says, write what is due."""

import logging
import termios
import threading
import time

import serial

from heliograph.backoff import Backoff
from heliograph.service import Service
from services.serial_bridge import usb
from services.serial_bridge.decoding import Plan
from services.serial_bridge.intake import Intake
from services.serial_bridge.options import BITS, PARITIES, RADIO_FORMATS, STOPS, Port
from services.serial_bridge.readings import Decoder, Heard, Reading
from services.serial_bridge.recogniser import Recogniser
from services.serial_bridge.source import Context
from services.serial_bridge.talker import Talker

log = logging.getLogger(__name__)

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 10.0  # a plugged-in adapter should not have to wait longer
READ_SECONDS = 0.5  # how long a silent port may keep its thread from stopping
RADIO_SECONDS = 0.1  # the same for a port that is written to
WRITE_SECONDS = 2.0
SETTLE_SECONDS = 0.05  # a line that is being sent has another character by then
MOST_BYTES = 65_536


class Reader:
    """Reads one port for ever in a thread of its own, opening it again whenever it is lost."""

    def __init__(self, port: Port, context: Context, service: Service, intake: Intake) -> None:
        self._port = port
        self._plan = Plan(port, context)
        self._service = service
        self._intake = intake
        self._stop = threading.Event()
        self._changed: tuple[Port, Plan] | None = None
        self._backoff = Backoff(FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS)
        self._open = False
        self._trouble = ""
        self._recognised = ""
        self.talker: Talker | None = None
        if port.format in RADIO_FORMATS:
            self.talker = Talker(port, time.monotonic, lambda: service.clock.synchronised)
        self._thread = threading.Thread(target=self._run, name=f"port {port.name}", daemon=True)

    @property
    def port(self) -> Port:
        """The options that are in force."""
        return self._port

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stop.set()

    def join(self, seconds: float) -> None:
        """Wait for the end of the thread; one that hangs in its driver is left behind."""
        self._thread.join(seconds)

    def change(self, port: Port, context: Context) -> None:
        """Go on with other options, and the same format and way to the port: half a line that is there stays."""
        self._changed = (port, Plan(port, context))

    def knows(self, device: str) -> bool:
        """Whether a device was heard here."""
        return self._intake.knows(device)

    def facts(self) -> dict[str, object]:
        """Return how the port is, for the status."""
        facts: dict[str, object] = {"port": self._port.port, "open": self._open, **self._intake.facts()}
        if self._recognised:
            facts["recognised"] = self._recognised
        if self._trouble:
            facts["trouble"] = self._trouble
        if self.talker and self.talker.firmware:
            facts["firmware"] = self.talker.firmware
        return facts

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with _opened(self._port) as device:
                    self._read(device)
            except (OSError, termios.error) as error:
                self._lost(error)
                self._stop.wait(self._backoff.next())
                self._adopt(None)
        self._intake.offline()

    def _found(self) -> None:
        self._open = True
        self._trouble = ""
        self._service.count("ports_opened")
        log.info("reading %s from %s", self._port.name, self._port.port)
        if self.talker:
            self.talker.opened()

    def _lost(self, error: Exception) -> None:
        """Say so once, however often opening it again fails."""
        if self._open:
            self._service.count("ports_lost")
        if self._open or not self._trouble:
            log.warning("%s is away, waiting for it: %s", self._port.name, error)
        self._open = False
        self._trouble = str(error) or repr(error)
        self._intake.offline()

    def _read(self, device: serial.Serial) -> None:
        self._stop.wait(SETTLE_SECONDS)
        decoder = self._plan.decoder(joined_late=device.in_waiting > 0)
        self._found()
        while not self._stop.is_set():
            for heard in decoder.feed(device.read(min(MOST_BYTES, max(1, device.in_waiting)))):
                self._take(heard)
            if isinstance(decoder, Recogniser) and decoder.format != self._recognised:
                self._recognised = decoder.format
                if decoder.format:
                    log.info("%s speaks %s", self._port.name, decoder.format)
            if self.talker and (command := self.talker.due()):
                device.write(command)
                self._service.count("commands_sent")
            decoder = self._adopt(decoder) or decoder

    def _adopt(self, decoder: Decoder | None) -> Decoder | None:
        """Take over changed options, if there are any."""
        if not self._changed:
            return None
        (self._port, self._plan), self._changed = self._changed, None
        if self.talker:
            self.talker.configure(self._port)
        return self._plan.decoder(joined_late=False, before=decoder, same=True) if decoder else None

    def _take(self, heard: Heard) -> None:
        if self._intake.take(heard):
            self._backoff.reset()
        elif self.talker and not isinstance(heard.said, Reading):
            self.talker.hear(heard.raw.decode("latin-1"))


def _opened(port: Port) -> serial.Serial:
    """Open a port; raise OSError if that is not possible now."""
    bits, parity, stop = tuple(port.bits)
    try:
        return serial.serial_for_url(
            usb.path(port.port),
            baudrate=port.speed,
            bytesize=BITS[bits],
            parity=PARITIES[parity],
            stopbits=STOPS[stop],
            timeout=RADIO_SECONDS if port.format in RADIO_FORMATS else READ_SECONDS,
            write_timeout=WRITE_SECONDS,
            exclusive=True,
        )
    except ValueError as error:  # a speed that this port does not have
        raise usb.PortAway(str(error)) from None
