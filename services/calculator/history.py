"""The newest values of one input, in order of time. Pure. Times are whole milliseconds since 1970 UTC."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

MAX_POINTS = 4_096
DISCARDED_POINTS = 256  # at once


class InputHistory:
    """Values by time. What is older than `floor` was discarded, and is not accepted again."""

    def __init__(self) -> None:
        self._times: list[int] = []
        self._values: list[float] = []
        self.floor: int | None = None

    @property
    def newest(self) -> int | None:
        """The time of the newest value; None if there is none."""
        return self._times[-1] if self._times else None

    @property
    def oldest(self) -> int | None:
        """The time of the oldest value; None if there is none."""
        return self._times[0] if self._times else None

    def add(self, at: int, value: float) -> bool:
        """Add a value, or replace the one of the same time; return False if that changes nothing, or is too old."""
        times, values = self._times, self._values
        if not times or at > times[-1]:
            times.append(at)
            values.append(value)
            if len(times) > MAX_POINTS:
                del times[:DISCARDED_POINTS], values[:DISCARDED_POINTS]
                self.floor = times[0]
            return True
        if self.is_too_old(at):
            return False
        index = bisect_left(times, at)
        if times[index] == at:
            if values[index] == value:
                return False
            values[index] = value
        else:
            times.insert(index, at)
            values.insert(index, value)
        return True

    def is_too_old(self, at: int) -> bool:
        """Whether the values around a time were discarded."""
        return self.floor is not None and at < self.floor

    def as_of(self, at: int, max_age: int) -> float | None:
        """Return the newest value at a time or before; None if it is older than `max_age`, or there is none."""
        index = bisect_right(self._times, at) - 1
        return self._values[index] if index >= 0 and at - self._times[index] <= max_age else None

    def after(self, at: int) -> int | None:
        """Return the time of the first value after a time; None if there is none."""
        index = bisect_right(self._times, at)
        return self._times[index] if index < len(self._times) else None

    def forget_before(self, floor: int | None) -> None:
        """Accept nothing from before a time, if that is not so already: such values were discarded."""
        if self.floor is None:
            self.floor = floor

    def restore(self, points: Sequence[tuple[int, float]], floor: int | None) -> None:
        """Replace all values by those that `since` returned."""
        self._times, self._values = [at for at, _ in points], [value for _, value in points]
        self.floor = floor

    def drop_after(self, at: int) -> bool:
        """Forget the values later than a time; return whether there were any."""
        index = bisect_right(self._times, at)
        dropped = index < len(self._times)
        del self._times[index:], self._values[index:]
        if self.floor is not None and self.floor > at:
            self.floor = None
        return dropped

    def since(self, at: int) -> list[tuple[int, float]]:
        """Return the value that holds at a time, and all after it: enough to continue from there."""
        index = max(0, bisect_right(self._times, at) - 1)
        return list(zip(self._times[index:], self._values[index:], strict=True))
