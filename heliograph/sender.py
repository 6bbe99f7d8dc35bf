"""Go-back-N from the outbox to storage: scheme W, producer side (docs/architecture.md, "Delivery").

Frames go out in order, at most WINDOW beyond what storage has committed. Storage's
watermark trims the outbox; a gap, a long silence or a new connection goes back to what
is not committed. What the outbox itself has lost (cap, damage) is declared by `base`.
"""

import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from heliograph.backoff import Backoff, steady
from heliograph.messages import Block, Watermark
from heliograph.outbox import Outbox, OutboxReader
from heliograph.segment import Segment, SegmentRecord

log = logging.getLogger(__name__)

WINDOW = 2_000
REWIND_SECONDS = 0.05  # a storage that misses a frame reports so for every later frame
SHORTEST_TIMEOUT_SECONDS = 1.0
LONGEST_TIMEOUT_SECONDS = 60.0
WATERMARK_SECONDS = 1.0  # how long a new process waits for the retained watermark before it sends its oldest frame
LIVE_FRAMES = 50  # a frame this close to the end of the outbox is news; others go out as replay
BATCH_FRAMES = 20  # a backlog goes out with several frames in a message: MQTT costs more than they do
BATCH_BYTES = 65_536
IDLE_SECONDS = 1.0


class BootTimes(Protocol):
    """Knows when this machine booted."""

    boot: str

    def booted(self, boot: str) -> float | None:
        """Return the time of a boot in seconds since 1970 UTC, None while it is not known."""
        ...


class UnstampedFrame(msgspec.Struct):
    """A frame in the outbox that waits for the clock: its row times are seconds since that boot."""

    boot: str
    blocks: list[Block]


class _Batch(NamedTuple):
    news: bool
    payload: bytes
    last: int
    resent: int
    unstamped: int


Publish = Callable[[bool, bytes], bool]  # (news, a list of frames): returns False if the broker is away


