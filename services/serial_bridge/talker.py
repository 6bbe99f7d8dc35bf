"""When something is written to a radio board: one command a second, so that the board follows."""

import logging
import time
from collections import deque
from collections.abc import Callable

from services.serial_bridge import radio
from services.serial_bridge.options import Port
from services.serial_bridge.radio import Radio

log = logging.getLogger(__name__)

SPACING_SECONDS = 1.0
ANSWER_SECONDS = 2.0
ORDER_SECONDS = 1.0
MOST_WAITING = 100


class Talker:
    """What goes out on one radio port; `send` and `repeat` may come from any thread.

    After opening it asks for the firmware, waits for the answer, and sets what differs.
    """

    def __init__(self, port: Port, now: Callable[[], float], synchronised: Callable[[], bool]) -> None:
        self.firmware = ""
        self.letter_first: bool | None = None
        self._wanted = port.radio
        self._oem = port.format == "oem"
        self._now = now
        self._synchronised = synchronised
        self._known: dict[str, str] = {}
        self._commands: deque[bytes] = deque()
        self._packets: deque[bytes] = deque(maxlen=MOST_WAITING)
        self._answer_until = 0.0
        self._next = 0.0
        self._next_time = 0.0

    def opened(self) -> None:
        """Ask the board that is there now what it is."""
        self._known = {}
        self._commands.clear()
        self.letter_first = None
        if self._oem and self._wanted == Radio():
            return
        self._commands.append(radio.ASK_ORDER if self._oem else radio.ASK_FIRMWARE)
        self._answer_until = self._now() + (ORDER_SECONDS if self._oem else ANSWER_SECONDS)
        self._next = self._now()

    def configure(self, port: Port) -> None:
        """Set what differs between the settings so far and these."""
        changed, self._wanted = self._wanted != port.radio, port.radio
        if not changed or self._answer_until:
            return
        self._next_time = min(self._next_time, self._now() + self._wanted.send_time)
        if self._oem and self.letter_first is None:
            self.opened()
        else:
            self._set()

    def hear(self, text: str) -> None:
        """Take in a line that is no reading: it may be an answer."""
        self.firmware = radio.firmware(text) or self.firmware
        if radio.tells_settings(text):
            self._known |= radio.settings(text)
            if self._answer_until and not self._oem:
                self._answered()
        elif self._oem and self._answer_until and not self._commands and self.letter_first is None:
            self.letter_first = text.strip() == "4v"
            self._answered()

    def send(self, node: int, payload: bytes) -> None:
        """Send a packet to a node as soon as the board is free."""
        self._packets.append((radio.oem_packet if self._oem else radio.jee_packet)(node, payload))

    def repeat(self, line: bytes) -> None:
        """Write a line to the board as it is."""
        self._packets.append(line + b"\n" if self._oem else line)

    def due(self) -> bytes:
        """Return what is to be written now, b"" if nothing is."""
        now = self._now()
        if now < self._next:
            return b""
        if self._answer_until and not self._commands and now >= self._answer_until:
            if self._oem and self.letter_first is None:
                self.letter_first = True  # silence: nothing that would echo an old command
            self._answered()
        command = self._taken(now)
        if command:
            self._next = now + SPACING_SECONDS
        return command

    def _taken(self, now: float) -> bytes:
        if self._commands:
            return self._commands.popleft()
        if self._answer_until:
            return b""
        if self._packets:
            return self._packets.popleft()
        if self._wanted.send_time and now >= self._next_time and self._synchronised():
            self._next_time = now + self._wanted.send_time
            return radio.time_packet(time.localtime())
        return b""

    def _answered(self) -> None:
        self._answer_until = 0.0
        self._set()

    def _set(self) -> None:
        if self._oem:
            commands = radio.oem_commands(self._wanted, letter_first=self.letter_first is not False)
        else:
            commands = radio.jee_commands(self._wanted, self._known)
            self._known |= {command[-1:].decode(): command[:-1].decode() for command in commands}
        self._commands.extend(commands)
