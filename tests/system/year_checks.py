"""Compares every figure of a store with that of the lists."""

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import groupby, pairwise
from typing import NamedTuple

from heliograph.messages import Value
from heliograph.store import buckets
from heliograph.store.interface import FUNCTIONS, Function, Reader, Series
from tests.system import year_lists
from tests.system.year_lists import DAY, HOUR, Values, year_start

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "America/Havana")
BEYOND = 4_102_444_800  # 2100
LEAST_FOR_CELLS = 2_880  # points of a day, docs/store-format.md
PAGE = 50_000
HOURS_UTC = 14 * 24  # from the beginning of the year
AROUND_CHANGE = 30 * HOUR
CLOCK_BUCKETS = {"30m": 1800, "1h": HOUR, "3h": 3 * HOUR, "6h": 6 * HOUR}


class Expected(NamedTuple):
    """The lists of all series, and from when on (ms UTC) the store has them."""

    values: Mapping[str, Values]
    since: int = 0

    def of(self, series: Series) -> Values:
        """The list of a series."""
        return self.values[f"{series.device}/{series.channel}"].since(self.since)


def compare_year(reader: Reader, expected: Expected, year: int, chance: random.Random) -> int:
    """Compare a year by years, months and days of two of six zones, and by hours around every change of their clocks; count the figures."""
    begin, end = year_start(year), year_start(year + 1)
    grids: list[list[int]] = [list(range(begin, begin + HOURS_UTC * HOUR + 1, HOUR))]
    for zone in chance.sample(ZONES, 2):
        days = year_lists.midnights(zone, date(year, 1, 1), date(year + 1, 1, 1))
        months = year_lists.months(zone, year, year)
        grids += [days, months, [months[0], months[-1]]]
        for bucket, edges in (("1d", days), ("1mo", months), ("1y", [months[0], months[-1]])):
            assert buckets.edges(edges[0], edges[-1], bucket, zone) == edges, (zone, bucket)
        for change in year_lists.changes(zone, year, year):
            around = change - AROUND_CHANGE, change + AROUND_CHANGE
            for bucket, length in chance.sample(sorted(CLOCK_BUCKETS.items()), 2):
                edges = year_lists.clock_edges(zone, *around, length)
                assert buckets.edges(*around, bucket, zone) == edges, (zone, bucket, change)
                grids.append(edges)
    return sum(
        compare_buckets(reader, one, values, edges)
        for one in reader.series()
        if has_points(values := expected.of(one), begin - DAY, end + DAY)
        for edges in grids
    )


def has_points(values: Values, begin: int, end: int) -> bool:
    return values.at(end * 1000) != values.at(begin * 1000)


def compare_buckets(reader: Reader, series: Series, values: Values, edges: Sequence[int]) -> int:
    """Compare all functions of all buckets between edges (s UTC); return how many figures that were."""
    is_line = series.kind in ("gauge", "state")
    functions: list[Function] = [name for name in FUNCTIONS if is_line or name != "integral"]
    columns = reader.aggregate(series.id, [float(edge) for edge in edges], functions)
    bounds = [edge * 1000 for edge in edges]
    for name, wanted in values.buckets(bounds).items():
        column = columns[name]
        if column != wanted:
            index = next(n for n, pair in enumerate(zip(column, wanted, strict=True)) if pair[0] != pair[1])
            raise AssertionError(
                (series.name, name, shown(edges[index]), shown(edges[index + 1]), column[index], wanted[index])
            )
    if is_line:
        for index, (area, off) in enumerate(values.areas(bounds)):
            result = columns["integral"][index]
            where = series.name, shown(edges[index]), shown(edges[index + 1]), result, area and float(area)
            assert (result is None) == (area is None), where
            assert area is None or abs(Fraction(float(result or 0.0)) - area) <= off, where
    return len(functions) * (len(edges) - 1)


def compare_points(reader: Reader, expected: Expected, bare: set[int]) -> int:
    """Compare all points, and `latest`; of years in `bare` days with enough readings may be cells alone. Count the points."""
    count = 0
    for one in reader.series():
        values = expected.of(one)
        newest = values.at(BEYOND * 1000)
        assert reader.latest([one.id]) == ({} if newest is None else {one.id: newest}), one.name
        stored, wanted = by_day(points(reader, one.id)), by_day(values.points(0, BEYOND * 1000))
        assert stored.keys() <= wanted.keys(), (one.name, sorted(stored.keys() - wanted.keys())[:3])
        for day, of_day in wanted.items():
            if day in stored:
                assert stored[day] == of_day, (one.name, shown(day * DAY))
                count += len(of_day)
            else:
                year = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).year
                assert year in bare, (one.name, shown(day * DAY))
                assert len(of_day) >= LEAST_FOR_CELLS, (one.name, shown(day * DAY))
    return count


def points(reader: Reader, series: int) -> list[tuple[float, Value]]:
    """All points of a series, a page at a time."""
    every: list[tuple[float, Value]] = []
    after: float | None = None
    while True:
        page = reader.raw(series, 0, BEYOND, limit=PAGE, after=after)
        every += zip(page.times, page.values, strict=True)
        if page.next is None:
            return every
        after = page.next


def by_day(every: Sequence[tuple[float, Value]]) -> dict[int, list[tuple[float, Value]]]:
    return {day: list(group) for day, group in groupby(every, lambda point: int(point[0] // DAY))}


def compare_uploads(
    rows: Mapping[str, Mapping[float, object]],
    lists: Mapping[str, Values],
    edges: Sequence[int],
    midnights: Sequence[int],
) -> int:
    """Compare averages of intervals that a target has of each channel; with `midnights` counters are rises since then. Count them."""
    count = 0
    bounds = [edge * 1000 for edge in edges]
    for name, sent in rows.items():
        values = lists[name.partition("/")[2]]
        for (begin, end), wanted in zip(pairwise(edges), _averages(values, bounds, midnights), strict=True):
            result = sent.get(begin)
            count += result is not None
            if isinstance(wanted, Fraction):
                assert isinstance(result, float), (name, shown(begin), shown(end), result, float(wanted))
                assert abs(Fraction(result) - wanted) <= Fraction(1, 10**8), (name, shown(begin), result, float(wanted))
            else:
                assert result == wanted, (name, shown(begin), shown(end), result, wanted)
    return count


def _averages(values: Values, bounds: Sequence[int], midnights: Sequence[int]) -> Sequence[Value | Fraction | None]:
    kind = values.channel.kind
    if kind == "counter":
        rises = values.rises(bounds)
        if not midnights:
            return rises
        starts = iter(pairwise([*midnights, BEYOND]))
        begin, end = next(starts)
        totals: list[Value | Fraction | None] = []
        for (start, until), rise in zip(pairwise(bounds), rises, strict=True):
            while start >= end * 1000:
                begin, end = next(starts)
            totals.append(None if rise is None else values.rises([begin * 1000, until])[0])
        return totals
    columns = values.buckets(bounds)
    if kind != "gauge":
        return columns["last"]
    once = Values(year_lists.ChannelType("gauge"))
    for time in values.times:
        once.put(time, 1)
    means: list[Value | Fraction | None] = []
    pairs = zip(values.areas(bounds), once.areas(bounds), columns["n"], columns["mean"], strict=True)
    for (area, _), (hours, _), number, mean in pairs:
        means.append(None if not number else area / hours if area is not None and hours else mean)
    return means


def shown(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S}"
