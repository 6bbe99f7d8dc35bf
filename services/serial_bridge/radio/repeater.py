"""The repeater: a TCP port whose lines are written to the radio board, for clients with an allowed address."""

import logging
from collections.abc import Callable

from services.serial_bridge.parsing.lines import LineSplitter
from services.serial_bridge.radio.command_queue import CommandQueue
from services.serial_bridge.radio.settings import RepeaterOptions
from services.serial_bridge.tcp_server import TcpServer, is_allowed

log = logging.getLogger(__name__)

IDLE_SECONDS = 300.0
MAX_CLIENTS = 32
MAX_BYTES = 256  # that the boards accept in a line


class RepeaterClient:
    """One client of a repeater."""

    def __init__(self, command_queue: CommandQueue, count: Callable[[str], None]) -> None:
        self._lines = LineSplitter()
        self._command_queue = command_queue
        self._count = count

    def feed(self, data: bytes) -> None:
        """Queue lines for the board; drop and count those that no board accepts."""
        for piece in self._lines.feed(data):
            if piece.error or len(piece.data) > MAX_BYTES or not (piece.data.isascii() and _printable(piece.data)):
                self._count("repeater_refused")
                continue
            self._command_queue.repeat(piece.data)
            self._count("repeater_lines")

    def ended(self) -> None:
        """Count the unfinished line: it is not a command."""
        if self._lines.unfinished:
            self._count("repeater_refused")


def _printable(line: bytes) -> bool:
    return all(32 <= byte < 127 for byte in line)


def repeater(
    port_name: str, options: RepeaterOptions, command_queue: CommandQueue, count: Callable[[str], None]
) -> TcpServer:
    """Return the server of a port's repeater, not yet started."""

    def new_client(address: str) -> RepeaterClient | None:
        if is_allowed(address, options.allow):
            return RepeaterClient(command_queue, count)
        log.warning("%s: %s is not an allowed address of the repeater", port_name, address)
        return None

    return TcpServer(
        f"the repeater of {port_name}",
        (options.host, options.port),
        new_client,
        idle_timeout=IDLE_SECONDS,
        max_clients=MAX_CLIENTS,
        count=count,
    )
