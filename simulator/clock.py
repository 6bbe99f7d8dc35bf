"""The site's time, which may start anywhere and run faster than real time."""

import threading
import time
from collections.abc import Callable

from simulator.readings import Controller, House, Meter
from simulator.site import Site, SitePlan

Clock = Callable[[], float]


def wall() -> float:
    """Return the process's own wall-clock time, whatever it says."""
    return time.time()


def fast(start: float, speed: float) -> Clock:
    """Return a clock that shows `start` now and goes `speed` times as fast as real time."""
    began = time.monotonic()
    return lambda: start + (time.monotonic() - began) * speed


class LiveSite:
    """A site that is always at its clock's time; any thread may look at it."""

    def __init__(self, plan: SitePlan, clock: Clock) -> None:
        self.clock = clock
        self._site = Site(plan, clock())
        self._lock = threading.Lock()

    def controller(self) -> Controller:
        """Return what the charge controller shows now."""
        with self._lock:
            self._site.advance(self.clock())
            return self._site.controller()

    def meter(self) -> Meter:
        """Return what the grid meter shows now."""
        with self._lock:
            self._site.advance(self.clock())
            return self._site.meter()

    def house(self) -> House:
        """Return what the radio nodes measure now."""
        with self._lock:
            self._site.advance(self.clock())
            return self._site.house()

    def switch_load(self, on: bool) -> None:
        """Switch the load on the controller."""
        with self._lock:
            self._site.load_switch = on
