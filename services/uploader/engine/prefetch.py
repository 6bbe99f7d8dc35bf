"""What comes next, read and made ready while a target is busy with what came before."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from heliograph.errors import StoreAway, StoreDamaged
from services.uploader.engine.batch import Work
from services.uploader.engine.source import Source
from services.uploader.target import Row

Prepare = Callable[[Sequence[Row]], None]


class PrefetchRequest(NamedTuple):
    """At most so many rows after a position, and not after another."""

    after: float
    upto: float
    rows: int


class Prefetch:
    """Reads one parcel ahead, in the time that a target takes to answer."""

    def __init__(self, source: Source, prepare: Prepare | None) -> None:
        """`prepare` is what the target does with rows that may come next."""
        self._source = source
        self._prepare = prepare
        self._wish: PrefetchRequest | None = None
        self._found: tuple[PrefetchRequest, Work] | None = None

    def wish(self, after: float, upto: float, rows: int) -> None:
        """Have what comes after a position read as soon as there is time."""
        if self._found is None:
            self._wish = PrefetchRequest(after, upto, rows)

    def read(self) -> None:
        """Read what was wished for, unless that is done; a store that cannot be read now is for whoever takes it."""
        wish, self._wish = self._wish, None
        if wish is None:
            return
        with suppress(StoreAway, StoreDamaged):
            work = Work("range", self._source.parcel(*wish))
            if self._prepare is not None and work.pieces:
                self._prepare(list(work.pieces[0]))
            self._found = wish, work

    def take(self, after: float, upto: float, rows: int) -> Work:
        """Return what comes after a position, read by now or read ahead; raises StoreAway."""
        found, self._found, self._wish = self._found, None, None
        if found is not None:
            wish, work = found
            if (wish.after, wish.rows) == (after, rows) and wish.upto <= upto:
                return work
        return Work("range", self._source.parcel(after, upto, rows))
