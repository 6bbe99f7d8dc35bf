"""Where a target begins: what the option `from` says, and what the target has already, device by device."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from heliograph.errors import StoreAway
from services.uploader.engine.delivery_state import DeliveryState
from services.uploader.engine.interval_source import IntervalSource
from services.uploader.engine.source import EVERY_DEVICE
from services.uploader.options import TargetOptions, beginning
from services.uploader.target import Target, newest_by_device

log = logging.getLogger(__name__)

OVERLAP_SECONDS = 3_600.0  # sent again to a target that reports its newest row, if that does no harm
TIME_STEP = 0.001  # of the store's times
MOST_NAMED = 5  # devices in a line of the log


class StartPoint(NamedTuple):
    """A position, and which rows after it are left out: those before a time, and by device those that the target has."""

    floor: float
    start_time: float = 0.0  # s UTC; rows from before are not wanted
    newer_than: Mapping[str, float] = {}  # s UTC by device, or EVERY_DEVICE
    passed_over: int = 0  # rows before the position that are wanted, and left out because the target has newer ones


def start_point(
    options: TargetOptions, target: Target, state: DeliveryState, intervals: IntervalSource | None, now: float
) -> StartPoint:
    """Return where a target begins, or continues when the positions in its state mean nothing any more.

    A target that replaces what it has gets what `from` asks for, unless that would be rises on another grid. Any other one
    gets of each device what is newer than what it has. A time ahead of the clock is no newest. Raises TryLater, StoreAway.
    """
    return _Finder(options, target, state, intervals, now).find()


class _Finder:
    def __init__(
        self, options: TargetOptions, target: Target, state: DeliveryState, intervals: IntervalSource | None, now: float
    ) -> None:
        self._options = options
        self._target = target
        self._state = state
        self._intervals = intervals
        self._now = now
        self._is_plain = target.limits.overwrites and not target.limits.ordered
        self._is_delta = options.counters == "delta"
        self._requested = beginning(options.start, options.zone())

    def find(self) -> StartPoint:
        known = self._known()
        after = {device: self._after(newest) for device, newest in known.items()}
        if not after and self._requested is None:
            floor = self._state.seen_cursor if self._intervals is None else self._first_seen(self._intervals)
            return StartPoint(floor)
        start = self._requested or 0.0
        if self._is_plain or self._state.started:
            start, newer_than = max(start, after.get(EVERY_DEVICE, 0.0)), dict[str, float]()
        else:
            newer_than = after
            if self._requested is None:
                newer_than.setdefault(EVERY_DEVICE, self._state.first_seen)
            self._report(known)
        if self._intervals is None:
            return StartPoint(0.0, start, newer_than)
        return self._first_interval(self._intervals, start, after.get(EVERY_DEVICE), newer_than)

    def _known(self) -> dict[str, float]:
        """Return the newest times of the target by device, as far as they matter."""
        state = self._state
        if state.started:
            return {EVERY_DEVICE: state.newest} if state.newest else {}
        # requests are dear where they are counted, and rises on another grid than those that it has would count twice
        obeys = self._is_plain and not self._target.limits.per_hour and not (self._intervals and self._is_delta)
        if obeys and self._requested is not None:
            log.info(
                "target %s gets all rows from %s on, as its option `from` asks, those that it may have as well",
                self._options.name,
                self._options.start,
            )
            return {}
        known = newest_by_device(self._target)
        if self._requested is None:
            return {device: min(newest, self._now) for device, newest in known.items()}
        return {device: newest for device, newest in known.items() if newest <= self._now}

    def _after(self, newest: float) -> float:
        """Return the time (s UTC) from which a target gets what it may lack, that has a row of time `newest`."""
        if self._intervals is not None and (self._is_delta or not self._is_plain):
            return self._end_of(newest, self._intervals)
        if self._state.started or not self._is_plain:
            return newest + TIME_STEP
        log.info(
            "target %s has rows up to %s: those of the hour before are sent again, for it may lack some",
            self._options.name,
            _written(newest),
        )
        return newest - OVERLAP_SECONDS

    def _end_of(self, newest: float, intervals: IntervalSource) -> float:
        """Return the end of the interval whose row a target has as its newest; of one on another grid, as far as it matters."""
        if self._options.timestamp == "end":
            return newest
        interval = intervals.grid.interval
        is_same = not self._state.started or self._state.interval == interval
        if is_same and intervals.grid.ceiling(newest) == newest:
            return intervals.grid.end(newest)
        return newest + ((self._state.interval or interval) if self._is_delta else TIME_STEP)

    def _first_interval(
        self, intervals: IntervalSource, start: float, after: float | None, newer_than: Mapping[str, float]
    ) -> StartPoint:
        """Return the first interval with readings that the target may lack; `after` is where that of every device ends."""
        if intervals.is_empty():
            raise StoreAway("the store is empty: there is no interval to begin with")
        if after is None:
            return StartPoint(intervals.beginning(start), start, newer_than)
        wanted, start = start, max(start, after, min(newer_than.values(), default=0.0))
        floor = intervals.beginning(start)
        if floor < start and (self._is_delta or not self._is_plain):
            floor = intervals.grid.ceiling(start)  # a part of that interval is there: it would count twice
        passed_over = 0
        if self._requested is not None and not self._state.started:
            first = intervals.beginning(wanted)
            passed_over = intervals.count(first, floor)[0] if first < floor else 0
        others = {device: time for device, time in newer_than.items() if device != EVERY_DEVICE}
        return StartPoint(floor, start, others, passed_over)

    def _first_seen(self, intervals: IntervalSource) -> float:
        return intervals.grid.start(self._state.first_seen)

    def _report(self, known: Mapping[str, float]) -> None:
        if known:
            named = sorted(known.items())[:MOST_NAMED]
            log.info(
                "target %s has rows already, and gets what is newer: %s%s",
                self._options.name,
                ", ".join(f"of {device} up to {_written(newest)}" for device, newest in named),
                f" and {len(known) - len(named)} more devices" if len(known) > len(named) else "",
            )


def _written(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds")
