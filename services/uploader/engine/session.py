"""An open target: its next batch, its requests, and their results."""

import time
from collections.abc import Callable
from functools import partial

from heliograph.errors import StoreAway
from heliograph.store.interface import Reader
from services.uploader.engine.batch import Batch
from services.uploader.engine.batch_size import BatchSize
from services.uploader.engine.checkpoint import Checkpoint
from services.uploader.engine.delivery import Delivery
from services.uploader.engine.delivery_state import DeliveryState
from services.uploader.engine.following import follow_renames
from services.uploader.engine.in_flight import Delivered, request_of
from services.uploader.engine.rate_limit import HOUR, RateLimit
from services.uploader.engine.result import BatchResult
from services.uploader.engine.scheduler import Scheduler, interval_of
from services.uploader.engine.screening import screened
from services.uploader.engine.source import ChannelMap, NewestCursor
from services.uploader.engine.state import StateFile
from services.uploader.options import TargetOptions
from services.uploader.target import Row, Target, TryLater, newest_of

UNUSABLE_SECONDS = 60.0  # until options that this machine cannot carry out are tried again
LIVE_SECONDS = 10.0  # as often as this, live data may need a request that the backlog does not get


class TargetSession:
    """Sends one batch after another; raises TryLater, StoreAway, StateAway."""

    def __init__(
        self,
        options: TargetOptions,
        target: Target,
        state: DeliveryState,
        file: StateFile,
        reader: Reader,
        channels: ChannelMap,
        redact: Callable[[str], str],
    ) -> None:
        self.target = target
        self.state = state
        self.batch: Batch | None = None
        self.checkpoint = Checkpoint(file, options.name, state)
        self.rate_limit = RateLimit()
        self._options = options
        self._file = file
        self._size = BatchSize(options, target)
        self._delivery = Delivery(target, redact, self._size, self.newest_row)
        self._delivered: Delivered | None = None
        self._open_scheduler = partial(Scheduler, options, target, file, state, reader, channels)
        self._scheduler = self._open_scheduler()

    def retry_dead_letters(self) -> None:
        """Look for dead letters that are marked to be sent again."""
        self._scheduler.retry_dead_letters = True

    def prefetch(self) -> None:
        """Prefetch the next batch while the target is busy."""
        self._scheduler.prefetch()

    def newest_row(self) -> Row | None:
        """Return the newest row of the store."""
        return self._current_scheduler().newest()

    def backlog(self, now: float) -> tuple[int, float | None]:
        """Return how many readings or intervals are not sent yet, and the time (s UTC) of the oldest."""
        return self._scheduler.backlog(now)

    def dead_letters(self) -> int:
        """Return how many dead letters the target has."""
        return self._file.count(self._options.name)

    def wait(self, *, backlog: bool = False) -> float:
        """Return for how many seconds no request may begin; some requests of an hour are for live data only."""
        limits, options = self.target.limits, self._options
        distance = max(limits.seconds, options.min_interval)
        per_hour = min((number for number in (limits.per_hour, options.max_requests_per_hour) if number), default=0)
        reserved = 0
        if backlog and options.order == "live":
            reserved = min(int(HOUR / max(distance, interval_of(options, limits), LIVE_SECONDS)), per_hour // 2)
        return self.rate_limit.wait(time.monotonic(), distance, per_hour, reserved)

    def next_batch(self, now: float, *, rows: int = 0) -> bool:
        """Choose a batch unless there is one, of about so many rows if that is not 0; return whether there was one."""
        scheduler = self._current_scheduler()
        if scheduler.begin(now):
            self.batch = None
        if self.batch is None:
            most = rows or self._size.largest()
            batch = scheduler.next(most, now, backlog=not self.wait(backlog=True))
            if batch is None:
                return False
            self._apply(screened(batch, self.target.limits, self.state.newest_by_device, now))
        if self.batch is not None and not rows:
            scheduler.request_prefetch(self.batch, self._size.largest())
        return True

    def send(self, now: Callable[[], float], *, rows: int = 0) -> BatchResult | None:
        """Send the next request of the batch, of at most so many rows if that is not 0; return the result."""
        delivered = None if self.target.limits.overwrites else self._skip_delivered()
        if self.batch is None:
            return delivered
        result = self._send(self.batch, rows)
        if result.accepted:
            self.state.last_success = round(now(), 3)
        self._apply(result)
        if result.retry:
            self.checkpoint.save()
        return delivered.then(result) if delivered else result

    def _send(self, batch: Batch, rows: int) -> BatchResult:
        size = 0
        if batch.pieces:
            size = rows or self._size.next(batch.pieces[0][0])
            if not self.target.limits.overwrites:
                self.state.in_flight = request_of(batch, size)
                self._file.save(self._options.name, self.state)
            self.rate_limit.began(time.monotonic())
        result = self._delivery.send(batch, size)
        if not result.retry and not result.unconfirmed:
            self.state.in_flight = None
        return result

    def _skip_delivered(self) -> BatchResult | None:
        """Return the rows of an unconfirmed request that have arrived, and remove them from the batch."""
        if request := self.state.in_flight:
            newest = newest_of(self.target)
            self.state.in_flight = None
            self._delivered = None if newest is None or newest <= self.state.newest else Delivered(request, newest)
        result = self._delivered.accepted(self.batch) if self._delivered and self.batch else None
        if not result or not result.accepted:
            return None
        self._apply(result)
        self.checkpoint.save()
        return result

    def _apply(self, result: BatchResult) -> None:
        """Apply a result: save settled rows, keep the batch that is left."""
        limits, rest = self.target.limits, result.rest
        self.batch = rest if rest.size() else None
        if result.settles():
            if self.batch is None:
                self.state.passed_over += rest.passed_over
            self.state.note(result, ordered=limits.ordered)
            self._scheduler.settle(rest)
            self.checkpoint.add(rest.kind, result)
            if not result.retry:
                self.checkpoint.save_if_due(at_once=not limits.overwrites)

    def _current_scheduler(self) -> Scheduler:
        """Return the scheduler; a new one when the target has changed its interval."""
        if self._scheduler.interval != interval_of(self._options, self.target.limits):
            self.batch = None
            self._scheduler = self._open_scheduler()
        return self._scheduler


def open_session(
    options: TargetOptions,
    reader: Reader,
    channels: ChannelMap,
    file: StateFile,
    open_target: Callable[[], Target],
    redact: Callable[[str], str],
    now: Callable[[], float],
) -> TargetSession:
    """Open a target, which continues where it was; a new one is saved first, so that no later arrival is missed.

    Raises StoreAway if the time is not known yet, TryLater if this machine cannot carry the options out.
    """
    state = file.delivery_state(options.name)
    renames = reader.renames()
    if state is None:
        state = DeliveryState(first_seen=now(), seen_cursor=NewestCursor(reader).cursor(), renames=len(renames))
        if not state.first_seen:
            raise StoreAway("the clock is not set yet, and the store is empty")
        file.save(options.name, state)
    follow_renames(file, options.name, state, renames, channels)
    try:
        target = open_target()
    except ValueError as error:
        raise TryLater(str(error), after=UNUSABLE_SECONDS) from None
    return TargetSession(options, target, state, file, reader, channels, redact)
