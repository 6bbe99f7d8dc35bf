"""The number of rows in a request."""

from services.uploader.options import TargetOptions
from services.uploader.target import Row, Target

MOST_ROWS = 5_000
GROWS_AFTER = 20  # successes with smaller batches
VALUE_BYTES = 40  # a guess: a value, its name and its share of a row


class BatchSize:
    """As many rows as options and target allow; fewer after the target could not take that many."""

    def __init__(self, options: TargetOptions, target: Target) -> None:
        self._options = options
        self._target = target
        self._reduced = 0  # rows; 0: not reduced
        self._successes = 0

    def largest(self) -> int:
        """Return how many rows a request has at most."""
        sizes = (self._options.batch_size, self._target.limits.rows)
        return min((size for size in sizes if size), default=MOST_ROWS)

    def next(self, row: Row) -> int:
        """Return how many rows the next request has if they are like this one."""
        sizes = [self.largest()] + [self._reduced] * bool(self._reduced)
        room = min((size for size in (self._options.batch_bytes, self._target.limits.bytes) if size), default=0)
        if room:
            sizes.append(max(1, room // (VALUE_BYTES * (len(row.values) + 1))))
        return min(sizes)

    def reduce(self, rows: int) -> None:
        """Limit requests to so many rows, but at least one."""
        self._reduced, self._successes = max(1, rows), 0

    def grow(self, *, at_once: bool) -> bool:
        """Count a success, and double a reduced size after some, or `at_once`; return whether it is no longer reduced."""
        self._successes += 1
        if not self._reduced or not (at_once or self._successes >= GROWS_AFTER):
            return False
        self._reduced, self._successes = self._reduced * 2, 0
        if self._reduced < (self._target.limits.rows or MOST_ROWS):
            return False
        self._reduced = 0
        return True
