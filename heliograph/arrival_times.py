"""Times for readings that have none of their own: that of their arrival, each another millisecond than the one before.

The store keeps one reading of a device for each millisecond. What arrives faster, as a list in one request or lines that
waited in a buffer, is spread behind the first: one millisecond each, in order.
"""

import logging
import threading
from collections import deque

from heliograph.clock import Clock
from heliograph.messages import Value
from heliograph.pending import Pending

log = logging.getLogger(__name__)

SPREAD_SECONDS = 60.0  # how far ahead of the clock readings may be spread: 60,000 of one device in one moment
BACK_SECONDS = 1.0  # a clock that is set back by more than this is followed, by less waited for
MILLISECOND = 0.001
MAX_DEVICES = 10_000


class ArrivalTimes:
    """Gives the readings of each device their times. Not thread-safe.

    `crowded` counts the readings for which there was no millisecond left; each replaces the one before it.
    """

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, float]] = {}  # of each device: the last time given, and the clock then
        self._unset: dict[str, tuple[float, float]] = {}  # the same in seconds since boot
        self.crowded = 0

    def stamp(self, device: str, clock: float) -> float:
        """Return the time of a reading that arrived at `clock`, in seconds UTC: later than any given before."""
        return self._next(self._last, device, clock)

    def stamp_since_boot(self, device: str, since_boot: float) -> float:
        """Return the same in seconds since boot, while the clock has not been set."""
        return self._next(self._unset, device, since_boot)

    @property
    def has_unset(self) -> bool:
        """Whether times were given since boot that the next ones in UTC have to follow: see `clock_was_set`."""
        return bool(self._unset)

    def clock_was_set(self, booted: float) -> None:
        """Let the times in UTC follow those since this boot, which was at `booted`."""
        for device, (given, clock) in self._unset.items():
            self._last[device] = round(given + booted + MILLISECOND, 3), clock + booted
        self._unset.clear()

    def _next(self, times: dict[str, tuple[float, float]], device: str, clock: float) -> float:
        time = round(clock, 3)
        given, before = times.get(device, (0.0, 0.0))
        if time <= given and clock > before - BACK_SECONDS:
            time = round(given + MILLISECOND, 3)
            if time > clock + SPREAD_SECONDS:
                time = given
                self.crowded += 1
        elif len(times) >= MAX_DEVICES and device not in times:
            _forget_past(times, clock)
        times[device] = time, clock
        return time


def _forget_past(times: dict[str, tuple[float, float]], clock: float) -> None:
    """Forget the devices whose last time is past: any new one is later."""
    for device in [name for name, (given, _) in times.items() if given < clock]:
        del times[device]


class ArrivalStamper:
    """Puts readings that have no time of their own into an inbox, in the order of the times it gives them; thread-safe."""

    def __init__(self, clock: Clock, inbox: deque[Pending]) -> None:
        self._clock = clock
        self._inbox = inbox
        self._times = ArrivalTimes()
        self._lock = threading.Lock()

    @property
    def crowded(self) -> int:
        """How many readings had to take the time of the one before them."""
        return self._times.crowded

    def put(self, device: str, values: dict[str, Value], arrived: float | None = None) -> None:
        """Put a reading that arrived now, or at a time on this machine's clock, into the inbox."""
        with self._lock:
            self._inbox.append(self._stamped(device, values, arrived))

    def _stamped(self, device: str, values: dict[str, Value], arrived: float | None) -> Pending:
        now, crowded = self._clock.now(), self._times.crowded
        if not self._clock.synchronised:
            since_boot = self._times.stamp_since_boot(device, self._clock.since_boot())
            return Pending(device, self._clock.boot, since_boot, values, round(now, 3))
        if self._times.has_unset and (booted := self._clock.booted(self._clock.boot)) is not None:
            self._times.clock_was_set(booted)
        time = self._times.stamp(device, now if arrived is None else arrived)
        if not crowded and self._times.crowded:
            log.warning("%s: more than %.0f readings at once: some replace others", device, 1000 * SPREAD_SECONDS)
        return Pending(device, "", time, values, time)
