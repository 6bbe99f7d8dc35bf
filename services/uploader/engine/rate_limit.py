"""When the next request may begin: a distance between requests, so many in an hour, and pauses. Pure; is given the time."""

from collections import deque

from services.uploader.target import RESERVED_REQUESTS

HOUR = 3600.0
MOST_KEPT = 100_000
LONGEST_PAUSE = HOUR  # whatever a target asks for
UNREADABLE_PAUSE = 10.0


def bounded(seconds: float) -> float:
    """Return for how long to wait if a target asks for so many seconds: an hour at most."""
    return min(max(seconds, 0.0), LONGEST_PAUSE) if seconds == seconds else UNREADABLE_PAUSE


class RateLimit:
    """Counts requests; times are seconds of a clock that only rises."""

    def __init__(self) -> None:
        self._begun: deque[float] = deque(maxlen=MOST_KEPT)
        self._until = float("-inf")

    def began(self, now: float) -> None:
        """Note that a request begins."""
        self._begun.append(now)

    def pause(self, now: float, seconds: float) -> None:
        """Let no request begin for so many seconds, an hour at most."""
        self._until = max(self._until, now + bounded(seconds))

    def resume(self) -> None:
        """Forget all pauses."""
        self._until = float("-inf")

    def wait(self, now: float, distance: float, per_hour: int, reserved: int = 0) -> float:
        """Return for how many seconds no request may begin; 0 for a distance or a number of requests is no limit.

        `reserved` requests of the hour are left to more urgent data.
        """
        free = self._until
        if distance and self._begun:
            free = max(free, self._begun[-1] + distance)
        if per_hour:
            allowed = max(1, per_hour - min(RESERVED_REQUESTS, per_hour // 4) - reserved)
            while self._begun and self._begun[0] <= now - HOUR:
                self._begun.popleft()
            if len(self._begun) >= allowed:
                free = max(free, self._begun[-allowed] + HOUR)
        return max(0.0, free - now)
