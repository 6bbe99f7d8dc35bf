"""Rate limits: token buckets, one per client."""

import time
from collections import OrderedDict
from collections.abc import Callable

REMEMBERED = 10_000


class RateLimits:
    """A token bucket for each client, `remembered` of them at most: `burst` requests at once, then `per_second`."""

    def __init__(
        self,
        per_second: float,
        burst: float,
        now: Callable[[], float] = time.monotonic,
        remembered: int = REMEMBERED,
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._now = now
        self._remembered = remembered
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> float:
        """Take a token and return 0, or the seconds until there is one."""
        tokens = self._tokens(client)
        if tokens < 1:
            return (1 - tokens) / self._per_second
        self._put(client, tokens - 1)
        return 0.0

    def give_back(self, client: str) -> None:
        """Undo a `take` that should not count."""
        self._put(client, min(self._burst, self._tokens(client) + 1))

    def _tokens(self, client: str) -> float:
        tokens, since = self._buckets.get(client, (self._burst, self._now()))
        return min(self._burst, tokens + (self._now() - since) * self._per_second)

    def _put(self, client: str, tokens: float) -> None:
        self._buckets[client] = tokens, self._now()
        self._buckets.move_to_end(client)
        if len(self._buckets) > self._remembered:
            self._buckets.popitem(last=False)
