"""The progress of a target: which positions are done. Pure.

A position is a number that only rises: the cursor of an arrival, or the end of an interval in
seconds since 1970 UTC.
"""

from msgspec import Struct, field

Range = tuple[float, float]  # everything after the first, up to and including the second


class TargetProgress(Struct):
    """Everything up to `floor` is done, and everything in `beyond`: ranges in order that touch neither each other nor the floor."""

    floor: float = 0
    beyond: list[Range] = field(default_factory=list)

    def finish(self, after: float, upto: float) -> None:
        """Note that everything after one position, up to and including another, is done."""
        if upto <= after or upto <= self.floor:
            return
        merged: list[Range] = []
        for begin, end in sorted([*self.beyond, (after, upto)]):
            if begin <= self.floor:
                self.floor = max(self.floor, end)
            elif merged and begin <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], end))
            else:
                merged.append((begin, end))
        self.beyond = merged

    def is_done(self, position: float) -> bool:
        """Whether a position is done."""
        return position <= self.floor or any(begin < position <= end for begin, end in self.beyond)

    def hole(self) -> tuple[float, float | None]:
        """Return the oldest range that is not done; its end is None if nothing beyond it is done."""
        return self.floor, self.beyond[0][0] if self.beyond else None

    def tip(self) -> float:
        """Return the newest position that is done."""
        return self.beyond[-1][1] if self.beyond else self.floor

    def holes(self, head: float) -> list[Range]:
        """Return the ranges up to a position that are not done, the oldest first."""
        begins = [self.floor, *(end for _, end in self.beyond)]
        ends = [*(begin for begin, _ in self.beyond), head]
        return [(begin, min(end, head)) for begin, end in zip(begins, ends, strict=True) if begin < min(end, head)]
