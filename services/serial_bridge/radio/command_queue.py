"""What is written to a radio board, and when: one command a second, so that the board keeps up."""

import logging
import time
from collections import deque
from collections.abc import Callable

from services.serial_bridge.radio import commands
from services.serial_bridge.radio.settings import RadioOptions

log = logging.getLogger(__name__)

SPACING_SECONDS = 1.0
RESPONSE_SECONDS = 2.0
ORDER_SECONDS = 1.0
MAX_WAITING = 100


class CommandQueue:
    """The commands that wait to be written to one board; `send` and `repeat` may be called from any thread.

    After the port is opened, the firmware is asked for, and settings that differ are sent. `oem` boards speak serial
    format 2. `now` is a monotonic clock; `synchronised` returns whether the system clock is set.
    """

    def __init__(
        self, radio: RadioOptions, now: Callable[[], float], synchronised: Callable[[], bool], *, oem: bool
    ) -> None:
        self.firmware = ""
        self.letter_first: bool | None = None
        self._radio = radio
        self._oem = oem
        self._now = now
        self._synchronised = synchronised
        self._known: dict[str, str] = {}
        self._commands: deque[bytes] = deque()
        self._packets: deque[bytes] = deque(maxlen=MAX_WAITING)
        self._response_until = 0.0
        self._next_at = 0.0
        self._next_broadcast = 0.0

    def opened(self) -> None:
        """Ask the board for its firmware: it may be another one."""
        self._known = {}
        self._commands.clear()
        self.letter_first = None
        if self._oem and self._radio == RadioOptions():
            return
        self._commands.append(commands.ASK_ORDER if self._oem else commands.ASK_FIRMWARE)
        self._response_until = self._now() + (ORDER_SECONDS if self._oem else RESPONSE_SECONDS)
        self._next_at = self._now()

    def configure(self, radio: RadioOptions) -> None:
        """Send the settings that differ from the previous ones."""
        changed, self._radio = self._radio != radio, radio
        if not changed or self._response_until:
            return
        self._next_broadcast = min(self._next_broadcast, self._now() + self._radio.time_broadcast_interval)
        if self._oem and self.letter_first is None:
            self.opened()
        else:
            self._set()

    def received(self, text: str) -> None:
        """Note a line that is not a reading: it may be a response."""
        self.firmware = commands.firmware(text) or self.firmware
        if commands.is_settings_line(text):
            self._known |= commands.settings(text)
            if self._response_until and not self._oem:
                self._responded()
        elif self._oem and self._response_until and not self._commands and self.letter_first is None:
            self.letter_first = text.strip() == "4v"
            self._responded()

    def send(self, node: int, payload: bytes) -> None:
        """Send a packet to a node as soon as the board is free."""
        self._packets.append((commands.oem_packet if self._oem else commands.jee_packet)(node, payload))

    def repeat(self, line: bytes) -> None:
        """Write a line to the board as it is."""
        self._packets.append(line + b"\n" if self._oem else line)

    def due(self) -> bytes:
        """Return the bytes to write now, b"" if there are none."""
        now = self._now()
        if now < self._next_at:
            return b""
        if self._response_until and not self._commands and now >= self._response_until:
            if self._oem and self.letter_first is None:
                self.letter_first = True  # silence: an old firmware would echo the command
            self._responded()
        command = self._next_command(now)
        if command:
            self._next_at = now + SPACING_SECONDS
        return command

    def _next_command(self, now: float) -> bytes:
        if self._commands:
            return self._commands.popleft()
        if self._response_until:
            return b""
        if self._packets:
            return self._packets.popleft()
        if self._radio.time_broadcast_interval and now >= self._next_broadcast and self._synchronised():
            self._next_broadcast = now + self._radio.time_broadcast_interval
            return commands.time_packet(time.localtime())
        return b""

    def _responded(self) -> None:
        self._response_until = 0.0
        self._set()

    def _set(self) -> None:
        if self._oem:
            needed = commands.oem_commands(self._radio, letter_first=self.letter_first is not False)
        else:
            needed = commands.jee_commands(self._radio, self._known)
            self._known |= {command[-1:].decode(): command[:-1].decode() for command in needed}
        self._commands.extend(needed)
