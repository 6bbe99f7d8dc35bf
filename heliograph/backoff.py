"""How long to leave the broker alone before the next attempt. Pure; knows no clock."""

import random
from collections.abc import Callable

FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 30.0
STABLE_SECONDS = 1.0  # a connection that lives longer than this, and than the wait before it, is a good one


class Backoff:
    """How long to wait before the next attempt: twice as long as the last time, and short again after a good connection."""

    def __init__(self, jitter: Callable[[float, float], float] = random.uniform) -> None:
        self._jitter = jitter
        self._delay = FIRST_DELAY_SECONDS

    def after(self, lived: float) -> float:
        """Return the seconds to wait after a connection that lived this long, 0 if there was none."""
        if lived > max(STABLE_SECONDS, self._delay):
            self._delay = FIRST_DELAY_SECONDS
        delay = self._delay
        self._delay = min(delay * 2, LONGEST_DELAY_SECONDS)
        return delay * self._jitter(0.5, 1.0)
