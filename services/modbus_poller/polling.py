"""One poll of one device: the requests to send, the values in the responses, and what to remember."""

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from heliograph import messages
from services.modbus_poller import decoding, encoding, frames, models, reads
from services.modbus_poller.errors import (
    NOISE,
    PERMANENT,
    ExceptionResponse,
    InvalidFrame,
    NoResponse,
    ResponsePending,
    UnexpectedResponse,
)
from services.modbus_poller.options import DeviceOptions
from services.modbus_poller.outstanding import Reuse
from services.modbus_poller.reads import ChannelSpan, ReadRequest
from services.modbus_poller.requests import Read, ReadPlan, Requests, read_with_retry

Write = Callable[[int, int, list[int]], None]  # function, address, registers
REFUSES_ALL = "refuses every request"


class InvalidInput(NamedTuple):
    """Something to set aside: why, and what it was."""

    why: str
    what: str


class PollResult(msgspec.Struct):
    """The result of a poll: values, what is to be set aside, and why the poll ended early, if it did.

    `held_back` are the channels that were not asked for, because a late response could be taken for theirs.
    """

    values: dict[str, messages.Value] = msgspec.field(default_factory=dict)
    invalid: list[InvalidInput] = msgspec.field(default_factory=list)
    failure: str = ""
    held_back: list[str] = msgspec.field(default_factory=list)


