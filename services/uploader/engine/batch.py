"""Rows on their way to a target: what is left of a parcel, in pieces that are tried one after another. Pure."""

from collections import deque
from collections.abc import Callable, Sequence
from math import isfinite
from operator import itemgetter
from typing import Any, Literal, NamedTuple

from services.uploader.engine.source import Parcel
from services.uploader.target import Row

BatchKind = Literal["range", "late", "dead_letters"]  # positions in order; intervals again; numbers of dead letters


class PendingRejection(NamedTuple):
    """A row that was refused while it is not clear yet whether everything is."""

    row: Row
    why: str


class Work:
    """The rows of a parcel, oldest first; those before what is left are settled."""

    def __init__(self, kind: BatchKind, parcel: Parcel) -> None:
        self.kind: BatchKind = kind
        self.after, self.upto = parcel.after, parcel.upto
        self.pieces: deque[list[Row]] = deque()
        self.held: list[PendingRejection] = []
        self.proved = False  # whether it was seen that the target takes other rows
        if found := sorted(parcel.rows, key=itemgetter(0)):
            self.pieces.append(found)
        self.is_finite = _are_finite(found)  # False: there may be what is no number

    def batch(self, most: int) -> list[Row]:
        """Return what is to be sent next."""
        return self.pieces[0][:most] if self.pieces else []

    def take(self, count: int) -> list[Row]:
        """Remove the first rows of the batch and return them."""
        taken = self.pieces[0][:count]
        del self.pieces[0][:count]
        if not self.pieces[0]:
            self.pieces.popleft()
        return taken

    def halve(self, count: int) -> None:
        """Have the two halves of a batch of so many rows tried by themselves."""
        batch = self.take(count)
        self.pieces.extendleft([batch[count // 2 :], batch[: count // 2]])

    def put_back(self) -> None:
        """Have what was held tried again, before everything else."""
        if self.held:
            self.pieces.appendleft([held.row for held in self.held])
            self.held = []

    def bring_forward(self, is_chosen: Callable[[Row], bool]) -> int:
        """Make the chosen rows the next batch, and return how many there are."""
        chosen = [row for piece in self.pieces for row in piece if is_chosen(row)]
        if chosen:
            others = ([row for row in piece if not is_chosen(row)] for piece in self.pieces)
            self.pieces = deque([chosen, *filter(None, others)])
        return len(chosen)

    def filter(self, settled: Sequence[bool]) -> None:
        """Remove those rows of the first piece, in order, for which `settled` says so."""
        kept = [row for row, is_settled in zip(self.pieces[0], settled, strict=True) if not is_settled]
        self.pieces.popleft()
        if kept:
            self.pieces.appendleft(kept)

    def left(self) -> int:
        """Return how many rows are not settled."""
        return sum(map(len, self.pieces)) + len(self.held)

    def lowest(self) -> float | None:
        """Return the lowest position that is not settled, None if all are."""
        open_ = [row.position for piece in self.pieces for row in piece] + [held.row.position for held in self.held]
        return min(open_, default=None)

    def positions(self) -> set[float]:
        """Return all positions that are not settled."""
        return {row.position for piece in self.pieces for row in piece} | {held.row.position for held in self.held}


def _are_finite(rows: Sequence[Row]) -> bool:
    """Whether all values are numbers, as most always are; no sum of what is none is finite."""
    values: Any = map(itemgetter(2), rows)
    try:
        return isfinite(sum(map(sum, values)))
    except TypeError:
        return False
