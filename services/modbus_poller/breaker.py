"""A circuit breaker: how often a device that does not answer is asked."""

from collections.abc import Callable

FAILURES = 2  # in a row, before a device counts as lost: one may be a disturbance
FIRST_SECONDS = 10.0
LAST_SECONDS = 300.0


class Breaker:
    """Closed: ask as usual. Open: leave the device alone until `retry_at`, then probe it once.

    The wait doubles from FIRST_SECONDS to LAST_SECONDS; `jitter` returns the factor
    (about 1) that keeps devices from being probed all at once. Times are the caller's.
    """

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._failures = 0
        self.open = False
        self.seconds = 0.0
        self.retry_at = 0.0

    def failed(self, now: float) -> bool:
        """Take note that the device did not answer; return whether it is lost by that."""
        lost = False
        if self.open:
            self.seconds = min(2 * self.seconds, LAST_SECONDS)
        else:
            self._failures += 1
            lost = self._failures >= FAILURES
            if not lost:
                return False
            self.open = True
            self.seconds = FIRST_SECONDS
        self.retry_at = now + self.seconds * self._jitter()
        return lost

    def answered(self) -> bool:
        """Take note that the device answered; return whether it was lost before."""
        back = self.open
        self.open = False
        self._failures = 0
        return back
