"""Requests without a known response, to targets for which a row that is sent twice is not the same as once.

Before each request its rows are noted on disk. If no response is known, or one that refuses it without naming rows, the
target is asked for its newest row: rows of the request up to that one have arrived.
"""

from typing import NamedTuple

from msgspec import Struct

from services.uploader.engine.batch import Batch, BatchKind
from services.uploader.engine.result import BatchResult


class InFlight(Struct, frozen=True):
    """The rows of a request: the kind of their batch, their lowest and highest position."""

    kind: BatchKind
    first: float
    last: float


class Delivered(NamedTuple):
    """Which rows of a request have arrived: those up to `newest` (s UTC)."""

    request: InFlight
    newest: float

    def accepted(self, batch: Batch) -> BatchResult:
        """Return a batch without the rows that have arrived, and these as accepted."""
        first, last = self.request.first, self.request.last
        if batch.kind != self.request.kind:
            return BatchResult(batch)
        rows, rest = batch.split(lambda row: first <= row.position <= last and row.time <= self.newest)
        return BatchResult(rest._replace(is_proven=True), rows) if rows else BatchResult(batch)


def request_of(batch: Batch, size: int) -> InFlight:
    """Return the note of a request with the first rows of a batch."""
    positions = [row.position for row in batch.first(size)]
    return InFlight(batch.kind, min(positions), max(positions))
