"""Which registers to read in one request. Pure."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

import msgspec

from services.modbus_poller.frames import BITS
from services.modbus_poller.models import Model
from services.modbus_poller.outstanding import Reuse

MAX_EXTRA = 8  # registers that a request reads so that its response has a length of its own
LAST_ADDRESS = 0xFFFF


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
    """One request: at least one span, in the order of their addresses.

    It reads `extra` registers (or bits) behind them, which hold nothing that is wanted. `reuse` says which late responses to earlier
    requests may be taken for its own.
    """

    spans: tuple[ChannelSpan, ...]
    extra: int = 0
    reuse: Reuse = Reuse.NONE

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
        return max(span.end for span in self.spans) - self.address + self.extra

    @property
    def size(self) -> int:
        """The number of bytes of data in the response."""
        return -(-self.count // 8) if self.function in BITS else 2 * self.count

    @property
    def plain(self) -> "ReadRequest":
        """The same request without the extra registers."""
        return ReadRequest(self.spans)

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


def distinct(
    requests: Sequence[ReadRequest],
    *,
    max_registers: int,
    split_at: Sequence[int] = (),
    fixed: Collection[ReadRequest] = (),
) -> list[ReadRequest]:
    """Return the requests of a device so that few have responses of one length: some read a few registers more.

    An RTU response does not say what it answers, but its length distinguishes it from those to other requests. Those in `fixed`
    must not be longer. A request whose response is unlike all others may reuse a late response to itself.
    """
    plain = [request.plain for request in requests]
    extras = [_extras(request, plain, max_registers, split_at) if request not in fixed else [0] for request in plain]
    sizes: Counter[tuple[int, int]] = Counter()
    longer = list(plain)
    for index in sorted(range(len(plain)), key=lambda index: len(extras[index])):  # those without a choice first
        choices = [ReadRequest(plain[index].spans, extra) for extra in extras[index]]
        longer[index] = min(choices, key=lambda one: sizes[one.function, one.size])  # of equals the first
        sizes[longer[index].function, longer[index].size] += 1
    return [
        ReadRequest(one.spans, one.extra, Reuse.SAME if sizes[one.function, one.size] == 1 else Reuse.NONE)
        for one in longer
    ]


def _extras(
    request: ReadRequest, requests: Iterable[ReadRequest], max_registers: int, split_at: Sequence[int]
) -> list[int]:
    """Return how many registers a request may read in addition, the best choice first.

    Where all values of a table are whole pairs of registers, a device may refuse half a pair.
    """
    end = request.address + request.count
    limit = min([LAST_ADDRESS + 1, *(at for at in split_at if at >= end)]) - end
    if request.function in BITS:
        return [extra for extra in (0, 8, 16) if extra <= limit]
    spans = [span for one in requests if one.function == request.function for span in one.spans]
    pairs = all(span.count % 2 == 0 and (span.address - request.address) % 2 == 0 for span in spans)
    extras = range(min(MAX_EXTRA, limit, max_registers - request.count) + 1)
    return sorted(extras, key=lambda extra: (pairs and extra % 2, extra))
