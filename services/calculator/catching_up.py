"""What a connection to the broker may not have delivered is read from the store, before anything is calculated from what follows.

A broker that dies takes with it what it held for this service, whether it saves sessions (it saves them now and then) or
not, and storage may have it all: then no producer sends it again. So after every connection new messages are held
until the store has a reading that one of them carries of each input: a producer's frames are stored in their order, so all
before it are stored, too. Then the values are read from the store. They are read again a few times later, for
inputs that were silent meanwhile; a value that is known already changes nothing.
"""

import heapq
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from heliograph import topics
from heliograph.bus import Message
from heliograph.errors import MessageError, StoreAway, StoreDamaged
from heliograph.messages import frames, is_value
from heliograph.renames import Renames
from heliograph.store.interface import Reader
from services.calculator.grid import InputChannel
from services.calculator.history import InputHistory

log = logging.getLogger(__name__)

CHECK_SECONDS = 1.0
HOLD_SECONDS = 60.0  # storage commits every 10 s
HELD_MESSAGES = 2_000
AGAIN_SECONDS = (0.0, 15.0, 60.0, 300.0)  # after the connection
PAGE = 5_000
FAR_FUTURE = float(1 << 40)  # the latest time that a producer accepts


class StoredValue(NamedTuple):
    """A value of an input as the store has it; ms UTC."""

    at: int
    channel: InputChannel
    value: float


class StoredInputs:
    """Reads inputs from the store, which may not be there."""

    def __init__(self, open_reader: Callable[[], Reader]) -> None:
        self._open = open_reader

    def renames(self) -> Renames | None:
        """Return the renames that the store has noted; None while it cannot be read."""
        reader = self._open()
        try:
            return reader.renames()
        except (StoreAway, StoreDamaged) as error:
            log.debug("renames are not known: %s", error)
            return None
        finally:
            reader.close()

    def have(self, wanted: Mapping[InputChannel, int]) -> bool:
        """Return whether the store has a value at these times (ms) of all of these inputs that it knows; raise StoreAway or StoreDamaged."""
        reader = self._open()
        try:
            for series in reader.series():
                at = wanted.get(InputChannel(series.node, series.device, series.channel))
                if at is not None:
                    point = reader.latest([series.id], at / 1000).get(series.id)
                    if point is None or round(point.time * 1000) != at:
                        return False
            return True
        finally:
            reader.close()

    def values(self, starts: Mapping[InputChannel, int], end: float) -> Iterator[StoredValue]:
        """Yield the numbers of inputs from a time (ms) of each to `end` (s) in order of time; raise StoreAway or StoreDamaged."""
        reader = self._open()
        try:
            known = {InputChannel(one.node, one.device, one.channel): one.id for one in reader.series()}
            yield from heapq.merge(
                *(
                    _values(reader, known[channel], channel, start / 1000, end)
                    for channel, start in starts.items()
                    if channel in known
                )
            )
        finally:
            reader.close()


class CatchUp:
    """Decides when to read from the store, and which messages wait for that; `now` is a monotonic clock."""

    def __init__(self, stored: StoredInputs, now: Callable[[], float]) -> None:
        self._stored = stored
        self._now = now
        self._began = -math.inf
        self._check_at = math.inf
        self._reads: list[float] = []  # when to read from the store
        self._wanted: dict[InputChannel, int] = {}
        self.held: list[Message] = []
        self.is_holding = False

    def begin(self) -> None:
        """Hold messages from now on: a connection has begun."""
        self._began = self._now()
        self._check_at = self._began + CHECK_SECONDS
        self._reads = [self._began + seconds for seconds in AGAIN_SECONDS]
        self._wanted = {}
        self.is_holding = True

    def is_check_due(self) -> bool:
        """Whether it is time to call `is_read_due`."""
        return self._now() >= self._check_at

    def is_read_due(self, carried: Callable[[Message], Mapping[InputChannel, int]]) -> bool:
        """Return whether to read from the store now; `is_holding` is False from the read on that has all before the held messages.

        `carried` returns the time of a value in a message by input. Raises StoreAway or StoreDamaged if the store cannot be read;
        then it is asked again, and messages are held for a minute at most.
        """
        now = self._now()
        self._check_at = now + CHECK_SECONDS
        due = bool(self._reads) and now >= self._reads[0]
        if self.is_holding and not self._wanted:
            for message in self.held:
                self._wanted |= carried(message)
        if self.is_holding and (now - self._began >= HOLD_SECONDS or len(self.held) >= HELD_MESSAGES):
            log.warning("the store does not have all inputs since the connection: results are corrected once it does")
            self.is_holding = False
            due = True
        elif self.is_holding and self._wanted:
            due = self._stored.have(self._wanted)
            self.is_holding = not due
        if not self.is_holding and not self._reads:
            self._check_at = math.inf
        return due

    def released(self) -> list[Message]:
        """Return the messages that were held, once."""
        held, self.held = self.held, []
        return held

    def was_read(self) -> None:
        """Note that everything was read."""
        now = self._now()
        self._reads = [at for at in self._reads if at > now]


def starts(histories: Mapping[InputChannel, InputHistory]) -> dict[InputChannel, int]:
    """Return from when to read each input, in ms: from its oldest known value, or that of the others; nothing if none has one."""
    oldest = [at for history in histories.values() if (at := history.oldest) is not None]
    if not oldest:
        return {}
    return {
        channel: min(oldest) if history.oldest is None else history.oldest for channel, history in histories.items()
    }


def times(inputs: Mapping[tuple[str, str], Mapping[str, InputChannel]], message: Message) -> dict[InputChannel, int]:
    """Return the time of the last value in a message by input, in ms; nothing of a message that is malformed.

    `inputs` are by node and device, then by channel.
    """
    result: dict[InputChannel, int] = {}
    with suppress(MessageError, ValueError):
        parsed = topics.parse(message.topic)
        for frame in frames(message.payload):
            for block in frame.blocks:
                known = inputs.get((parsed.node, block.device), {})
                for row in block.rows if known else ():
                    if len(row) != len(block.channels) + 1 or not isinstance(row[0], int | float):
                        continue
                    if not 0 <= row[0] <= FAR_FUTURE:
                        continue
                    for name, value in zip(block.channels, row[1:], strict=True):
                        if name in known and is_value(value):
                            result[known[name]] = round(row[0] * 1000)
    return result


def _values(reader: Reader, series: int, channel: InputChannel, start: float, end: float) -> Iterator[StoredValue]:
    after: float | None = None
    while True:
        page = reader.raw(series, start, end, limit=PAGE, after=after)
        for at, value in zip(page.times, page.values, strict=True):
            if not isinstance(value, str):
                yield StoredValue(round(at * 1000), channel, float(value))
        if page.next is None:
            return
        after = page.next
