"""A Modbus RTU line on a pseudo-terminal, with any number of units."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from random import Random

from simulator.device import SimulatedDevice
from simulator.port import SimulatedPort
from simulator.session import ModbusSession
from simulator.worker import StoppableThread

QUIET_SECONDS = 0.1  # ends a broken request; far longer than 3.5 characters


class SerialLine(SimulatedPort):
    """Serves `units` at `path` while it is open; `requests` counts per unit, absent ones too.

    With `baud`, an answer comes as late as a wire of that speed would bring it.
    """

    def __init__(self, units: Mapping[int, SimulatedDevice], *, baud: int = 0, link: Path | None = None) -> None:
        self.units = units
        self.baud = baud
        self.requests: Counter[int] = Counter()
        super().__init__("serial line", self._serve, link)

    def _serve(self, worker: StoppableThread) -> None:
        session = ModbusSession("rtu", self.units, self.requests, Random(1))
        while True:
            limit = QUIET_SECONDS if session.waiting else None
            if not worker.readable(self._terminal.fd, limit):
                session.forget()
                continue
            request = self._terminal.read()
            for answer in session.feed(request):
                worker.sleep(answer.delay + self._on_the_wire(len(request) + len(answer.data)))
                self._terminal.write(answer.data)

    def _on_the_wire(self, size: int) -> float:
        """Return the seconds that request, answer and the two pauses between take."""
        return (size + 7) * 10 / self.baud if self.baud else 0.0
