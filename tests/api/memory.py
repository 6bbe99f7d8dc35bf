"""A reader of a store in memory, which answers slowly and in full what interface.py promises."""

import itertools
import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

from heliograph.messages import Value
from heliograph.renames import Renames
from heliograph.store.interface import Arrival, Function, Point, RawPage, Reader, Series


class MemoryReader:
    """Holds points; `asked` is every question, `generation` is what version() shows."""

    def __init__(self, series: Sequence[Series] = (), points: Sequence[tuple[float, int, Value]] = ()) -> None:
        self.known = list(series)
        self.points = sorted(points, key=lambda point: point[:2])
        self.generation = 1
        self.damages: list[str] = []
        self.asked: list[tuple[object, ...]] = []
        self.open_exports = 0

    engine = "memory"

    def series(self) -> list[Series]:
        return self.known

    def latest(self, ids: Sequence[int], until: float = math.inf) -> dict[int, Point]:
        return {sid: Point(time, value) for time, sid, value in self.points if sid in ids and time <= until}

    def raw(self, series: int, start: float, end: float, *, limit: int, after: float | None = None) -> RawPage:
        self.asked.append(("raw", series, start, end, limit, after))
        matches = [
            (time, value) for time, sid, value in self._between(max(start, after or start), end) if sid == series
        ]
        following = matches[limit][0] if len(matches) > limit else None
        return RawPage([time for time, _ in matches[:limit]], [value for _, value in matches[:limit]], following)

    def aggregate(
        self, series: int, edges: Sequence[float], functions: Sequence[Function]
    ) -> dict[str, list[Value | None]]:
        self.asked.append(("aggregate", series, edges[0], edges[-1], tuple(functions)))
        buckets: list[list[Value]] = [
            [value for _, sid, value in self._between(left, right) if sid == series]
            for left, right in itertools.pairwise(edges)
        ]
        return {function: [_reduced(function, bucket) for bucket in buckets] for function in functions}

    def export(self, ids: Sequence[int], start: float, end: float) -> Iterator[tuple[float, int, Value]]:
        self.asked.append(("export", start, end))
        self.open_exports += 1
        try:
            for point in self._between(start, end):
                if point[1] in ids:
                    yield point
        finally:
            self.open_exports -= 1

    def since(self, cursor: int, limit: int) -> list[Arrival]:
        return []

    def extent(self) -> tuple[float, float] | None:
        return (self.points[0][0], self.points[-1][0]) if self.points else None

    def version(self, start: float, end: float) -> str:
        return str(self.generation)

    def renames(self) -> Renames:
        return Renames()

    def problems(self) -> list[str]:
        return self.damages

    def damaged(self, ids: Sequence[int], start: float, end: float) -> list[str]:
        return []

    def close(self) -> None:
        pass

    def _between(self, start: float, end: float) -> list[tuple[float, int, Value]]:
        first = bisect_left(self.points, start, key=lambda point: point[0])
        return self.points[first : bisect_left(self.points, end, key=lambda point: point[0])]


def _reduced(function: Function, values: list[Value]) -> Value | None:
    if function == "n":
        return len(values)
    numbers = [float(value) for value in values if not isinstance(value, str)]
    reduce: dict[str, Callable[[], Value]] = {
        "mean": lambda: math.fsum(numbers) / len(numbers),
        "sum": lambda: math.fsum(numbers),
        "min": lambda: min(numbers),
        "max": lambda: max(numbers),
        "first": lambda: values[0],
        "last": lambda: values[-1],
        "delta": lambda: numbers[-1] - numbers[0],
        "integral": lambda: math.fsum(numbers),
    }
    return reduce[function]() if values and (numbers or function in ("first", "last")) else None


def checked(reader: MemoryReader) -> Reader:
    """Return it as what it must be."""
    return reader
