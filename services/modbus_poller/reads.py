"""Which registers to read in one request. Pure."""

from collections.abc import Iterable, Sequence

import msgspec

from services.modbus_poller.models import Model


class ChannelSpan(msgspec.Struct, frozen=True, order=True):
    """The registers (or bits) of one channel."""

    function: int
    address: int
    count: int
    channel: str

    @property
    def end(self) -> int:
        """The address after the last one."""
        return self.address + self.count


class ReadRequest(msgspec.Struct, frozen=True):
    """One request: at least one span, in the order of their addresses."""

    spans: tuple[ChannelSpan, ...]

    @property
    def function(self) -> int:
        """The Modbus function code."""
        return self.spans[0].function

    @property
    def address(self) -> int:
        """The first address."""
        return self.spans[0].address

    @property
    def count(self) -> int:
        """The number of registers (or bits) to read."""
        return max(span.end for span in self.spans) - self.address

    @property
    def channels(self) -> list[str]:
        """The channels that it reads."""
        return [span.channel for span in self.spans]

    def __str__(self) -> str:
        return f"function {self.function}, 0x{self.address:04X}, {self.count} long"


def request(function: int, address: int, count: int) -> ReadRequest:
    """Return the request for registers (or bits) that belong to no channel."""
    return ReadRequest((ChannelSpan(function, address, count, ""),))


def spans(model: Model, channels: Iterable[str]) -> list[ChannelSpan]:
    """Return the registers of these channels of a model."""
    return [
        ChannelSpan(
            model.function(name),
            model.registers[name].address,
            model.registers[name].count,
            name,
        )
        for name in channels
    ]


def join(
    spans: Iterable[ChannelSpan], *, max_registers: int, max_gap: int, split_at: Sequence[int] = ()
) -> list[ReadRequest]:
    """Return few requests that read every span, none split between two.

    A request is at most `max_registers` long, reads at most `max_gap` unused registers in a
    row, and does not reach from before an address in `split_at` to it.
    """
    requests: list[ReadRequest] = []
    for span in sorted(spans):
        if requests:
            last = requests[-1]
            end = last.address + last.count
            if (
                span.function == last.function
                and span.address - end <= max_gap
                and max(end, span.end) - last.address <= max_registers
                and not any(last.address < at <= span.address for at in split_at)
            ):
                requests[-1] = ReadRequest((*last.spans, span))
                continue
        requests.append(ReadRequest((span,)))
    return requests


def split(request: ReadRequest) -> tuple[ReadRequest, ReadRequest] | None:
    """Return a request in two, or None if its spans overlap so that it cannot be split.

    It is split at the widest gap, which most likely holds the addresses that do not exist, else in
    the middle.
    """
    ends = [request.spans[0].end]
    for span in request.spans[1:]:
        ends.append(max(ends[-1], span.end))
    half = len(request.spans) / 2
    cuts = [
        (request.spans[i].address - ends[i - 1], -abs(i - half), i)
        for i in range(1, len(request.spans))
        if request.spans[i].address >= ends[i - 1]
    ]
    if not cuts:
        return None
    cut = max(cuts)[-1]
    return ReadRequest(request.spans[:cut]), ReadRequest(request.spans[cut:])


class ReadPlan:
    """The requests that read some channels of a device, adapted to what the device refuses."""

    def __init__(self, requests: Sequence[ReadRequest]) -> None:
        self.requests = list(requests)
        self.unsupported: list[str] = []

    def refused(self, request: ReadRequest) -> list[ReadRequest]:
        """Remember that the device refuses a request; return the requests that replace it."""
        halves = list(split(request) or ())
        index = self.requests.index(request)
        self.requests[index : index + 1] = halves
        if not halves:
            self.unsupported += request.channels
        return halves