class Sender:
    """Decides which frame goes out next. Not thread-safe: its owner calls `pump`, and holds a lock."""

    def __init__(
        self,
        outbox: Outbox,
        clock: BootTimes,
        publish: Publish,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._publish = publish
        self._now = now
        self._reader = OutboxReader(outbox)
        first = outbox.segments[0] if outbox.segments else None
        self.epoch = first.epoch if first else outbox.epoch
        self.committed = self.sent = (first.first if first else 1) - 1
        self._base = self.sent + 1
        self._highest: dict[str, int] = {}  # of each epoch, ever sent by this process
        self._storage = ""
        self._has_watermark = False
        self._connected = False
        self._wait_until = -math.inf
        self._progress = now()
        self._stored = now()  # when storage last had everything, or committed more
        self._rewound = -math.inf
        self._commit_seconds = 0.0
        self._timeout = _timeout(self._commit_seconds)
        self._window = WINDOW
        self.resent = 0
        self.unstamped = 0
        self.waits_for_clock = False

    @property
    def backlog(self) -> int:
        """How many frames storage has not committed yet, as far as it has reported."""
        return _frames_after(self._outbox.segments, self.epoch, self.committed)

    @property
    def seconds_not_stored(self) -> float:
        """For how many seconds storage has not committed any of the frames that wait for it; 0 if none does."""
        return self._now() - self._stored if self.backlog else 0.0

    def connect(self) -> None:
        """Note a new connection: frames in flight may be lost."""
        self._connected = True
        self._progress = self._now()
        self._window = WINDOW
        self._rewind(self.committed + 1)
        if not self._has_watermark and (self.sent + 1 < self._outbox.next or self.epoch != self._outbox.epoch):
            self._wait_until = self._now() + WATERMARK_SECONDS

    def disconnect(self) -> None:
        """Note that the broker is away: nothing goes out until the next connect."""
        self._connected = False

    def close(self) -> None:
        """Close the file of the outbox that is being read."""
        self._reader.start()

    def watermark(self, mark: Watermark) -> None:
        """Act on a report of storage's progress."""
        restarted = mark.storage != self._storage
        self._storage = mark.storage
        if restarted and self._outbox.segments and self._outbox.segments[0].epoch != self.epoch:
            self._start_over()
        if mark.epoch != self.epoch:
            return
        if mark.epoch == self._outbox.epoch and mark.committed >= self._outbox.next:
            self._outbox.renew()
        now = self._now()
        self._has_watermark = True
        self._wait_until = -math.inf
        self._commit_seconds = mark.seconds
        self._window = WINDOW
        if mark.committed > self.committed or restarted:
            self._timeout = _timeout(self._commit_seconds)
            self._progress = self._stored = now
            self.committed = mark.committed
            self._outbox.trim(self.epoch, mark.committed)
        if mark.committed > self.sent:
            self._rewind(mark.committed + 1)
            self._note_sent(mark.committed)
        elif mark.gap and mark.wanted <= self.sent and (restarted or now - self._rewound >= REWIND_SECONDS):
            self._rewound = now
            self._rewind(mark.wanted)

    def pump(self) -> float:
        """Send what may be sent now; return in how many seconds to ask again at the latest."""
        now = self._now()
        if self.epoch == self._outbox.epoch and self.committed + 1 >= self._outbox.next:
            self._stored = now
        if not self._connected:
            return IDLE_SECONDS
        if now < self._wait_until:
            return self._wait_until - now
        if self.sent > self.committed and now - self._progress > self._timeout.delay:
            self._timeout.next()
            self._progress = now
            self._window = 1
            self._rewind(self.committed + 1)
        self.waits_for_clock = False
        while batch := self._batch():
            if self.sent == self.committed:
                self._progress = now
            if not self._publish(batch.news, batch.payload):
                self._rewind(self.sent + 1)
                break
            self.sent = batch.last
            self.resent += batch.resent
            self.unstamped += batch.unstamped
            self._note_sent(batch.last)
        return IDLE_SECONDS

    def _batch(self) -> "_Batch | None":
        """Return the next frames that may go out in one message, None if no frame may."""
        frames: list[bytes] = []
        last, size, resent, unstamped, news = self.sent, 0, 0, 0, False
        while last - self.committed < self._window and len(frames) < BATCH_FRAMES and size < BATCH_BYTES:
            record = self._reader.peek()
            if record is None or (frames and (record.epoch != self.epoch or record.sequence != last + 1)):
                break
            if not frames and not self._in_order(record):
                break
            first_time = record.sequence > self._highest.get(record.epoch, 0)
            close = record.epoch == self._outbox.epoch and self._outbox.next - record.sequence <= LIVE_FRAMES
            if frames and (first_time and close) != news:
                break
            framed = self._frame(record)
            if framed is None:
                self.waits_for_clock = True
                break
            self._reader.advance()
            frame, lost = framed
            last, news = record.sequence, first_time and close
            size += len(frame)
            resent += not first_time
            unstamped += lost if first_time else 0
            frames.append(frame)
        if not frames:
            return None
        return _Batch(news, b"[" + b",".join(frames) + b"]", last, resent, unstamped)

    def _in_order(self, record: SegmentRecord) -> bool:
        """Whether a frame may follow the one sent before; after a hole, only when everything before it is settled."""
        if record.epoch == self.epoch and record.sequence == self.sent + 1:
            return True
        settled = max(self.committed, min(self._outbox.first(self.epoch) - 1, self.sent))
        if settled < self.sent:
            return False
        self.epoch = record.epoch
        self._base = record.sequence
        self.committed = self.sent = record.sequence - 1
        return True

    def _rewind(self, sequence: int) -> None:
        self._reader.rewind(self.epoch, sequence)
        self.sent = sequence - 1
        self._base = min(self._base, self._outbox.first(self.epoch))

    def _start_over(self) -> None:
        """Go to the oldest frame in the outbox: a storage that was restored may miss the end of an earlier epoch."""
        first = self._outbox.segments[0]
        self.epoch = first.epoch
        self.committed = self.sent = first.first - 1
        self._base = first.first
        self._reader.start()

    def _note_sent(self, sequence: int) -> None:
        self._highest[self.epoch] = max(self._highest.get(self.epoch, 0), sequence)

    def _frame(self, record: SegmentRecord) -> tuple[bytes, int] | None:
        """Return a frame as it is sent, and how many readings it lost because their time was never known.

        Returns None while the time may still become known.
        """
        payload, unstamped = record.payload, 0
        if payload.startswith(b"{"):
            frame = msgspec.json.decode(payload, type=UnstampedFrame)
            booted = self._clock.booted(frame.boot)
            if booted is None and frame.boot == self._clock.boot:
                return None
            if booted is None:
                unstamped = sum(len(block.rows) for block in frame.blocks)
                log.error(
                    "%d readings of a boot whose time was never known are lost: %s",
                    unstamped,
                    payload[:200],
                )
                payload = b"[]"
            else:
                payload = msgspec.json.encode([stamped(block, booted) for block in frame.blocks])
        head = f'{{"e":"{record.epoch}","q":{record.sequence},"b":{self._base},"x":{unstamped},"i":'
        return head.encode() + payload + b"}", unstamped


def _frames_after(segments: Sequence[Segment], epoch: str, committed: int) -> int:
    """Return how many frames there are after one of an epoch."""
    start = next((index for index, segment in enumerate(segments) if segment.epoch == epoch), 0)
    return sum(
        max(0, segment.next - (max(segment.first, committed + 1) if segment.epoch == epoch else segment.first))
        for segment in segments[start:]
    )


def _timeout(commit_seconds: float) -> Backoff:
    """Return how long storage may make no progress before frames go out again: `delay`, longer with every time."""
    first = min(max(SHORTEST_TIMEOUT_SECONDS, 2 * commit_seconds + 1), LONGEST_TIMEOUT_SECONDS)
    timeout = Backoff(first, LONGEST_TIMEOUT_SECONDS, steady)
    timeout.next()
    return timeout


def stamped(block: Block, booted: float) -> Block:
    """Return a block with times in seconds since 1970 UTC instead of seconds since a boot."""
    rows = [[round(row[0] + booted, 3), *row[1:]] for row in block.rows]
    return msgspec.structs.replace(block, rows=rows)
