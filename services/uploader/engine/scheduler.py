"""What a target is sent next: where it begins, dead letters, late intervals, what is live, the backlog."""

from heliograph.errors import StoreAway
from heliograph.store.interface import Reader
from services.uploader.engine.batch import Work
from services.uploader.engine.interval_source import IntervalSource
from services.uploader.engine.prefetch import Prefetch, Prepare
from services.uploader.engine.progress import Progress
from services.uploader.engine.raw_source import RawSource
from services.uploader.engine.source import ChannelMap, NewestCursor, Parcel, Source
from services.uploader.engine.state import DeliveryState, State
from services.uploader.options import TargetOptions, beginning
from services.uploader.target import Limits, Row, Target

OVERLAP_SECONDS = 3_600.0  # sent again to a target that says itself where it stands, if that does no harm
TIME_STEP = 0.001  # of the store's times


def interval_of(options: TargetOptions, limits: Limits) -> float:
    """Return the seconds of the intervals whose averages are sent, 0 for readings as they are."""
    if limits.interval and (not options.interval or options.interval % limits.interval):
        return limits.interval
    return options.interval


class Scheduler:
    """Chooses for one target, and keeps in `known` what is settled; raises StoreAway."""

    def __init__(
        self,
        options: TargetOptions,
        state: State,
        known: DeliveryState,
        reader: Reader,
        channels: ChannelMap,
        interval: float,
        prepare: Prepare | None = None,
    ) -> None:
        """`interval` is that of averages, 0 for readings; `prepare` what the target does with rows that may come next."""
        self.interval = interval
        self.letters = True  # whether there may be dead letters to send again
        self._options = options
        self._state = state
        self._known = known
        self._reader = reader
        self._channels = channels
        self._began = False
        self._until = 0.0  # where the range ends that the last piece of work is of
        self._averages: IntervalSource | None = None
        self._prepare = prepare
        self._source: Source = self._open()
        self._ahead = Prefetch(self._source, prepare)

    def look_ahead(self, work: Work, rows: int) -> None:
        """Wish to know what comes after this, if there is more of the same."""
        if not self.interval and work.kind == "range" and work.left() >= rows and self._until > work.upto:
            self._ahead.wish(work.upto, self._until, rows)

    def read_ahead(self) -> None:
        """Use the time in which the target is busy."""
        self._ahead.read()

    def begin(self, target: Target, now: float) -> None:
        """Decide where to begin, unless that is known; raises TryLater.

        A target that has data is brought what is newer, one that has none what the option `from` says.
        """
        known = self._known
        if self._began:
            return
        if known.started and known.interval == self.interval and known.progress.tip() <= self._utmost(now):
            self._began = True
            return
        newest = (known.newest or None) if known.started else target.newest()
        wanted = beginning(self._options.start, self._options.zone())
        again = 0.0 if known.started or target.limits.ordered or not target.limits.overwrites else OVERLAP_SECONDS
        start = 0.0
        if newest is not None:
            start = max(wanted or 0.0, min(newest, now) - again + (0.0 if again else TIME_STEP))
        elif wanted is not None:
            start = wanted
        if self._averages is not None:
            if newest is not None and not (again or known.started) and self._options.timestamp == "start":
                start += self.interval  # what is stamped with its start is whole
            floor = self._first_interval(self._averages, start, is_known=newest is not None or wanted is not None)
        else:
            floor = known.seen_cursor if newest is None and wanted is None else 0.0
            known.start_time = start
        known.progress, known.late_intervals = Progress(floor), []
        known.started, known.interval = True, self.interval
        self._began = True
        self._source = self._open()
        self._ahead = Prefetch(self._source, self._prepare)

    def next(self, limits: Limits, rows: int, now: float, *, backlog: bool) -> Work | None:
        """Return what to send at a moment, None if there is nothing; without `backlog` only what should not wait."""
        if self.letters:
            letters = self._state.dead_letters(self._options.name, retry=True, limit=rows)
            if letters:
                return Work(
                    "dead_letters", Parcel(0, 0, [letter.row._replace(position=letter.id) for letter in letters])
                )
            self.letters = False
        progress = self._known.progress
        if self._averages is not None and limits.overwrites and (late := self._late(self._averages, rows)):
            return late
        head = self._source.head(now)
        if self._options.order == "live" and not limits.ordered:
            begin = max(progress.tip(), head - self._source.live)
            if begin < head:
                return self._range(begin, head, rows)
        if not backlog:
            return None
        floor, end = progress.hole()
        upto = head if end is None else min(end, head)
        return self._range(floor, upto, rows) if floor < upto else None

    def settle(self, work: Work) -> None:
        """Note what of a piece of work is done."""
        known = self._known
        if work.kind == "late":
            open_ = work.positions()
            known.late_intervals = [
                end for end in known.late_intervals if not work.after < end <= work.upto or end in open_
            ]
        elif work.kind == "range":
            lowest = work.lowest()
            step = self.interval or 1
            known.progress.finish(work.after, work.upto if lowest is None else lowest - step)

    def backlog(self, now: float) -> tuple[int, float | None]:
        """Return how many readings or intervals are not sent yet, and the time (s UTC) of the oldest."""
        head = self._source.head(now)
        left = round(self._known.progress.left(head) / (self.interval or 1)) + len(self._known.late_intervals)
        if not left:
            return 0, None
        floor = self._known.progress.floor
        if self.interval:
            return left, min([floor, *(end - self.interval for end in self._known.late_intervals)])
        arrivals = self._reader.since(int(floor), 1)
        return left, arrivals[0].time if arrivals else None

    def newest(self) -> Row | None:
        """Return the newest row there is."""
        return self._source.newest()

    def _open(self) -> Source:
        known = self._known
        if self.interval:
            self._averages = IntervalSource(
                self._reader, self._channels, self._options, self.interval, known.seen_cursor
            )
            return self._averages
        return RawSource(self._reader, self._channels, known.start_time)

    def _utmost(self, now: float) -> float:
        """Return the newest position there can be: a store that was restored may have gone back."""
        return now + self.interval if self.interval else NewestCursor(self._reader).cursor()

    def _first_interval(self, averages: IntervalSource, start: float, *, is_known: bool) -> float:
        """Return where the first interval to send begins; unless the start is known, with the first sight of the target."""
        if not is_known:
            return self._known.first_seen // self.interval * self.interval
        if self._reader.extent() is None:
            raise StoreAway("the store is empty: there is no interval to begin with")
        return averages.beginning(start)

    def _late(self, averages: IntervalSource, rows: int) -> Work | None:
        known = self._known
        progress = known.progress
        late = {end for end in averages.late(progress.tip()) if progress.is_done(end)}
        known.seen_cursor = averages.seen
        if late:
            known.late_intervals = sorted(late.union(known.late_intervals))
        if not known.late_intervals:
            return None
        first = last = known.late_intervals[0]
        for end in known.late_intervals[1:rows]:
            if end != last + self.interval:
                break
            last = end
        parcel = averages.parcel(first - self.interval, last, rows)
        wanted = set(known.late_intervals)
        return Work("late", parcel._replace(rows=[row for row in parcel.rows if row.position in wanted]))

    def _range(self, begin: float, end: float, rows: int) -> Work:
        self._until = end
        return self._ahead.take(begin, end, rows)
