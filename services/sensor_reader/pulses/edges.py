"""Pulses out of the edges on a line: counted once each, however a contact bounces."""

from collections.abc import Iterable
from typing import NamedTuple


class Edge(NamedTuple):
    """An edge as the kernel tells it: when, in ns of any clock that goes on, and its number on the line, from 1."""

    ns: int
    number: int


class Pulses:
    """Counts edges; one that comes sooner than `debounce` seconds after the one before is a contact that bounces.

    Edges whose numbers are skipped fell out of the kernel's buffer; they happened, so they count.
    """

    def __init__(self, count: int, debounce: float) -> None:
        self.count = count
        self.bounced = 0
        self.overflowed = 0
        self._quiet_ns = round(debounce * 1e9)
        self.reopened()

    def reopened(self) -> None:
        """Take note that the line was requested anew: the kernel's numbers begin again."""
        self._number = 0
        self._ns: int | None = None

    def take(self, edges: Iterable[Edge]) -> None:
        """Count edges, in their order."""
        for edge in edges:
            skipped = max(0, edge.number - self._number - 1)
            self.overflowed += skipped
            self.count += skipped
            self._number = max(self._number, edge.number)
            if self._ns is not None and not skipped and edge.ns - self._ns < self._quiet_ns:
                self.bounced += 1
            else:
                self.count += 1
            self._ns = edge.ns
