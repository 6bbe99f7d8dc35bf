"""Times for readings that have none of their own: that of their arrival, each another millisecond than the one before.

The store keeps one reading of a device for each millisecond. What arrives faster, as a list in one request or lines that
waited in a buffer, is spread behind the first: one millisecond each, in order.
"""

import logging
import threading
from collections import deque

from heliograph.clock import MILLISECOND, Clock
from heliograph.messages import Value
from heliograph.pending import Pending

log = logging.getLogger(__name__)

SPREAD_SECONDS = 60.0  # how far ahead of the clock readings may be spread: 60,000 of one device in one moment
BACK_SECONDS = 1.0  # a clock that is set back by more than this is followed, by less waited for
MOST_AT_ONCE = SPREAD_SECONDS / MILLISECOND
MAX_DEVICES = 10_000


class ArrivalTimes:
    """Gives the readings of each device their times, on one clock. Not thread-safe.

    `crowded` counts the readings for which there was no millisecond left; each replaces the one before it.
    """

    def __init__(self) -> None:
        self.last: dict[str, tuple[float, float]] = {}  # of each device: the last time given, and the clock then
        self.crowded = 0

    def stamp(self, device: str, clock: float) -> float:
        """Return the time of a reading that arrived at `clock`, in seconds: later than any given before."""
        time = round(clock, 3)
        given, before = self.last.get(device, (0.0, 0.0))
        if time <= given and clock > before - BACK_SECONDS:
            time = round(given + MILLISECOND, 3)
            if time > clock + SPREAD_SECONDS:
                time = given
                if not self.crowded:
                    log.warning("%s: more than %.0f readings at once: some replace others", device, MOST_AT_ONCE)
                self.crowded += 1
        elif not given and len(self.last) >= MAX_DEVICES:
            self._forget_past(clock)
        self.last[device] = time, clock
        return time

    def follow(self, earlier: "ArrivalTimes", offset: float) -> None:
        """Give no time that was given on an earlier clock, which was behind this one by `offset` seconds."""
        for device, (given, clock) in earlier.last.items():
            self.last[device] = round(given + offset + MILLISECOND, 3), clock + offset
        earlier.last.clear()

    def _forget_past(self, clock: float) -> None:
        """Forget the devices whose last time is past: any new one is later."""
        for device in [name for name, (given, _) in self.last.items() if given < clock]:
            del self.last[device]


class ArrivalStamper:
    """Puts readings that have no time of their own into an inbox, in the order of the times it gives them; thread-safe."""

    def __init__(self, clock: Clock, inbox: deque[Pending]) -> None:
        self._clock = clock
        self._inbox = inbox
        self._utc = ArrivalTimes()
        self._since_boot = ArrivalTimes()  # while the clock has not been set
        self._lock = threading.Lock()

    @property
    def crowded(self) -> int:
        """How many readings had to take the time of the one before them."""
        return self._utc.crowded + self._since_boot.crowded

    def put(self, device: str, values: dict[str, Value], arrived: float | None = None) -> None:
        """Put a reading that arrived now, or at a time on this machine's clock, into the inbox."""
        with self._lock:
            clock = self._clock
            if not clock.synchronised:
                since_boot = self._since_boot.stamp(device, clock.since_boot())
                self._inbox.append(Pending(device, clock.boot, since_boot, values, round(clock.now(), 3)))
                return
            if self._since_boot.last and (booted := clock.booted(clock.boot)) is not None:
                self._utc.follow(self._since_boot, booted)
            time = self._utc.stamp(device, clock.now() if arrived is None else arrived)
            self._inbox.append(Pending(device, "", time, values, time))
