"""One serial port: kept open, read, and written to."""

import logging
import termios
import threading
import time

import serial

from heliograph import device_access
from heliograph.backoff import Backoff
from heliograph.service import Service
from services.serial_bridge import usb
from services.serial_bridge.decoder import DecoderFactory
from services.serial_bridge.detection import FormatDetector
from services.serial_bridge.intake import SerialIntake
from services.serial_bridge.options import BITS, PARITIES, RADIO_FORMATS, STOPS, PortOptions
from services.serial_bridge.parsing.readings import Decoder, ParsedPiece, ParsedReading
from services.serial_bridge.radio.command_queue import CommandQueue
from services.serial_bridge.source import ParserContext

log = logging.getLogger(__name__)

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 10.0  # a plugged-in adapter should not have to wait longer
READ_SECONDS = 0.5  # how long a silent port may keep its thread from stopping
RADIO_SECONDS = 0.1  # the same for a port that is written to
WRITE_SECONDS = 2.0
SETTLE_SECONDS = 0.05  # a line that is being sent has another character by then
MAX_BYTES = 65_536


class PortReader:
    """Reads one port in a thread of its own, and opens it again whenever it is lost."""

    def __init__(self, port: PortOptions, context: ParserContext, service: Service, intake: SerialIntake) -> None:
        self._port = port
        self._decoders = DecoderFactory(port, context)
        self._service = service
        self._intake = intake
        self._stop = threading.Event()
        self._changed: tuple[PortOptions, DecoderFactory] | None = None
        self._backoff = Backoff(FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS)
        self._open = False
        self._error = ""
        self._detected = ""
        self.command_queue: CommandQueue | None = None
        if port.format in RADIO_FORMATS:
            self.command_queue = CommandQueue(
                port.radio, time.monotonic, lambda: service.clock.synchronised, oem=port.format == "oem"
            )
        self._thread = threading.Thread(target=self._run, name=f"port {port.name}", daemon=True)

    @property
    def port(self) -> PortOptions:
        """The current options."""
        return self._port

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Tell the thread to end."""
        self._stop.set()

    def join(self, seconds: float) -> None:
        """Wait for the end of the thread; one that hangs in its driver is left behind."""
        self._thread.join(seconds)

    def change(self, port: PortOptions, context: ParserContext) -> None:
        """Continue with other options of the same port and format: half a line that has come is kept."""
        self._changed = (port, DecoderFactory(port, context))

    def knows(self, device: str) -> bool:
        """Return whether there was a reading of this device."""
        return self._intake.knows(device)

    def facts(self) -> dict[str, object]:
        """Return the state of the port, for the status."""
        facts: dict[str, object] = {"port": self._port.port, "open": self._open, **self._intake.facts()}
        if self._detected:
            facts["detected_format"] = self._detected
        if self._error:
            facts["error"] = self._error
        if self.command_queue and self.command_queue.firmware:
            facts["firmware"] = self.command_queue.firmware
        return facts

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with _open(self._port) as device:
                    self._read(device)
            except (OSError, termios.error) as error:
                self._lost(error)
                self._stop.wait(self._backoff.next())
                self._reconfigure(None)
        self._service.port_away(self._port.port, "")  # it may be in the configuration no longer
        self._intake.offline()

    def _opened(self) -> None:
        self._open = True
        self._error = ""
        self._service.port_away(self._port.port, "")
        self._service.count("ports_opened")
        log.info("reading %s from %s", self._port.name, self._port.port)
        if self.command_queue:
            self.command_queue.opened()

    def _lost(self, error: Exception) -> None:
        """Log the loss once, however often opening the port again fails."""
        if self._open:
            self._service.count("ports_lost")
        why = device_access.why(error, self._port.port)
        if self._open or not self._error:
            log.warning("%s is away, waiting for it: %s", self._port.name, why)
        self._open = False
        self._error = why
        if "://" not in self._port.port:  # a port of this machine
            self._service.port_away(self._port.port, why)
        self._intake.offline()

    def _read(self, device: serial.Serial) -> None:
        self._stop.wait(SETTLE_SECONDS)
        decoder = self._decoders.decoder(joined_late=device.in_waiting > 0)
        self._opened()
        while not self._stop.is_set():
            try:
                data = device.read(min(MAX_BYTES, max(1, device.in_waiting)))
            except (OSError, termios.error):
                if rest := decoder.unfinished.strip():
                    self._intake.refuse("the port was lost in the middle of a line", rest, "unfinished_lines")
                raise
            for piece in decoder.feed(data):
                self._accept(piece)
            self._intake.dropped(decoder.take_dropped())
            if isinstance(decoder, FormatDetector) and decoder.format != self._detected:
                self._detected = decoder.format
                if decoder.format:
                    log.info("%s: detected the format %s", self._port.name, decoder.format)
            if self.command_queue and (command := self.command_queue.due()):
                device.write(command)
                self._service.count("commands_sent")
            decoder = self._reconfigure(decoder) or decoder

    def _reconfigure(self, decoder: Decoder | None) -> Decoder | None:
        """Apply changed options, if there are any; return the decoder that continues where this one is."""
        if not self._changed:
            return None
        (self._port, self._decoders), self._changed = self._changed, None
        if self.command_queue:
            self.command_queue.configure(self._port.radio)
        return self._decoders.decoder(joined_late=False, before=decoder, same=True) if decoder else None

    def _accept(self, piece: ParsedPiece) -> None:
        if self._intake.accept(piece):
            self._backoff.reset()
        elif self.command_queue and not isinstance(piece.result, ParsedReading):
            self.command_queue.received(piece.raw.decode("latin-1"))


def _open(port: PortOptions) -> serial.Serial:
    """Return the port, opened; raise OSError if that is not possible now."""
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
