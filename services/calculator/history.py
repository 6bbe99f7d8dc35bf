"""The newest values of one input, in order of time: pure. Times are whole milliseconds since 1970 UTC."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

MOST = 4_096  # points of an input
CUT = 256  # of them that go at once


class History:
    """Values by time. What is older than `floor` is not known any more, and not taken again."""

    def __init__(self) -> None:
        self._times: list[int] = []
        self._values: list[float] = []
        self.floor: int | None = None

    @property
    def newest(self) -> int | None:
        """The time of the newest value; None if there is none."""
        return self._times[-1] if self._times else None

    def take(self, at: int, value: float) -> bool:
        """Take a value, in place of another of the same time; return False if that changes nothing, or is too old."""
        times, values = self._times, self._values
        if not times or at > times[-1]:
            times.append(at)
            values.append(value)
            if len(times) > MOST:
                del times[:CUT], values[:CUT]
                self.floor = times[0]
            return True
        if self.is_forgotten(at):
            return False
        place = bisect_left(times, at)
        if times[place] == at:
            if values[place] == value:
                return False
            values[place] = value
        else:
            times.insert(place, at)
            values.insert(place, value)
        return True

    def is_forgotten(self, at: int) -> bool:
        """Whether what was known around a time has been forgotten."""
        return self.floor is not None and at < self.floor

    def as_of(self, at: int, max_age: int) -> float | None:
        """Return the newest value of a time or before; None if it is older than `max_age`, or there is none."""
        place = bisect_right(self._times, at) - 1
        return self._values[place] if place >= 0 and at - self._times[place] <= max_age else None

    def after(self, at: int) -> int | None:
        """Return the time of the first value after a time; None if there is none."""
        place = bisect_right(self._times, at)
        return self._times[place] if place < len(self._times) else None

    def restore(self, points: Sequence[tuple[int, float]], floor: int | None) -> None:
        """Become what `since` returned, in order of time."""
        self._times, self._values = [at for at, _ in points], [value for _, value in points]
        self.floor = floor

    def since(self, at: int) -> list[tuple[int, float]]:
        """Return the value that holds at a time, and all after it: what it takes to go on from there."""
        place = max(0, bisect_right(self._times, at) - 1)
        return list(zip(self._times[place:], self._values[place:], strict=True))
