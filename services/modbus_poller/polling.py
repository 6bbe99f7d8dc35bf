"""One poll of one device: what to ask, what to make of the answers, what to remember."""

import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from heliograph import messages
from services.modbus_poller import decoding, models, reads
from services.modbus_poller.answers import (
    ILLEGAL,
    Garbled,
    Mismatched,
    Refused,
    Silent,
)
from services.modbus_poller.options import Device
from services.modbus_poller.reads import Block, Plan

Read = Callable[[Block], list[int]]


class Bad(NamedTuple):
    """Something that was set aside: why, and what it was."""

    why: str
    what: str


class Result(msgspec.Struct):
    """What a poll brought: values, what was set aside, and why it ended early, if it did."""

    values: dict[str, messages.Value] = msgspec.field(default_factory=dict)
    bad: list[Bad] = msgspec.field(default_factory=list)
    failure: str = ""


class Polled:
    """A device that is polled, with the requests that are known to suit it."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.model = models.load(device.model)
        self._read_at: dict[float, float] = {}
        self._plans: dict[float, Plan] = {}
        self._forget_refusals()

    @property
    def left_out(self) -> list[str]:
        """The channels that the device refuses."""
        return [name for plan in self._plans.values() for name in plan.left_out]

    def info(self, service: str) -> messages.Info:
        """Return what others are told about the device, without what it refuses."""
        left_out = self.left_out
        return messages.Info(
            self.model.head.model,
            {name: self.model.channel(name) for name in self.model.registers if name not in left_out},
            self.device.interval,
            service,
        )

    def probe(self, read: Read) -> str:
        """Ask for one cheap value; return "" if the device is there, else why it seems not to be."""
        name = self.model.head.probe or next(iter(self.model.registers))
        try:
            read(Block(tuple(reads.spans(self.model, [name]))))
        except (Silent, Garbled) as silence:
            return _said(silence)
        except (Refused, Mismatched):
            pass  # a no is an answer
        return ""

    def poll(self, read: Read, now: float) -> Result:
        """Read every channel whose time has come, `now` in seconds of any clock that goes on.

        Ends at the first silence; what was read before it is kept.
        """
        result = Result()
        for every, plan in self._plans.items():
            since = now - self._read_at.get(every, -math.inf)
            if since > every - self.device.interval / 2:
                self._read_all(read, plan, result)
                if result.failure:
                    return result
                self._read_at[every] = now
        if not any(plan.blocks for plan in self._plans.values()):
            result.failure = "refuses every request"
            self._forget_refusals()
        return result

    def _read_all(self, read: Read, plan: Plan, result: Result) -> None:
        waiting = deque(plan.blocks)
        while waiting:
            block = waiting.popleft()
            try:
                raw = _twice(read, block)
            except Refused as refused:
                if refused.code in ILLEGAL:
                    waiting.extendleft(reversed(plan.refused(block)))
                else:
                    result.bad.append(Bad(str(refused), str(block)))
            except Mismatched as other:
                result.bad.append(Bad(f"asked for {block}", str(other)))
            except (Silent, Garbled) as silence:
                if isinstance(silence, Garbled):
                    result.bad.append(Bad("noise on the line", str(silence)))
                result.failure = _said(silence)
                return
            else:
                self._decode(block, raw, result)

    def _decode(self, block: Block, raw: list[int], result: Result) -> None:
        for span in block.spans:
            start = span.address - block.address
            words = raw[start : start + span.count]
            try:
                result.values[span.channel] = decoding.value(self.model, span.channel, words)
            except ValueError as error:
                result.bad.append(Bad(str(error), f"{span.channel}: {[f'{w:04x}' for w in words]}"))

    def _forget_refusals(self) -> None:
        head = self.model.head
        periods = sorted({r.every for r in self.model.registers.values()})
        self._plans = {
            every: Plan(
                reads.join(
                    reads.spans(
                        self.model,
                        (n for n, r in self.model.registers.items() if r.every == every),
                    ),
                    largest=head.largest,
                    gap=head.gap,
                    breaks=head.breaks,
                )
            )
            for every in periods
        }
        self._read_at = {}


def _twice(read: Read, block: Block) -> list[int]:
    """Read a block, and once more if what came was disturbed."""
    try:
        return read(block)
    except (Garbled, Mismatched):
        return read(block)


def _said(silence: Silent | Garbled) -> str:
    return "noise and no answer" if isinstance(silence, Garbled) else str(silence)
