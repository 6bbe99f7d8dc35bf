"""A circuit breaker: how often a device that does not respond is probed."""

from collections.abc import Callable

FAILURES = 2  # in a row, before a device counts as offline: one may be a disturbance
FIRST_SECONDS = 10.0
LAST_SECONDS = 300.0


class CircuitBreaker:
    """Closed: poll as usual. Open: leave the device alone until `retry_at`, then probe it once.

    The delay doubles from FIRST_SECONDS to LAST_SECONDS; `jitter` returns the factor
    (about 1) that keeps devices from being probed all at once. Times are in seconds of the caller's clock.
    """

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._failures = 0
        self.open = False
        self.delay = 0.0
        self.retry_at = 0.0

    def failed(self, now: float) -> bool:
        """Record that the device did not respond; return whether this opened the breaker."""
        opened = False
        if self.open:
            self.delay = min(2 * self.delay, LAST_SECONDS)
        else:
            self._failures += 1
            opened = self._failures >= FAILURES
            if not opened:
                return False
            self.open = True
            self.delay = FIRST_SECONDS
        self.retry_at = now + self.delay * self._jitter()
        return opened

    def answered(self) -> bool:
        """Record that the device responded; return whether the breaker was open."""
        was_open = self.open
        self.open = False
        self._failures = 0
        return was_open
