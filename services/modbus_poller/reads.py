"""Which registers to ask for together: planning, without input or output."""

from collections.abc import Iterable, Sequence

import msgspec

from services.modbus_poller.models import Model


class Span(msgspec.Struct, frozen=True, order=True):
    """The registers (or bits) of one channel."""

    function: int
    address: int
    count: int
    channel: str

    @property
    def end(self) -> int:
        """The address behind the last one."""
        return self.address + self.count


class Block(msgspec.Struct, frozen=True):
    """One request: at least one span, in the order of their addresses."""

    spans: tuple[Span, ...]

    @property
    def function(self) -> int:
        """The Modbus function that reads it."""
        return self.spans[0].function

    @property
    def address(self) -> int:
        """The first address."""
        return self.spans[0].address

    @property
    def count(self) -> int:
        """How many registers (or bits) are asked for."""
        return max(span.end for span in self.spans) - self.address

    @property
    def channels(self) -> list[str]:
        """The channels that are in it."""
        return [span.channel for span in self.spans]

    def __str__(self) -> str:
        return f"function {self.function}, 0x{self.address:04X}, {self.count} long"


def request(function: int, address: int, count: int) -> Block:
    """Return the request for registers (or bits) that are no channel's."""
    return Block((Span(function, address, count, ""),))


def spans(model: Model, channels: Iterable[str]) -> list[Span]:
    """Return where a model's channels are."""
    return [
        Span(
            model.function(name),
            model.registers[name].address,
            model.registers[name].count,
            name,
        )
        for name in channels
    ]


def join(wanted: Iterable[Span], *, max_registers: int, max_gap: int, split_at: Sequence[int] = ()) -> list[Block]:
    """Return few requests that read every span, none split between two.

    A request is at most `max_registers` long, reads at most `max_gap` unused registers in a
    row, and does not reach from before an address in `split_at` to it.
    """
    blocks: list[Block] = []
    for span in sorted(wanted):
        if blocks:
            last = blocks[-1]
            end = last.address + last.count
            if (
                span.function == last.function
                and span.address - end <= max_gap
                and max(end, span.end) - last.address <= max_registers
                and not any(last.address < at <= span.address for at in split_at)
            ):
                blocks[-1] = Block((*last.spans, span))
                continue
        blocks.append(Block((span,)))
    return blocks


def split(block: Block) -> tuple[Block, Block] | None:
    """Return a block in two, or None if its spans cannot be told apart.

    It breaks at the widest gap, where addresses that do not exist are likeliest, else in
    the middle.
    """
    ends = [block.spans[0].end]
    for span in block.spans[1:]:
        ends.append(max(ends[-1], span.end))
    half = len(block.spans) / 2
    cuts = [
        (block.spans[i].address - ends[i - 1], -abs(i - half), i)
        for i in range(1, len(block.spans))
        if block.spans[i].address >= ends[i - 1]
    ]
    if not cuts:
        return None
    cut = max(cuts)[-1]
    return Block(block.spans[:cut]), Block(block.spans[cut:])


class Plan:
    """The requests that read some channels of a device, and what its refusals have taught."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.blocks = list(blocks)
        self.left_out: list[str] = []

    def refused(self, block: Block) -> list[Block]:
        """Remember that the device refuses a block; return what to ask for in its place."""
        halves = list(split(block) or ())
        at = self.blocks.index(block)
        self.blocks[at : at + 1] = halves
        if not halves:
            self.left_out += block.channels
        return halves
