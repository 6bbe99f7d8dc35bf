"""The repeater: a TCP port whose lines go to the radio, for whoever is on its list."""

import logging
from collections.abc import Callable

from services.serial_bridge.lines import Lines
from services.serial_bridge.options import Port
from services.serial_bridge.server import Server, is_allowed
from services.serial_bridge.talker import Talker

log = logging.getLogger(__name__)

IDLE_SECONDS = 300.0
MOST_CLIENTS = 32
LONGEST_BYTES = 256  # what the boards take in


class Sender:
    """One client of a repeater."""

    def __init__(self, talker: Talker, count: Callable[[str], None]) -> None:
        self._lines = Lines()
        self._talker = talker
        self._count = count

    def feed(self, data: bytes) -> None:
        """Pass lines on; one that no board can take in is dropped and counted."""
        for piece in self._lines.feed(data):
            if piece.why or len(piece.data) > LONGEST_BYTES or not (piece.data.isascii() and _printable(piece.data)):
                self._count("repeater_refused")
                continue
            self._talker.repeat(piece.data)
            self._count("repeater_lines")

    def ended(self) -> None:
        """The client is gone; half a line is no command."""


def _printable(line: bytes) -> bool:
    return all(32 <= byte < 127 for byte in line)


def repeater(port: Port, talker: Talker, count: Callable[[str], None]) -> Server:
    """Return the server of a port's repeater, not yet started."""
    options = port.repeater

    def welcome(address: str) -> Sender | None:
        if is_allowed(address, options.allow):
            return Sender(talker, count)
        log.warning("%s: %s is not on the list of the repeater", port.name, address)
        return None

    return Server(
        f"the repeater of {port.name}",
        (options.host, options.port),
        welcome,
        idle=IDLE_SECONDS,
        clients=MOST_CLIENTS,
        count=count,
    )
