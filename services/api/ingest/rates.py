"""How often someone may do something."""

import time
from collections import OrderedDict
from collections.abc import Callable

REMEMBERED = 10_000


class Rates:
    """A bucket of tokens for each of at most so many callers: `burst` at once, then `per_second`."""

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

    def take(self, who: str) -> float:
        """Take a token and return 0, or the seconds until there is one."""
        tokens = self._tokens(who)
        if tokens < 1:
            return (1 - tokens) / self._per_second
        self._put(who, tokens - 1)
        return 0.0

    def give_back(self, who: str) -> None:
        """Undo a `take` that should not count."""
        self._put(who, min(self._burst, self._tokens(who) + 1))

    def _tokens(self, who: str) -> float:
        tokens, since = self._buckets.get(who, (self._burst, self._now()))
        return min(self._burst, tokens + (self._now() - since) * self._per_second)

    def _put(self, who: str, tokens: float) -> None:
        self._buckets[who] = tokens, self._now()
        self._buckets.move_to_end(who)
        if len(self._buckets) > self._remembered:
            self._buckets.popitem(last=False)
