"""A line with RTU frames whose time is simulated: what takes hours on a wire takes seconds here."""

import heapq
import itertools
import struct
from collections.abc import Callable, Mapping
from typing import Literal

from services.modbus_poller import decoding, frames
from services.modbus_poller.client import LineClient
from services.modbus_poller.models import Model
from services.modbus_poller.options import DeviceOptions, LineOptions
from services.modbus_poller.reads import ReadRequest
from services.modbus_poller.requests import Read

Answer = Callable[[bytes], bytes | None]  # a PDU for a PDU
Order = Literal["in turn", "any"]
BITS_PER_CHARACTER = 10
PAUSE_CHARACTERS = 3.5
UNIT_ID = 1


class SimulatedLine:
    """Units that answer after a delay in seconds, or, after None, never; the line is its own clock.

    "in turn": a unit begins with a request when it has answered the one before, as a real one does. "any": each answer
    comes its delay after its request, whatever is in between. `busy` is how long something was on the wire, or a pause.
    """

    def __init__(
        self,
        units: Mapping[int, Answer],
        delay: Callable[[], float | None] = lambda: 0.0,
        order: Order = "in turn",
        *,
        baud: int = 0,
        echoes: bool = False,
    ) -> None:
        self.units = units
        self.delay = delay
        self.order = order
        self.echoes = echoes
        self.requests: list[tuple[float, bytes]] = []
        self.busy = 0.0
        self._character = BITS_PER_CHARACTER / baud if baud else 0.0
        self._now = 1000.0
        self._free: dict[int, float] = {}
        self._coming: list[tuple[float, int, bytes]] = []
        self._numbers = itertools.count()

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float, /) -> None:
        self._now += seconds

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def send(self, data: bytes) -> None:
        self._now += len(data) * self._character
        self.requests.append((self._now, data))
        if self.echoes:
            self.comes(data)
        assert data == frames.rtu(data[0], data[1:-2])
        answer = self.units.get(data[0])
        pdu = answer(data[1:-2]) if answer else None
        delay = self.delay()
        if pdu is None or delay is None:
            return
        begin = max(self._now, self._free.get(data[0], 0.0)) if self.order == "in turn" else self._now
        wire = (len(pdu) + 3 + PAUSE_CHARACTERS) * self._character
        self.busy += len(data) * self._character + wire
        self._free[data[0]] = begin + delay + wire
        self.comes(frames.rtu(data[0], pdu), begin + delay + wire - self._now)

    def comes(self, data: bytes, after: float = 0.0) -> None:
        """Some bytes come."""
        heapq.heappush(self._coming, (self._now + after, next(self._numbers), data))

    def receive(self, seconds: float) -> bytes:
        end = self._now + max(0.0, seconds)
        if not self._coming or self._coming[0][0] > end:
            self._now = end
            return b""
        at, _, data = heapq.heappop(self._coming)
        self._now = max(self._now, at)
        return data


class Registers:
    """A device whose registers tell their address. What `model` does not use is read, refused, or not answered."""

    def __init__(self, model: Model, unused: Literal["read", "refused", "silent"]) -> None:
        self.model = model
        self.unused = unused
        self.used = {
            (model.function(channel), register.address + i)
            for channel, register in model.registers.items()
            for i in range(register.count)
        }
        self.expected = {
            channel: decoding.value(
                model,
                channel,
                [self.word(model.function(channel), register.address + i) for i in range(register.count)],
            )
            for channel, register in model.registers.items()
        }

    def word(self, function: int, address: int) -> int:
        if function in frames.BITS:
            return address * 7 // 4 % 2
        return (address * 40503 + function * 977) % 0x7F01

    def __call__(self, pdu: bytes) -> bytes | None:
        function, address, count = struct.unpack(">BHH", pdu)
        wanted = range(address, address + count)
        between = max((end - start for start, end in itertools.pairwise(self._known(function, wanted))), default=1) - 1
        known = all((function, end) in self.used for end in (wanted[0], wanted[-1]))
        if self.unused != "read" and not (known and between <= self.model.header.max_gap):
            return bytes((function | 0x80, 2)) if self.unused == "refused" else None
        words = [self.word(function, at) for at in wanted]
        if function in frames.BITS:
            packed = sum(bit << i for i, bit in enumerate(words)).to_bytes(-(-count // 8), "little")
            return bytes((function, len(packed))) + packed
        return struct.pack(f">BB{count}H", function, 2 * count, *words)

    def _known(self, function: int, wanted: range) -> list[int]:
        return [at for at in wanted if (function, at) in self.used]


def options(timeout: float = 1.0, baud: int = 9600) -> LineOptions:
    devices = (DeviceOptions("it", "eastron_sdm120"),)
    return LineOptions("/dev/simulated", devices, baud=baud, timeout=timeout)


def reader(client: LineClient, model: Model) -> Read:
    """Reads as the worker does."""

    def read(request: ReadRequest) -> list[int]:
        return client.read(
            UNIT_ID,
            request.function,
            request.address,
            request.count,
            model.header.request_delay,
            reuse=request.reuse,
            wait=False,
        )

    return read
