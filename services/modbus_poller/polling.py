"""One poll of one device: what to ask, what to make of the answers, what to remember."""

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from heliograph import messages
from services.modbus_poller import decoding, encoding, models, reads
from services.modbus_poller.errors import (
    ILLEGAL,
    Garbled,
    Mismatched,
    Refused,
    Silent,
)
from services.modbus_poller.options import Device
from services.modbus_poller.reads import Block, Plan, Span

Read = Callable[[Block], list[int]]
Write = Callable[[int, int, list[int]], None]  # function, address, registers


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
    """A device that is polled, with the requests that are known to suit it.

    `revision` goes up whenever `info` has something new to say.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self.model = models.load(device.model)
        self.revision = 0
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
            self.model.header.model,
            {name: self.model.channel(name) for name in self.model.registers if name not in left_out},
            self.device.interval,
            service,
        )

    def probe(self, read: Read) -> str:
        """Ask for one cheap value; return "" if the device is there, else why it seems not to be."""
        try:
            read(self.question())
        except (Silent, Garbled) as silence:
            return said(silence)
        except (Refused, Mismatched):
            pass  # a no is an answer
        return ""

    def question(self) -> Block:
        """Return what is cheap to ask for."""
        return Block(tuple(reads.spans(self.model, [self.model.probe])))

    def poll(self, read: Read, now: float) -> Result:
        """Read every channel whose time has come, `now` in seconds of any clock that goes on.

        Ends at the first silence; what was read before it is kept.
        """
        result = Result()
        words: dict[str, list[int]] = {}
        for every, plan in self._plans.items():
            since = now - self._read_at.get(every, -math.inf)
            if since > every - self.device.interval / 2:
                self._read_all(read, plan, result, words)
                if result.failure:
                    break
                self._read_at[every] = now
        self._decode(words, result)
        if result.failure:
            return result
        if not any(plan.blocks for plan in self._plans.values()):
            result.failure = "refuses every request"
            self._forget_refusals()
        return result

    def write(
        self, wanted: Mapping[str, messages.Value], write: Write, read: Read
    ) -> tuple[dict[str, messages.Value], dict[str, str]]:
        """Write channels one by one; return their values as read back, and why others were not written.

        What is not answered soundly may or may not have been written: the reason says so.
        """
        done: dict[str, messages.Value] = {}
        refused: dict[str, str] = {}
        for channel, value in wanted.items():
            try:
                words = encoding.raw(self.model, channel, value)
                span = reads.spans(self.model, [channel])[0]
                single = self.model.header.write_function if span.count == 1 else 16
                write(5 if span.function in models.BITS else single, span.address, words)
                words = _twice(read, Block((span,)))
                now = decoding.value(self.model, channel, words)
            except ValueError as error:
                refused[channel] = str(error)
            except Refused as no:
                refused[channel] = f"the device refused it: {no}"
            except (Silent, Garbled, Mismatched) as lost:
                refused[channel] = f"not confirmed: {lost}"
            else:
                if now is not None:
                    done[channel] = now
        return done, refused

    def _read_all(self, read: Read, plan: Plan, result: Result, words: dict[str, list[int]]) -> None:
        waiting = deque(plan.blocks)
        while waiting:
            block = waiting.popleft()
            try:
                raw = _twice(read, block)
            except Refused as refused:
                if refused.code in ILLEGAL:
                    waiting.extendleft(reversed(plan.refused(block)))
                    self.revision += 1
                else:
                    result.bad.append(Bad(str(refused), str(block)))
            except Mismatched as other:
                result.bad.append(Bad(f"asked for {block}", str(other)))
            except (Silent, Garbled) as silence:
                if isinstance(silence, Garbled):
                    result.bad.append(Bad("not a Modbus response", str(silence)))
                result.failure = said(silence)
                return
            else:
                for span in block.spans:
                    start = span.address - block.address
                    words[span.channel] = raw[start : start + span.count]

    def values(self, words: Mapping[str, list[int]]) -> dict[str, messages.Value]:
        """Return what registers say, by channel, without what they cannot say."""
        result = Result()
        self._decode(words, result)
        return result.values

    def _decode(self, words: Mapping[str, list[int]], result: Result) -> None:
        """Put into the result what the registers say, by channel."""
        for channel, raw in words.items():
            try:
                value = decoding.value(self.model, channel, raw)
            except ValueError as error:
                result.bad.append(no_value(error, channel, raw))
            else:
                if value is not None:
                    result.values[channel] = value

    def _spans(self) -> dict[float, list[Span]]:
        """Return what there is to read, by how often."""
        every: dict[float, list[str]] = {}
        for name, register in self.model.registers.items():
            every.setdefault(register.min_interval, []).append(name)
        return {period: reads.spans(self.model, every[period]) for period in sorted(every)}

    def _forget_refusals(self) -> None:
        header = self.model.header
        self._plans = {
            every: Plan(
                reads.join(spans, max_registers=header.max_registers, max_gap=header.max_gap, split_at=header.split_at)
            )
            for every, spans in self._spans().items()
        }
        self._read_at = {}


def _twice(read: Read, block: Block) -> list[int]:
    """Read a block, and once more if what came was disturbed."""
    try:
        return read(block)
    except (Garbled, Mismatched):
        return read(block)


def no_value(error: ValueError, channel: str, raw: Sequence[int]) -> Bad:
    """Return what is set aside of a channel whose registers hold no value."""
    return Bad(str(error), f"{channel}: {[f'{word:04x}' for word in raw]}")


def said(silence: Silent | Garbled) -> str:
    """Return in words what was heard of a device that did not answer."""
    return "no response, only noise" if isinstance(silence, Garbled) else str(silence)
