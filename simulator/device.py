"""One Modbus unit: its registers, its fault, and the requests it has got."""

import threading
import time
from collections import deque
from collections.abc import Callable

import msgspec

from simulator.faults import HEALTHY, Fault
from simulator.registers import Registers

REMEMBERED = 10_000


class ReceivedRequest(msgspec.Struct, frozen=True):
    """A request that reached the device; `time` is monotonic seconds."""

    time: float
    function: int
    address: int
    count: int  # or, for a single write, the value


class SimulatedDevice:
    """A unit on a line. `refresh`, if any, brings the registers up to date before each answer.

    `registers` and `fault` may be changed from any thread while the device is served, on
    several lines at once if need be; `requests` counts all, `seen` keeps the newest.
    """

    def __init__(
        self,
        name: str,
        registers: Registers,
        refresh: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self.registers = registers
        self.refresh = refresh
        self.fault: Fault = HEALTHY
        self.requests = 0
        self.seen: deque[ReceivedRequest] = deque(maxlen=REMEMBERED)
        self._lock = threading.Lock()

    def answer(self, pdu: bytes) -> bytes:
        """Return the answer to one request PDU."""
        with self._lock:
            self.requests += 1
            self.seen.append(
                ReceivedRequest(
                    time.monotonic(),
                    pdu[0] if pdu else 0,
                    int.from_bytes(pdu[1:3], "big"),
                    int.from_bytes(pdu[3:5], "big"),
                )
            )
            if self.refresh is not None:
                self.refresh()
            return self.registers.answer(pdu)
