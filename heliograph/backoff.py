"""How long to wait before the next attempt. Pure; knows no clock."""

import random
from collections.abc import Callable

FIRST_SECONDS = 0.1
LONGEST_SECONDS = 30.0
STABLE_SECONDS = 1.0  # a connection that lives longer than this, and than the wait before it, is a good one

Jitter = Callable[[], float]  # the factor that keeps many from coming back at the same moment


def spread() -> float:
    """Return a factor between a half and one."""
    return random.uniform(0.5, 1.0)


def steady() -> float:
    """Return 1: for a client that is alone."""
    return 1.0


class Backoff:
    """Waits before attempts: `first` seconds, then twice as long each time, up to `longest`, and `first` again after `reset`.

    `delay` is the last wait without its jitter, 0 if there was none since the last `reset`.
    """

    def __init__(self, first: float = FIRST_SECONDS, longest: float = LONGEST_SECONDS, jitter: Jitter = spread) -> None:
        self._first = first
        self._longest = longest
        self._jitter = jitter
        self.delay = 0.0

    def next(self) -> float:
        """Return the seconds to wait before the next attempt."""
        self.delay = self._following
        return self.delay * self._jitter()

    def reset(self) -> None:
        """Begin again with the first wait: an attempt succeeded."""
        self.delay = 0.0

    def after(self, lived: float) -> float:
        """Return the seconds to wait after a connection that lasted `lived` seconds, 0 if there was none; a good one resets it."""
        if lived > max(STABLE_SECONDS, self._following):
            self.reset()
        return self.next()

    @property
    def _following(self) -> float:
        return min(2 * self.delay, self._longest) if self.delay else self._first
