"""The next batch, read and prepared while a target is busy with the one before."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from heliograph.errors import StoreAway, StoreDamaged
from services.uploader.engine.batch import Batch
from services.uploader.engine.source import RowSource
from services.uploader.target import Row

Prepare = Callable[[Sequence[Row]], None]


class PrefetchRequest(NamedTuple):
    """At most so many rows after a position, and not after another."""

    after: float
    upto: float
    rows: int


class Prefetch:
    """Reads one batch ahead, in the time that a target takes to respond."""

    def __init__(self, source: RowSource, prepare: Prepare | None) -> None:
        """`prepare` is what the target does with rows that may come next."""
        self._source = source
        self._prepare = prepare
        self._request: PrefetchRequest | None = None
        self._fetched: tuple[PrefetchRequest, Batch] | None = None

    def request(self, after: float, upto: float, rows: int) -> None:
        """Request the rows after a position; `fetch` reads them."""
        if self._fetched is None:
            self._request = PrefetchRequest(after, upto, rows)

    def fetch(self) -> None:
        """Read what was requested; a store that cannot be read now raises when the rows are taken."""
        request, self._request = self._request, None
        if request is None:
            return
        with suppress(StoreAway, StoreDamaged):
            batch = self._read(request)
            if self._prepare is not None and batch.pieces:
                self._prepare(list(batch.pieces[0]))
            self._fetched = request, batch

    def take(self, after: float, upto: float, rows: int) -> Batch:
        """Return the rows after a position, prefetched or read now; raises StoreAway."""
        fetched, self._fetched, self._request = self._fetched, None, None
        if fetched is not None:
            request, batch = fetched
            if (request.after, request.rows) == (after, rows) and request.upto <= upto:
                return batch
        return self._read(PrefetchRequest(after, upto, rows))

    def _read(self, request: PrefetchRequest) -> Batch:
        return Batch.of("range", *self._source.read(*request))
