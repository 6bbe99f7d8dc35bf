"""Where the intervals of averages begin and end (s UTC): as the buckets of the API do in a time zone.

Whole days are local days, of 23 to 25 hours; so are the parts of a day that a zone's midnight would not divide in UTC.
Quarters of an hour and their parts are the same in every zone.
"""

import math

from heliograph.store import buckets

EVERYWHERE = 900.0  # s: of it all time zones are a multiple ahead of UTC, since 2000


class IntervalGrid:
    """The edges of intervals of one length in one time zone; `timezone` is "UTC" if it makes no difference."""

    def __init__(self, interval: float, timezone: str) -> None:
        self.interval = interval
        self.timezone = "UTC" if EVERYWHERE % interval == 0 or interval % 1 else timezone
        self._last = (0.0, 0.0)  # the interval that was asked for last

    def start(self, time: float) -> float:
        """Return the start of the interval that holds a time."""
        return self._of(time)[0]

    def end(self, time: float) -> float:
        """Return the end of the interval that holds a time."""
        return self._of(time)[1]

    def before(self, edge: float) -> float:
        """Return the start of the interval that ends at an edge."""
        return self.start(edge - min(0.5, self.interval / 2))

    def ceiling(self, time: float) -> float:
        """Return the first edge at or after a time."""
        start, end = self._of(time)
        return start if start == time else end

    def edges(self, after: float, upto: float, most: int) -> list[float]:
        """Return the edges from one up to another, of at most so many intervals."""
        if self.timezone == "UTC":
            count = max(0, min(most, round((upto - after) / self.interval)))
            return [after + index * self.interval for index in range(count + 1)]
        end = min(upto, after + most * self.interval)
        if end <= after:
            return [after]
        every = buckets.edges(after, end, self._bucket, self.timezone)[: most + 1]
        return [after, *(edge for edge in every if after < edge <= upto)]

    def _of(self, time: float) -> tuple[float, float]:
        if not self._last[0] <= time < self._last[1]:
            if self.timezone == "UTC":
                start = math.floor(time / self.interval) * self.interval
                self._last = start, start + self.interval
            else:
                start, end = buckets.edges(time, math.nextafter(time, math.inf), self._bucket, self.timezone)[:2]
                self._last = start, end
        return self._last

    @property
    def _bucket(self) -> str:
        return f"{round(self.interval)}s"
