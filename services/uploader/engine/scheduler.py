"""Chooses what a target is sent next: dead letters, late intervals, live data, the backlog."""

import logging
from datetime import UTC, datetime

from heliograph.store.interface import Reader
from services.uploader.engine.batch import Batch
from services.uploader.engine.delivery_state import DeliveryState
from services.uploader.engine.interval_source import IntervalSource
from services.uploader.engine.prefetch import Prefetch
from services.uploader.engine.progress import TargetProgress
from services.uploader.engine.raw_source import RawSource
from services.uploader.engine.source import ChannelMap, NewestCursor, RowSource
from services.uploader.engine.start_point import start_point
from services.uploader.engine.state import StateFile
from services.uploader.options import TargetOptions
from services.uploader.target import Limits, Preparing, Row, Target

log = logging.getLogger(__name__)


def interval_of(options: TargetOptions, limits: Limits) -> float:
    """Return the seconds of the intervals whose averages are sent, 0 for readings as they are."""
    if limits.interval and (not options.interval or options.interval % limits.interval):
        return limits.interval
    return options.interval


class Scheduler:
    """Chooses the batches of one target, and records in its state what is settled; raises StoreAway."""

    def __init__(
        self,
        options: TargetOptions,
        target: Target,
        file: StateFile,
        state: DeliveryState,
        reader: Reader,
        channels: ChannelMap,
    ) -> None:
        """Take the interval of averages from options and limits as they are now."""
        self.interval = interval_of(options, target.limits)
        self.retry_dead_letters = True  # whether there may be some that are to be sent again
        self._options = options
        self._target = target
        self._file = file
        self._state = state
        self._reader = reader
        self._channels = channels
        self._has_begun = False
        self._range_end = 0.0  # of the range that the last batch is part of
        self._intervals: IntervalSource | None = None
        self._open()

    def request_prefetch(self, batch: Batch, rows: int) -> None:
        """Prefetch the next batch while the target is busy with this one, if there is more of the same."""
        if not self.interval and batch.kind == "range" and batch.size() >= rows and self._range_end > batch.upto:
            self._prefetch.request(batch.upto, self._range_end, rows)

    def prefetch(self) -> None:
        """Read the next batch, if that was requested."""
        self._prefetch.fetch()

    def begin(self, now: float) -> bool:
        """Decide where to begin, unless that is known; return whether a batch that was chosen before is void now.

        It is if the clock was ahead, and is right again. See start_point.py; raises TryLater, StoreAway.
        """
        state = self._state
        went_back = self._is_same() and self._follow_clock(now)
        if self._has_begun:
            return went_back
        if self._continues(now):
            self._has_begun = True
            return went_back
        start = start_point(self._options, self._target, state, self._intervals, now)
        state.progress, state.late_intervals = TargetProgress(start.floor), []
        state.start_time, state.newer_than = start.start_time, dict(start.newer_than)
        state.passed_over += start.passed_over
        state.started, state.interval = True, self.interval
        state.timezone = "UTC" if self._intervals is None else self._intervals.grid.timezone
        self._file.save(self._options.name, state)
        self._has_begun = True
        self._open()
        return went_back

    def _is_same(self) -> bool:
        """Whether positions in the state mean what they mean to this target as it is now."""
        state = self._state
        timezone = "UTC" if self._intervals is None else self._intervals.grid.timezone
        return state.started and (state.interval, state.timezone) == (self.interval, timezone)

    def _continues(self, now: float) -> bool:
        """Whether the positions in the state are those of this target as it is now."""
        return self._is_same() and self._state.progress.tip() <= self._newest_possible(now)

    def _follow_clock(self, now: float) -> bool:
        if self._intervals is None or not now:
            return False
        floor = self._intervals.grid.start(now)
        if not self._state.follow_clock(now, floor):
            return False
        log.warning(
            "target %s was sent averages of times more than a day ahead of the clock, which must have been wrong:"
            " it continues with those since %s",
            self._options.name,
            datetime.fromtimestamp(self._state.progress.floor, UTC).isoformat(timespec="seconds"),
        )
        self._file.save(self._options.name, self._state)
        return True

    def next(self, rows: int, now: float, *, backlog: bool) -> Batch | None:
        """Return the batch to send at a moment, None if there is none; without `backlog` only what should not wait."""
        if self.retry_dead_letters:
            if marked := self._file.dead_letters(self._options.name, retry=True, limit=rows):
                return Batch.of("dead_letters", 0, 0, [one.row._replace(position=one.id) for one in marked])
            self.retry_dead_letters = False
        limits, progress = self._target.limits, self._state.progress
        if self._intervals is not None and limits.overwrites and (late := self._late(self._intervals, rows)):
            return late
        head = self._source.head(now)
        if self._options.order == "live" and not limits.ordered:
            begin = max(progress.tip(), self._source.live_from(head))
            if begin < head:
                return self._range(begin, head, rows)
        if not backlog:
            return None
        floor, end = progress.hole()
        upto = head if end is None else min(end, head)
        return self._range(floor, upto, rows) if floor < upto else None

    def settle(self, rest: Batch) -> None:
        """Note what is settled of a batch of which this is left."""
        state = self._state
        if rest.kind == "late":
            open_ = set(rest.positions())
            late = state.late_intervals
            state.late_intervals = [end for end in late if not rest.after < end <= rest.upto or end in open_]
        elif rest.kind == "range":
            lowest = min(rest.positions(), default=None)
            if lowest is not None:
                lowest = self._intervals.grid.before(lowest) if self._intervals is not None else lowest - 1
            state.progress.finish(rest.after, rest.upto if lowest is None else lowest)

    def backlog(self, now: float) -> tuple[int, float | None]:
        """Return how many rows are not sent yet, and the time (s UTC) of the oldest; of many it is an estimate."""
        late = [self._intervals.grid.before(end) for end in self._state.late_intervals] if self._intervals else []
        counted = [self._source.count(*hole) for hole in self._state.progress.holes(self._source.head(now))]
        times = [*late, *(time for _, time in counted if time is not None)]
        return len(late) + sum(count for count, _ in counted), min(times, default=None)

    def newest(self) -> Row | None:
        """Return the newest row there is."""
        return self._source.newest()

    def _open(self) -> None:
        """Read from the source that the state asks for."""
        state = self._state
        if self.interval:
            self._intervals = IntervalSource(
                self._reader, self._channels, self._options, self.interval, state.seen_cursor, state.newer_than
            )
        self._source: RowSource = self._intervals or RawSource(
            self._reader, self._channels, state.start_time, state.newer_than
        )
        self._prefetch = Prefetch(self._source, self._target.prepare if isinstance(self._target, Preparing) else None)

    def _newest_possible(self, now: float) -> float:
        """Return the newest position there can be: a store that was restored may have gone back."""
        return now + self.interval if self.interval else NewestCursor(self._reader).cursor()

    def _late(self, intervals: IntervalSource, rows: int) -> Batch | None:
        """Return the next intervals that changed after they were sent."""
        state = self._state
        progress = state.progress
        late = {end for end in intervals.late(progress.tip()) if progress.is_done(end)}
        state.seen_cursor = intervals.seen_cursor
        if late:
            state.late_intervals = sorted(late.union(state.late_intervals))
        if not state.late_intervals:
            return None
        first = last = state.late_intervals[0]
        for end in state.late_intervals[1:rows]:
            if intervals.grid.before(end) != last:
                break
            last = end
        page = intervals.read(intervals.grid.before(first), last, rows)
        requested = set(state.late_intervals)
        return Batch.of("late", page.after, page.upto, [row for row in page.rows if row.position in requested])

    def _range(self, begin: float, end: float, rows: int) -> Batch:
        self._range_end = end
        return self._prefetch.take(begin, end, rows)
