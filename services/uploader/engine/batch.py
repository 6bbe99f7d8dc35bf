"""Rows on their way to a target, cut into pieces that are tried one after another. Pure; nothing is changed in place."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from math import isfinite
from operator import itemgetter
from typing import Any, Literal, NamedTuple

from services.uploader.engine.dead_letters import RejectedRow
from services.uploader.target import Row

BatchKind = Literal["range", "late", "dead_letters"]  # positions in order; intervals again; ids of dead letters


class Batch(NamedTuple):
    """What is left of the rows after one position, up to and including another: all but these is settled."""

    kind: BatchKind
    after: float
    upto: float
    pieces: tuple[Sequence[Row], ...]  # none is empty
    pending: tuple[RejectedRow, ...] = ()  # refused, while it is not clear whether the target refuses everything
    is_proven: bool = False  # whether the target has accepted other rows of this batch
    is_finite: bool = False  # whether all values are known to be finite numbers
    passed_over: int = 0  # rows beside these that are left out

    @classmethod
    def of(cls, kind: BatchKind, after: float, upto: float, rows: Sequence[Row], passed_over: int = 0) -> "Batch":
        """Return a batch of rows, which it sorts by time."""
        ordered = sorted(rows, key=itemgetter(0))
        pieces = (ordered,) if ordered else ()
        return cls(kind, after, upto, pieces, is_finite=_are_finite(ordered), passed_over=passed_over)

    def first(self, size: int) -> Sequence[Row]:
        """Return what is to be sent next, at most so many rows."""
        return self.pieces[0][:size] if self.pieces else []

    def without_first(self, count: int) -> "Batch":
        """Return what is left without the first rows of the first piece."""
        rest = self.pieces[0][count:]
        return self._replace(pieces=(rest, *self.pieces[1:]) if rest else self.pieces[1:])

    def halved(self, count: int) -> "Batch":
        """Return the batch with the two halves of its first rows as pieces of their own."""
        rows = self.first(count)
        middle = count // 2
        return self.without_first(count)._before(rows[:middle], rows[middle:])

    def with_pending_first(self) -> "Batch":
        """Return the batch with the rows that were refused in front, to be tried again."""
        return self._replace(pending=())._before([rejected.row for rejected in self.pending])

    def split(self, is_chosen: Callable[[Row], bool]) -> tuple[list[Row], "Batch"]:
        """Return the chosen rows of all pieces, and what is left without them."""
        chosen = [row for row in chain(*self.pieces) if is_chosen(row)]
        others = ([row for row in piece if not is_chosen(row)] for piece in self.pieces) if chosen else self.pieces
        return chosen, self._replace(pieces=tuple(filter(None, others)))

    def rejected(self, row: Row, reason: str) -> RejectedRow:
        """Return one of the rows as a rejected one; it may be a dead letter already."""
        return RejectedRow(row, reason, int(row.position) if self.kind == "dead_letters" else 0)

    def size(self) -> int:
        """Return how many rows are not settled."""
        return sum(map(len, self.pieces)) + len(self.pending)

    def positions(self) -> Iterator[float]:
        """Yield the positions that are not settled."""
        yield from (row.position for row in chain(*self.pieces))
        yield from (rejected.row.position for rejected in self.pending)

    def _before(self, *pieces: Sequence[Row]) -> "Batch":
        return self._replace(pieces=(*filter(None, pieces), *self.pieces))


def _are_finite(rows: Sequence[Row]) -> bool:
    """Whether all values are numbers, as most always are; no sum with a NaN or an infinity is finite."""
    values: Any = map(itemgetter(2), rows)
    try:
        return isfinite(sum(map(sum, values)))
    except TypeError:
        return False
