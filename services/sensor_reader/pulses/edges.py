"""The count of edges on a line: one for each pulse, however a contact bounces."""

from collections.abc import Iterable
from typing import NamedTuple


class Edge(NamedTuple):
    """An edge as the kernel reports it: when, in ns of a monotonic clock, and its number since the request, from 1."""

    ns: int
    number: int


class EdgeCounter:
    """Counts edges; an edge sooner than `debounce` seconds after the one before is a bounce, and does not count.

    Edges whose numbers are skipped fell out of the kernel's buffer; they count.
    """

    def __init__(self, count: int, debounce: float) -> None:
        self.count = count
        self.bounced = 0
        self.overflowed = 0
        self._debounce_ns = round(debounce * 1e9)
        self.reopened()

    def reopened(self) -> None:
        """Record that the line was requested again: the numbers of the kernel restart at 1."""
        self._number = 0
        self._ns: int | None = None

    def add(self, edges: Iterable[Edge]) -> None:
        """Count edges, in order."""
        for edge in edges:
            skipped = max(0, edge.number - self._number - 1)
            self.overflowed += skipped
            self.count += skipped
            self._number = max(self._number, edge.number)
            if self._ns is not None and not skipped and edge.ns - self._ns < self._debounce_ns:
                self.bounced += 1
            else:
                self.count += 1
            self._ns = edge.ns
