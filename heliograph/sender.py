"""Go-back-N from the outbox to storage: scheme W, producer side (docs/architecture.md, "Delivery").

Frames go out in order, at most WINDOW beyond what storage has committed. Storage's
watermark trims the outbox; a gap, a long silence or a new connection goes back to what
is not committed. What the outbox itself has lost (cap, damage) is declared by `base`.
"""

import logging
import math
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from heliograph.messages import Block, Watermark
from heliograph.outbox import Outbox, Reader
from heliograph.segment import Record

log = logging.getLogger(__name__)

WINDOW = 2_000
REWIND_SECONDS = 0.05  # a storage that misses a frame says so for every frame behind it
SHORTEST_TIMEOUT_SECONDS = 1.0
LONGEST_TIMEOUT_SECONDS = 60.0
FIRST_WORD_SECONDS = (
    1.0  # how long a fresh process waits for the retained watermark before it starts from its oldest frame
)
LIVE_FRAMES = 50  # a frame this close to the end of the outbox is news; others go out as replay
IDLE_SECONDS = 1.0


class Boots(Protocol):
    """Knows when a machine booted."""

    boot: str

    def booted(self, boot: str) -> float | None:
        """Return when a boot was, in seconds since 1970 UTC, or None while (or if never) known."""
        ...


class Held(msgspec.Struct):
    """A frame that waits for the clock: row times are seconds since that boot."""

    boot: str
    blocks: list[Block]


Publish = Callable[[bool, bytes], bool]  # (is it news?, the frame): False if the broker is away


