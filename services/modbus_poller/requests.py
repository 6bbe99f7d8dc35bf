"""The requests that read a device, adapted to what it gives and refuses."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from heliograph.backoff import Backoff, steady
from services.modbus_poller import reads
from services.modbus_poller.errors import (
    PERMANENT,
    ExceptionResponse,
    InvalidFrame,
    NoResponse,
    ResponsePending,
    UnexpectedResponse,
)
from services.modbus_poller.models import Header
from services.modbus_poller.reads import ChannelSpan, ReadRequest

Read = Callable[[ReadRequest], list[int]]  # raises what errors.py lists
FIRST_SECONDS = 60.0  # after which a device is asked again for what it refused
LAST_SECONDS = 86400.0


class ReadPlan:
    """The requests that read some channels."""

    def __init__(self, requests: Sequence[ReadRequest]) -> None:
        self.requests = list(requests)

    def replace(self, request: ReadRequest, by: Sequence[ReadRequest]) -> None:
        """Put other requests in the place of one."""
        index = self.requests.index(request)
        self.requests[index : index + 1] = by


class Requests:
    """The requests of a device, by the least interval of their channels in seconds.

    A request that the device refuses is split; a single channel that it refuses is left out. It is asked for again
    after a minute, then after growing pauses up to a day, and after `reconnected`. With `rtu`, the responses differ
    in length, where the device gives some registers more than are wanted.
    """

    def __init__(self, header: Header, *, rtu: bool) -> None:
        self.plans: dict[float, ReadPlan] = {}
        self.refused: dict[str, None] = {}  # channels
        self._header = header
        self._rtu = rtu
        self._distinct = False
        self._fixed: set[ReadRequest] = set()  # the device refuses them with more registers
        self._fixed_functions: set[int] = set()  # it does not answer if there are more
        self._proven: set[ReadRequest] = set()  # with more registers, which the device gave
        self._again_at = math.inf
        self._pauses = Backoff(FIRST_SECONDS, LAST_SECONDS, steady)

    @property
    def any(self) -> bool:
        """Whether there are requests that the device has not refused."""
        return any(plan.requests for plan in self.plans.values())

    def plan(self, spans: Mapping[float, Iterable[ChannelSpan]]) -> None:
        """Plan the requests that read some channels, as if the device had refused none."""
        limits = self._header
        self.plans = {
            min_interval: ReadPlan(
                reads.join(some, max_registers=limits.max_registers, max_gap=limits.max_gap, split_at=limits.split_at)
            )
            for min_interval, some in spans.items()
        }
        self._distinct = False
        self._fixed = set()
        self._proven = set()

    def make_distinct(self) -> None:
        """Make the requests so that their responses differ in length, where the device allows that."""
        if self._distinct or not self._rtu:
            return
        self._distinct = True
        limits = self._header
        requests = [request for plan in self.plans.values() for request in plan.requests]
        fixed = self._fixed | {one.plain for one in requests if one.function in self._fixed_functions}
        longer = iter(
            reads.distinct(requests, max_registers=limits.max_registers, split_at=limits.split_at, fixed=fixed)
        )
        for plan in self.plans.values():
            plan.requests = [next(longer) for _ in plan.requests]

    def read(self, read: Read, plan: ReadPlan, request: ReadRequest) -> list[int]:
        """Return what a request reads; raise what `read` raises.

        If the device does not give more registers than are wanted, it is not asked for them any more.
        """
        if not request.extra:
            return read_with_retry(read, request)
        proven, silent = request in self._proven, False
        if proven or request.function not in self._fixed_functions:
            try:
                raw = read_with_retry(read, request) if proven else read(request)
            except ExceptionResponse as error:
                if error.code not in PERMANENT:
                    raise
            except (NoResponse, InvalidFrame, UnexpectedResponse):
                if proven:
                    raise
                silent = True
            else:
                self._proven.add(request)
                return raw
        raw = read_with_retry(read, request.plain)
        if silent:
            self._fixed_functions.add(request.function)  # each further try would cost a time-out
        elif request.function not in self._fixed_functions:
            self._fixed.add(request.plain)
        plan.replace(request, [request.plain])
        self._distinct = False
        return raw

    def split(self, plan: ReadPlan, request: ReadRequest) -> Sequence[ReadRequest]:
        """Note that the device refuses a request; return those that replace it, none for a single channel."""
        halves = reads.split(request) or ()
        plan.replace(request, halves)
        self._distinct = False
        if not halves:
            self.refused |= dict.fromkeys(request.channels)
        return halves

    def gave(self, channels: Iterable[str]) -> None:
        """Note that the device gave some channels."""
        for channel in channels:
            self.refused.pop(channel, None)

    def ask_again(self, before: Iterable[str], now: float) -> None:
        """Decide when to ask again for what the device refuses, `before` a poll and after it."""
        if set(before) - set(self.refused):
            self._pauses.reset()
        if (self.refused or self._fixed) and self._again_at == math.inf:
            self._again_at = now + self._pauses.next()

    def again(self, now: float) -> bool:
        """Return whether it is time to plan the requests again, to ask for what was refused."""
        if now < self._again_at:
            return False
        self._again_at = math.inf
        return bool(self.refused or self._fixed)

    def reconnected(self) -> None:
        """Note that the device was away, and may give more than before."""
        self._pauses.reset()
        self._again_at = -math.inf
        self._fixed_functions = set()
        self._distinct = False


def read_with_retry(read: Read, request: ReadRequest) -> list[int]:
    """Read registers, and once more if the response is invalid."""
    try:
        return read(request)
    except (InvalidFrame, UnexpectedResponse) as error:
        try:
            return read(request)
        except ResponsePending:
            raise error from None
