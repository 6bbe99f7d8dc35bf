"""A store that keeps every arrival in a list and searches all of it: what the real ones are compared with."""

import itertools
import math
import sys
from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction
from typing import TypeVar

from hypothesis import strategies as st

from heliograph.messages import Block, Channel, Info, Kind, Value
from heliograph.store.interface import FUNCTIONS, Arrival, Reader, Series

T0 = 1_763_596_800.0  # 2025-11-20 00:00 UTC
DAY = 86_400.0
CHANNELS = ("power", "mode", "heating", "energy")
KINDS: dict[str, Kind] = {"power": "gauge", "mode": "text", "heating": "state", "energy": "counter"}
INFO = Info("Model", {name: Channel("", kind) for name, kind in KINDS.items()})
GAP = 900
LARGE = 1e8  # decimals below it, and sums of some of them, have 6 decimal places in a float64
HUGE = 1e150  # beyond it, products and sums of three overflow
ROUNDED = Fraction(1, 2000)  # what a cell's area may be off by: half of the third digit
Points = list[tuple[float, Value]]
Numbers = list[tuple[float, float]]
V = TypeVar("V")


class Model:
    """Every value in order of arrival, in lists."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.committed = 0
        self.replacements: dict[str, list[float]] = {}  # of the devices behind counters, by series

    def write(self, node: str, block: Block) -> None:
        for time, *values in block.rows:
            named = {n: v for n, v in zip(block.channels, values, strict=True) if v is not None}
            number, at = len(self.arrivals) + 1, round(time * 1000) / 1000
            self.arrivals.append(Arrival(number, node, block.device, at, tuple(named), tuple(named.values())))

    def commit(self) -> None:
        self.committed = len(self.arrivals)

    def forget_uncommitted(self) -> None:
        del self.arrivals[self.committed :]

    def replaced(self, name: str, time: float) -> None:
        self.replacements.setdefault(name, []).append(round(time * 1000) / 1000)

    def points(self, one: Series) -> Points:
        values: dict[float, Value] = {}
        for arrival in self.arrivals[: self.committed]:
            if (arrival.node, arrival.device) == (one.node, one.device) and one.channel in arrival.values:
                values[arrival.time] = stored(one.kind, arrival.values[one.channel])
        return sorted(values.items())


def stored(kind: Kind, value: Value) -> Value:
    """The value that is read back for one that was written."""
    if kind == "text":
        return value if isinstance(value, str) else str(value)
    return bool(value) if kind == "state" and float(value) in (0.0, 1.0) else float(value)


def same(a: object, b: object) -> bool:
    """Equal, and of the same type and sign: 0.0 is not -0.0, 1.0 is not True."""
    return repr(a) == repr(b)


decimals = st.integers(-(10**7), 10**7).flatmap(lambda n: st.sampled_from([n / 10, n / 1000, n / 10**6]))
numbers = st.one_of(
    decimals,
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**70), 2**70),
    st.sampled_from([0.0, -0.0, 5e-324, sys.float_info.max, -sys.float_info.max, 0.1 + 0.2, 54.8, 1e22, 2**53 + 1]),
)
VALUES: dict[str, st.SearchStrategy[Value | None]] = {
    "power": st.none() | decimals | numbers,
    "mode": st.none() | st.text(max_size=5) | st.sampled_from(["float", "bulk", "", "ü\0ü"]),
    "heating": st.none() | st.booleans(),
    "energy": st.none() | st.integers(0, 1000) | st.sampled_from([980.5, 999.0, 12.3]) | st.floats(0, 1e6),
}
# few distinct times, so that many readings meet at the same one; close to midnight, to the ends of months and of years
times = st.builds(
    lambda day, second, ms: T0 + day * DAY + second + ms / 1000,
    st.sampled_from([0, 0, 0, 0, 1, 2, -3, -20, -19, 11, 41, 42, -324, -323]),
    st.sampled_from([0, 1, 2, 59, 299, 300, 600, 3_600, 43_200, 85_800, 86_399]),
    st.sampled_from([0, 0, 1, 123, 999]),
)
# edges as time zones and buckets make them, and arbitrary ones
edges = st.one_of(
    st.lists(times, min_size=2, max_size=6, unique=True).map(sorted),
    st.builds(
        lambda start, width, count: [T0 + (start + n) * width for n in range(count)],
        st.integers(-48, 48),
        st.sampled_from([300, 1800, 3600, 5400, 86_400]),
        st.integers(2, 40),
    ),
    st.lists(st.integers(-330 * 24, 50 * 24), min_size=2, max_size=6, unique=True).map(
        lambda hours: [T0 + hour * 3600 for hour in sorted(hours)]
    ),
)


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    channels = draw(st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=4, unique=True))
    rows = draw(st.lists(st.tuples(times, *(VALUES[name] for name in channels)).map(list), max_size=6))
    return Block(draw(st.sampled_from(["meter", "boiler"])), tuple(channels), rows)


def compare(reader: Reader, model: Model, cuts: list[float], limit: int) -> None:
    """Assert that a reader returns everything that was committed as the list has it."""
    series = reader.series()
    compare_arrivals(everything_since(reader, limit), model, series)
    for one in series:
        points = model.points(one)
        assert same(raw(reader, one.id, 0, 1e11, limit), points)
        start, end = cuts[0], cuts[-1]
        inside = [point for point in points if start <= point[0] < end]
        assert same(raw(reader, one.id, start, end, limit), inside)
        assert same([(t, v) for t, _, v in reader.export([one.id], start, end)], inside)
        assert same([tuple(p) for p in reader.latest([one.id]).values()], points[-1:])
        for until in cuts:
            past = [point for point in points if point[0] <= until][-1:]
            assert same([tuple(p) for p in reader.latest([one.id], until).values()], past)
        if one.kind == "text":
            compare_texts(reader, one, points, cuts)
        else:
            compare_totals(reader, one, points, cuts, model.replacements.get(one.name, []))
    exported = list(reader.export([one.id for one in series], 0, 1e11))
    assert [(t, i) for t, i, _ in exported] == sorted((t, i) for t, i, _ in exported)
    assert len(exported) == sum(len(model.points(one)) for one in series)
    every = [time for one in series for time, _ in model.points(one)]
    assert reader.extent() == ((min(every), max(every)) if every else None)
    assert reader.problems() == []


def compare_arrivals(arrivals: list[Arrival], model: Model, series: Sequence[Series]) -> None:
    """Each reading once, in order; only values that a later arrival replaced may be missing, and readings without any."""
    kinds = {(one.node, one.device, one.channel): one.kind for one in series}
    committed = model.arrivals[: model.committed]
    newest: dict[tuple[str, str, float, str], int] = {}
    for arrival in committed:
        for channel in arrival.values:
            newest[arrival.node, arrival.device, arrival.time, channel] = arrival.cursor
    cursors = [one.cursor for one in arrivals]
    assert cursors == sorted(set(cursors))
    reported = {one.cursor: one for one in arrivals}
    assert reported.keys() <= {arrival.cursor for arrival in committed}
    for arrival in committed:
        _, node, device, time, _, _ = arrival
        wanted = {channel: stored(kinds[node, device, channel], value) for channel, value in arrival.values.items()}
        one = reported.get(arrival.cursor, arrival._replace(channels=(), row=()))
        assert one[:4] == arrival[:4]
        assert all(same(value, wanted[channel]) for channel, value in one.values.items())
        for channel in wanted.keys() - one.values.keys():
            assert newest[node, device, time, channel] > arrival.cursor


def compare_texts(reader: Reader, one: Series, points: Points, cuts: list[float]) -> None:
    inside = within(points, cuts)
    wanted = {name: [None] * len(inside) for name in FUNCTIONS} | {
        "n": [len(values) for values in inside],
        "first": [values[0] if values else None for values in inside],
        "last": [values[-1] if values else None for values in inside],
    }
    assert reader.aggregate(one.id, cuts, FUNCTIONS) == wanted


def compare_totals(
    reader: Reader, one: Series, points: Points, cuts: list[float], replacements: Sequence[float] = ()
) -> None:
    columns = reader.aggregate(one.id, cuts, FUNCTIONS)
    assert not any(value is not None and math.isnan(float(value)) for column in columns.values() for value in column)
    numbers_ = [(time, float(value)) for time, value in points]
    if one.kind == "state":  # whose False may have been a -0.0
        columns |= {name: [None if v is None else float(v) + 0.0 for v in columns[name]] for name in ("first", "last")}
    inside = within(numbers_, cuts)
    assert same(columns["n"], [len(values) for values in inside])
    for name, choose in (("min", min), ("max", max)):
        assert same(columns[name], [choose(values) + 0.0 if values else None for values in inside])
    assert same(columns["first"], [values[0] if values else None for values in inside])
    assert same(columns["last"], [values[-1] if values else None for values in inside])
    for index, values in enumerate(inside):
        size = max(map(abs, values), default=0.0)
        exactly = total(values) if values else None
        near(columns["sum"][index], exactly, size * len(values))
        if exactly is None or math.isfinite(float(columns["sum"][index] or 0.0)):
            near(columns["mean"][index], None if exactly is None else exactly / len(values), size)
        if exactly is not None and are_decimals(values):
            assert same(columns["sum"][index], float(exactly) + 0.0)
            assert same(columns["mean"][index], (float(exactly) + 0.0) / len(values))
    largest = max((abs(value) for _, value in numbers_), default=0.0)
    for name in FUNCTIONS:
        # alone it may be read from elsewhere, at most rounded differently
        for alone, together in zip(reader.aggregate(one.id, cuts, [name])[name], columns[name], strict=True):
            if together is None or math.isfinite(float(together)):
                near(alone, None if together is None else Fraction(float(together)), largest * 100 + 1)
    if largest > HUGE:
        return
    exact = are_decimals([value for _, value in numbers_])
    rollover = one.rollover if one.kind == "counter" else 0.0
    wanted = rises(numbers_, cuts, counter=one.kind == "counter", rollover=rollover, replacements=replacements)
    for delta, rise in zip(columns["delta"], wanted, strict=True):
        near(delta, rise, largest * max(1, len(numbers_)))
        if exact and rise is not None:
            assert same(delta, float(rise) + 0.0)
    for index, (area, lines) in enumerate(areas(numbers_, cuts)):
        width = cuts[index + 1] - cuts[index]
        cells = min(4 * lines, width / 300)
        near(
            columns["integral"][index],
            Fraction(0) if area is None and inside[index] else area,
            largest * width / 3600,
            cells,
        )


def within(points: Sequence[tuple[float, V]], cuts: list[float]) -> list[list[V]]:
    return [[value for time, value in points if a <= time < b] for a, b in itertools.pairwise(cuts)]


def are_decimals(values: Sequence[float]) -> bool:
    return all(abs(value) < LARGE and round(value, 6) == value for value in values)


def total(values: Sequence[float]) -> Fraction:
    """The sum of decimals as they are written, of others as they are."""
    if are_decimals(values):
        return sum((Fraction(repr(value)) for value in values), Fraction(0))
    return sum(map(Fraction, values), Fraction(0))


def near(result: Value | None, wanted: Fraction | None, size: float, cells: float = 0) -> None:
    """Equal but for the last digits of numbers of this size; a sum too large for a float may be infinite."""
    if wanted is None or result is None:
        assert (result is None) == (wanted is None), (result, wanted)
    elif math.isinf(float(result)):
        assert abs(wanted) > Fraction(sys.float_info.max) * Fraction(99, 100)
    else:
        digits = Fraction(size if math.isfinite(size) else sys.float_info.max) / 10**12 + Fraction(5e-324)
        assert abs(Fraction(float(result)) - wanted) <= digits + ROUNDED * Fraction(cells), (result, wanted)


def rises(
    points: Numbers, cuts: list[float], *, counter: bool, rollover: float = 0.0, replacements: Sequence[float] = ()
) -> list[Fraction | None]:
    """By how much it rose from each point to the next, in the bucket of the later one; on an edge, in the one that ends there."""
    wrong = wrong_values(points, replacements) if counter else set()
    written = Fraction if not are_decimals([value for _, value in points]) else lambda value: Fraction(repr(value))
    sums: list[Fraction | None] = [None] * (len(cuts) - 1)
    for index, (time, value) in enumerate(points):
        if not index:
            continue
        start, before = points[index - 2 if index - 1 in wrong else index - 1]
        bucket = bisect_left(cuts, time) - 1
        if not 0 <= bucket < len(sums):
            continue
        rise = written(value) - written(before)
        if index in wrong or (counter and any(start < moment <= time for moment in replacements)):
            rise = Fraction(0)
        elif counter and is_fall(before, value):
            is_rollover = rollover and 0.9 * rollover <= before <= rollover and value <= 0.1 * rollover
            rise += written(rollover) if is_rollover else written(before)
        sums[bucket] = (sums[bucket] or Fraction(0)) + rise
    return sums


def is_fall(before: float, value: float) -> bool:
    return 0 <= value < 0.9 * before


def wrong_values(points: Numbers, replacements: Sequence[float] = ()) -> set[int]:
    """The points that are a single wrong value: too low, or too high, between two that a counter may have after each other."""
    low, high = set[int](), set[int]()
    for number in range(1, len(points) - 1):
        (start, before), (time, value), (end, after) = points[number - 1 : number + 2]
        steps = [round(time * 1000) - round(start * 1000), round(end * 1000) - round(time * 1000)]
        if max(steps) > GAP * 1000 or any(start < moment <= end for moment in replacements):
            continue
        if is_fall(before, value) and after >= 0.9 * before:
            low.add(number)
        elif is_fall(value, after) and before >= 0 and after >= 0.9 * before:
            high.add(number)
    return low | {number for number in high if number - 1 not in low and number + 1 not in low}


def areas(points: Numbers, cuts: list[float]) -> list[tuple[Fraction | None, int]]:
    """The area under the lines in each bucket, None if there is no line, and how many lines."""
    sums: list[tuple[Fraction | None, int]] = [(None, 0)] * (len(cuts) - 1)
    edges_ = [Fraction(round(cut * 1000), 1000) for cut in cuts]
    exactly = [(Fraction(round(time * 1000), 1000), Fraction(value)) for time, value in points]
    for (start, first), (end, last) in itertools.pairwise(exactly):
        if end - start > GAP:
            continue
        for bucket, (left, right) in enumerate(itertools.pairwise(edges_)):
            a, b = max(left, start), min(right, end)
            if a < b:
                area, lines = sums[bucket]
                middle = first + (last - first) / (end - start) * ((a + b) / 2 - start)
                sums[bucket] = ((area or Fraction(0)) + middle * (b - a) / 3600, lines + 1)
    return sums


def raw(reader: Reader, series: int, start: float, end: float, limit: int) -> Points:
    """All points, a page at a time."""
    points: Points = []
    after: float | None = None
    while True:
        page = reader.raw(series, start, end, limit=limit, after=after)
        assert len(page.times) == len(page.values) <= limit
        points += zip(page.times, page.values, strict=True)
        if page.next is None:
            return points
        assert len(page.times) == limit
        after = page.next


def everything_since(reader: Reader, limit: int) -> list[Arrival]:
    """All arrivals, a page at a time."""
    arrivals: list[Arrival] = []
    while page := reader.since(arrivals[-1].cursor if arrivals else 0, limit):
        assert len(page) <= limit
        arrivals += page
    return arrivals


class Follower:
    """Polls a store now and then, as an uploader does."""

    def __init__(self) -> None:
        self.cursor = 0
        self.known: dict[tuple[str, float], Value] = {}

    def poll(self, reader: Reader, limit: int) -> bool:
        """Read a page; return whether it had any arrivals."""
        page = reader.since(self.cursor, limit)
        for arrival in page:
            assert arrival.cursor > self.cursor
            self.cursor = arrival.cursor
            for channel, value in arrival.values.items():
                self.known[f"{arrival.node}/{arrival.device}/{channel}", arrival.time] = value
        return bool(page)
