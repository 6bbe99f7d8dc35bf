"""Filters for the values of one channel, in order of time: spikes, dead-band, stuck. Pure, apart from their memory.

A value that was stamped by a clock that was ahead has values of earlier times after it: each filter then continues at the
earlier time.
"""

import math
from collections import deque

from heliograph.messages import Value

Timed = tuple[float, Value]


class Spikes:
    """Removes single jumps; passes a step as soon as later readings confirm it.

    A value further than `threshold` from the median of the last `count` readings, itself included, waits. As soon as
    a value is near the median again, the waiting values that are near it, too, pass with their own times; the others
    were spikes. At most count // 2 values wait, so anything that lasts longer passes: a step, or a ramp. This is Hampel's
    decision filter with a fixed threshold in place of a multiple of the deviation, which is 0 for a sensor at rest.
    """

    def __init__(self, threshold: float, count: int) -> None:
        self._threshold = threshold
        self._window: deque[float] = deque(maxlen=count)
        self._most = count // 2
        self.waiting: list[tuple[float, float]] = []

    def take(self, at: float, value: float) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        """Take the next value; return the values that pass now, and those that were spikes."""
        window = self._window
        window.append(value)
        median = sorted(window)[len(window) // 2] if len(window) > 2 else value
        if abs(value - median) > self._threshold:
            self.waiting.append((at, value))
            if len(self.waiting) <= self._most:
                return [], []
            good, self.waiting = self.waiting, []
            return good, []
        if not self.waiting:
            return [(at, value)], []
        waited, self.waiting = self.waiting, []
        good = [one for one in waited if abs(one[1] - median) <= self._threshold]
        return [*good, (at, value)], [one for one in waited if one not in good]


class Deadband:
    """Removes values that differ by at most `width` from the published one, until `heartbeat` seconds have passed.

    Before a change the last removed value is published with its own time: a line between the points stays flat until
    the change, and a counter has the value it had before. Texts and booleans have no width: they change or not.
    """

    def __init__(self, width: float, heartbeat: float) -> None:
        self._width = width
        self._heartbeat = heartbeat
        self._published: Timed | None = None
        self._left: Timed | None = None
        self.left_out = 0

    def take(self, at: float, value: Value) -> list[Timed]:
        """Take the next value; return the values to publish now."""
        left, published = self._left, self._published
        if published and published[0] > at:
            published = at, published[1]
            self._published = published
        moved = published is None or self._differs(published[1], value)
        if not moved and published and at - published[0] < self._heartbeat:
            self._left = at, value
            self.left_out += left is not None
            return []
        before = left and (moved or at - left[0] > self._heartbeat)
        self.left_out += left is not None and not before
        self._published, self._left = (at, value), None
        return [left, (at, value)] if left and before else [(at, value)]

    def release(self) -> list[Timed]:
        """Return the last value if it was removed: no value follows."""
        left, self._left = self._left, None
        return [left] if left else []

    def _differs(self, published: Value, value: Value) -> bool:
        if isinstance(value, (bool, str)) or isinstance(published, (bool, str)):
            return type(value) is not type(published) or value != published
        return abs(value - published) > self._width


class Stuck:
    """Notices a value that has not changed for `seconds` while readings came."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._value = math.nan
        self._since = self._last = 0.0
        self.stuck = False

    def take(self, at: float, value: float) -> bool:
        """Take the next value; return whether `stuck` has changed."""
        if value != self._value or at - self._last > self._seconds:
            self._value, self._since = value, at
        self._last, self._since = at, min(self._since, at)
        before, self.stuck = self.stuck, at - self._since >= self._seconds
        return before != self.stuck
