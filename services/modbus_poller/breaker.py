"""A circuit breaker: how often a device that does not respond is probed."""

from heliograph.backoff import Backoff, Jitter

FAILURES = 2  # in a row, before a device counts as offline: one may be a disturbance
FIRST_SECONDS = 10.0
LAST_SECONDS = 300.0


class CircuitBreaker:
    """Closed: poll as usual. Open: leave the device alone until `retry_at`, then probe it once.

    The delay doubles from FIRST_SECONDS to LAST_SECONDS; `jitter` returns the factor
    (about 1) that keeps devices from being probed all at once. Times are in seconds of the caller's clock.
    """

    def __init__(self, jitter: Jitter) -> None:
        self._backoff = Backoff(FIRST_SECONDS, LAST_SECONDS, jitter)
        self._failures = 0
        self.open = False
        self.retry_at = 0.0

    @property
    def delay(self) -> float:
        """The seconds between the last two probes, without jitter."""
        return self._backoff.delay

    def failed(self, now: float) -> bool:
        """Record that the device did not respond; return whether this opened the breaker."""
        opened = False
        if not self.open:
            self._failures += 1
            opened = self._failures >= FAILURES
            if not opened:
                return False
            self.open = True
        self.retry_at = now + self._backoff.next()
        return opened

    def answered(self) -> bool:
        """Record that the device responded; return whether the breaker was open."""
        was_open = self.open
        self.open = False
        self._failures = 0
        self._backoff.reset()
        return was_open
