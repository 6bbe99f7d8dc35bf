"""Rows on their way to a target: what is left of a parcel, in pieces that are tried one after another. Pure."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from math import isfinite
from typing import Any, Literal, NamedTuple

from services.uploader.outgoing import Row
from services.uploader.source import Item, Parcel

Sort = Literal["range", "late", "letters"]  # positions in order; intervals again; numbers of dead letters


class Held(NamedTuple):
    """A row that was refused while it is not clear yet whether everything is."""

    item: Item
    why: str


class Work:
    """The rows of a parcel, oldest first; those before what is left are settled."""

    def __init__(self, sort: Sort, parcel: Parcel, items: Iterable[Item]) -> None:
        self.sort: Sort = sort
        self.after, self.upto = parcel.after, parcel.upto
        self.pieces: deque[list[Item]] = deque()
        self.held: list[Held] = []
        self.prepared: list[Row] | None = None  # all rows, as the target has been told that they may come
        self.proved = False  # whether it was seen that the target takes other rows
        if found := sorted(items, key=lambda item: item.row.time):
            self.pieces.append(found)
        self.is_finite = _are_finite(item.row for item in found)  # False: there may be what is no number

    def batch(self, most: int) -> list[Item]:
        """Return what is to be sent next."""
        return self.pieces[0][:most] if self.pieces else []

    def rows(self, batch: list[Item]) -> list[Row]:
        """Return the rows of a batch; those that were prepared if it is all of them."""
        prepared, self.prepared = self.prepared, None
        if prepared is not None and len(prepared) == len(batch):
            return prepared
        return [item.row for item in batch]

    def take(self, count: int) -> list[Item]:
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
            self.pieces.appendleft([held.item for held in self.held])
            self.held = []

    def bring_forward(self, is_chosen: Callable[[Item], bool]) -> int:
        """Make the chosen rows the next batch, and return how many there are."""
        chosen = [item for piece in self.pieces for item in piece if is_chosen(item)]
        if chosen:
            self.prepared = None
            others = ([item for item in piece if not is_chosen(item)] for piece in self.pieces)
            self.pieces = deque([chosen, *filter(None, others)])
        return len(chosen)

    def filter(self, settled: Sequence[bool]) -> None:
        """Remove those rows of the first piece, in order, for which `settled` says so."""
        self.prepared = None
        kept = [item for item, is_settled in zip(self.pieces[0], settled, strict=True) if not is_settled]
        self.pieces.popleft()
        if kept:
            self.pieces.appendleft(kept)

    def left(self) -> int:
        """Return how many rows are not settled."""
        return sum(map(len, self.pieces)) + len(self.held)

    def lowest(self) -> float | None:
        """Return the lowest position that is not settled, None if all are."""
        open_ = [item.position for piece in self.pieces for item in piece] + [held.item.position for held in self.held]
        return min(open_, default=None)

    def positions(self) -> set[float]:
        """Return all positions that are not settled."""
        return {item.position for piece in self.pieces for item in piece} | {held.item.position for held in self.held}


def _are_finite(rows: Iterable[Row]) -> bool:
    """Whether all values are numbers, as most always are; no sum of what is none is finite."""
    values: Any = (row.values for row in rows)
    try:
        return isfinite(sum(map(sum, values)))
    except TypeError:
        return False