class PolledDevice:
    """A device that is polled, and the requests that it is known to accept.

    `revision` rises whenever `info` changes. On a line with RTU frames (`rtu`), its requests are made so that their
    responses differ in length, where the device allows that.
    """

    def __init__(self, options: DeviceOptions, *, rtu: bool = False) -> None:
        self.options = options
        self.model = models.load(options.model)
        self.revision = 0
        self._read_at: dict[float, float] = {}
        self._requests = Requests(self.model.header, rtu=rtu)
        self._plan_all()

    @property
    def unsupported(self) -> list[str]:
        """The channels that the device refused when it was asked last."""
        return list(self._requests.refused)

    @property
    def notes(self) -> list[str]:
        """What somebody who looks at the device should know."""
        return []

    def info(self, service: str) -> messages.Info:
        """Return the description of the device that is published, without the channels that it refuses."""
        unsupported = self.unsupported
        return messages.Info(
            self.model.header.model,
            {name: self.model.channel(name) for name in self.model.registers if name not in unsupported},
            self.options.interval,
            service,
        )

    def probe(self, read: Read) -> str:
        """Read one value; return "" if the device responds, else why it counts as not responding."""
        try:
            read(self.probe_request())
        except (NoResponse, InvalidFrame) as error:
            return failure_text(error)
        except (ExceptionResponse, UnexpectedResponse):
            pass  # this is a response, too
        return ""

    def probe_request(self) -> ReadRequest:
        """Return the request that `probe` sends."""
        return ReadRequest(tuple(reads.spans(self.model, [self.model.probe])), reuse=Reuse.ANY)

    def reconnected(self) -> None:
        """Ask for what was refused again in the next poll: the device was away, and may give more now."""
        self._requests.reconnected()

    def poll(self, read: Read, now: float) -> PollResult:
        """Read every channel that is due, `now` in seconds of any clock that is never set.

        The poll ends when a request gets no response; the values read before are kept.
        """
        if self._requests.again(now):
            self._plan_all()
        self._requests.make_distinct()
        result, before = PollResult(), self.unsupported
        registers: dict[str, list[int]] = {}
        for min_interval, plan in self._requests.plans.items():
            since = now - self._read_at.get(min_interval, -math.inf)
            if since > min_interval - self.options.interval / 2:
                held_back = len(result.held_back)
                self._read_all(read, plan, result, registers)
                if result.failure:
                    break
                if len(result.held_back) == held_back:
                    self._read_at[min_interval] = now
        self._requests.gave(registers)
        self._decode(self._verified(read, registers, result), result)
        if not result.failure and not self._requests.any:
            result.failure = REFUSES_ALL
            self._requests.refused.clear()
            self._plan_all()
        elif not result.failure:
            self._requests.ask_again(before, now)
        if self.unsupported != before:
            self.revision += 1
        return result

    def write(
        self, values: Mapping[str, messages.Value], write: Write, read: Read
    ) -> tuple[dict[str, messages.Value], dict[str, str]]:
        """Write channels one by one; return the values as read back, and why other channels were not written.

        A channel whose response is missing or invalid may have been written: the reason is "not confirmed".
        """
        written: dict[str, messages.Value] = {}
        refused: dict[str, str] = {}
        for channel, value in values.items():
            try:
                raw = encoding.raw(self.model, channel, value)
                span = reads.spans(self.model, [channel])[0]
                single = self.model.header.write_function if span.count == 1 else 16
                write(5 if span.function in frames.BITS else single, span.address, raw)
                raw = read_with_retry(read, ReadRequest((span,)))
                read_back = decoding.value(self.model, channel, raw)
            except ValueError as error:
                refused[channel] = str(error)
            except ExceptionResponse as error:
                refused[channel] = f"the device refused it: {error}"
            except (NoResponse, InvalidFrame, UnexpectedResponse) as error:
                refused[channel] = f"not confirmed: {error}"
            else:
                if read_back is not None:
                    written[channel] = read_back
        return written, refused

    def values(self, registers: Mapping[str, list[int]]) -> dict[str, messages.Value]:
        """Return the values of registers, by channel; channels whose registers hold no value are left out."""
        result = PollResult()
        self._decode(registers, result)
        return result.values

    def _read_all(self, read: Read, plan: ReadPlan, result: PollResult, registers: dict[str, list[int]]) -> None:
        waiting = deque(plan.requests)
        while waiting:
            request = waiting.popleft()
            try:
                raw = self._requests.read(read, plan, request)
            except ExceptionResponse as error:
                if error.code in PERMANENT:
                    waiting.extendleft(reversed(self._requests.split(plan, request)))
                else:
                    result.invalid.append(InvalidInput(str(error), str(request)))
            except UnexpectedResponse as error:
                result.invalid.append(InvalidInput(f"requested {request}", str(error)))
            except ResponsePending:
                result.held_back += request.channels
            except (NoResponse, InvalidFrame) as error:
                if isinstance(error, InvalidFrame):
                    result.invalid.append(InvalidInput(error.why, str(error)))
                result.failure = failure_text(error)
                return
            else:
                for span in request.spans:
                    start = span.address - request.address
                    registers[span.channel] = raw[start : start + span.count]

    def _verified(self, _read: Read, registers: dict[str, list[int]], _result: PollResult) -> dict[str, list[int]]:
        """Return the registers that hold what they held when the requests were planned."""
        return registers

    def _decode(self, registers: Mapping[str, list[int]], result: PollResult) -> None:
        """Add the values of registers, by channel, to the result."""
        for channel, raw in registers.items():
            try:
                value = decoding.value(self.model, channel, raw)
            except ValueError as error:
                result.invalid.append(invalid_registers(error, channel, raw))
            else:
                if value is not None:
                    result.values[channel] = value

    def _spans(self) -> dict[float, list[ChannelSpan]]:
        """Return the spans of all channels, by their minimum interval in seconds."""
        channels: dict[float, list[str]] = {}
        for name, register in self.model.registers.items():
            channels.setdefault(register.min_interval, []).append(name)
        return {interval: reads.spans(self.model, channels[interval]) for interval in sorted(channels)}

    def _plan_all(self) -> None:
        """Plan the requests from scratch, as if the device had refused none."""
        self._requests.plan(self._spans())
        self._read_at = {}


def invalid_registers(error: ValueError, channel: str, raw: Sequence[int]) -> InvalidInput:
    """Return what to set aside of a channel whose registers hold no value."""
    return InvalidInput(str(error), f"{channel}: {[f'{word:04x}' for word in raw]}")


def failure_text(error: NoResponse | InvalidFrame) -> str:
    """Return why a device counts as not responding, for log and status."""
    if not isinstance(error, InvalidFrame):
        return str(error)
    return "no response, only noise" if error.why == NOISE else f"no response, only {error.why}"