class Sender:
    """Decides which frame goes out next; whoever owns it calls `pump` and provides the lock."""

    def __init__(
        self,
        outbox: Outbox,
        clock: Boots,
        publish: Publish,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._publish = publish
        self._now = now
        self._reader = Reader(outbox)
        first = outbox.segments[0] if outbox.segments else None
        self.epoch = first.epoch if first else outbox.epoch
        self.committed = self.sent = (first.first if first else 1) - 1
        self._base = self.sent + 1
        self._highest = self.sent  # of this epoch, ever sent by this process
        self._storage = ""
        self._heard = False
        self._connected = False
        self._wait_until = -math.inf
        self._progress = now()
        self._rewound = -math.inf
        self._commit_seconds = 0.0
        self._timeout = SHORTEST_TIMEOUT_SECONDS
        self._window = WINDOW
        self.resent = 0
        self.unstamped = 0
        self.waits_for_clock = False

    @property
    def backlog(self) -> int:
        """How many frames storage has not committed yet, as far as is known here."""
        ahead = sum(s.next - s.first for s in self._outbox.segments)
        done = sum(
            min(s.next, self.committed + 1) - s.first
            for s in self._outbox.segments
            if s.epoch == self.epoch and s.first <= self.committed
        )
        return ahead - done

    def connect(self) -> None:
        """Note a new connection: what was under way may be lost."""
        self._connected = True
        self._progress = self._now()
        self._window = WINDOW
        if self._heard:
            self._rewind(self.committed + 1)
        else:
            self._wait_until = self._now() + FIRST_WORD_SECONDS

    def disconnect(self) -> None:
        """Note that the broker is away: nothing goes out until the next connect."""
        self._connected = False

    def watermark(self, mark: Watermark) -> None:
        """Obey what storage says of its progress."""
        if mark.epoch != self.epoch and not self._skip_to(mark.epoch):
            return
        now = self._now()
        self._heard = True
        self._wait_until = -math.inf
        self._commit_seconds = mark.seconds
        self._window = WINDOW
        restarted = mark.storage != self._storage
        self._storage = mark.storage
        if mark.committed > self.committed or restarted:
            self._timeout = self._shortest_timeout()
            self._progress = now
            self.committed = mark.committed
            self._outbox.trim(self.epoch, mark.committed)
        if mark.committed > self.sent:
            self._rewind(mark.committed + 1)
            self._highest = max(self._highest, mark.committed)
        elif mark.gap and mark.wanted <= self.sent and (restarted or now - self._rewound >= REWIND_SECONDS):
            self._rewound = now
            self._rewind(mark.wanted)

    def pump(self) -> float:
        """Send what may be sent now; return in how many seconds to ask again at the latest."""
        now = self._now()
        if not self._connected:
            return IDLE_SECONDS
        if now < self._wait_until:
            return self._wait_until - now
        if self.sent > self.committed and now - self._progress > self._timeout:
            self._timeout = min(self._timeout * 2, LONGEST_TIMEOUT_SECONDS)
            self._progress = now
            self._window = 1
            self._rewind(self.committed + 1)
        self.waits_for_clock = False
        while self.sent - self.committed < self._window and (record := self._reader.peek()):
            if not self._in_order(record):
                break
            frame = self._frame(record)
            if frame is None:
                self.waits_for_clock = True
                break
            first_time = record.sequence > self._highest
            news = first_time and self._outbox.next - record.sequence <= LIVE_FRAMES
            if self.sent == self.committed:
                self._progress = now
            if not self._publish(news, frame):
                break
            self._reader.advance()
            self.resent += not first_time
            self.sent = record.sequence
            self._highest = max(self._highest, self.sent)
        return IDLE_SECONDS

    def _in_order(self, record: Record) -> bool:
        """Whether a frame may follow the one sent before; if it is behind a hole, only when all before is settled."""
        if record.epoch == self.epoch and record.sequence == self.sent + 1:
            return True
        settled = max(self.committed, min(self._outbox.first(self.epoch) - 1, self.sent))
        if settled < self.sent:
            return False
        if record.epoch != self.epoch:
            self._highest = record.sequence - 1
        self.epoch = record.epoch
        self._base = record.sequence
        self.committed = self.sent = record.sequence - 1
        return True

    def _rewind(self, sequence: int) -> None:
        self._reader.rewind(self.epoch, sequence)
        self.sent = sequence - 1
        self._base = min(self._base, sequence)

    def _skip_to(self, epoch: str) -> bool:
        """Go on to an epoch that storage has begun already, which means that it has all before."""
        later = next((s for s in self._outbox.segments if s.epoch == epoch), None)
        if later is None or later is self._outbox.segments[0]:
            return False
        mine = [s for s in self._outbox.segments if s.epoch == self.epoch]
        if mine and self._outbox.segments.index(later) < self._outbox.segments.index(mine[0]):
            return False
        self.epoch = epoch
        self.committed = later.first - 1
        self._base = later.first
        self._highest = later.first - 1
        self._rewind(later.first)
        return True

    def _shortest_timeout(self) -> float:
        return max(SHORTEST_TIMEOUT_SECONDS, 2 * self._commit_seconds + 1)

    def _frame(self, record: Record) -> bytes | None:
        """Return a frame as it travels, or None while its time is not known yet."""
        payload, unstamped = record.payload, 0
        if payload.startswith(b"{"):
            held = msgspec.json.decode(payload, type=Held)
            booted = self._clock.booted(held.boot)
            if booted is None and held.boot == self._clock.boot:
                return None
            if booted is None:
                unstamped = sum(len(block.rows) for block in held.blocks)
                if record.sequence > self._highest:
                    self.unstamped += unstamped
                    log.error(
                        "%d readings of a boot whose time was never known are lost: %s",
                        unstamped,
                        payload[:200],
                    )
                payload = b"[]"
            else:
                payload = msgspec.json.encode([_stamped(block, booted) for block in held.blocks])
        head = f'{{"e":"{record.epoch}","q":{record.sequence},"b":{self._base},"x":{unstamped},"i":'
        return head.encode() + payload + b"}"


def _stamped(block: Block, booted: float) -> Block:
    rows = [[round(row[0] + booted, 3), *row[1:]] for row in block.rows]
    return msgspec.structs.replace(block, rows=rows)
