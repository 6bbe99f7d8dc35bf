"""What twelve years of readings add up to: plain lists of whole numbers, searched and summed as the documents say.

docs/api.md has the functions, docs/store.md what counts as another meter, decision 0015 where a rise belongs. Nothing of
the product is imported here but names of types: an answer is right if both agree.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from heliograph.messages import Kind, Value

GAP = 900_000  # ms between points, beyond which there is no line
MINUTE, HOUR, DAY = 60, 3600, 86_400  # s
AREA_DIGITS = 3  # which areas in cells have more than their readings
FIVE_MINUTES = 300_000  # ms


class ChannelType(NamedTuple):
    """What a channel is: a value is a whole number divided by 10**digits, or the number of a word."""

    kind: Kind
    digits: int = 0
    rollover: int = 0  # in the same whole numbers
    words: tuple[str, ...] = ()

    def value(self, number: int) -> Value:
        """The value as it is written, and read back."""
        if self.kind == "text":
            return self.words[number]
        return bool(number) if self.kind == "state" else number / 10**self.digits


class Values:
    """The values of one series in order of time; of equal times the last arrival is kept."""

    def __init__(self, channel: ChannelType) -> None:
        self.channel = channel
        self.times = array("q")  # ms UTC
        self.numbers = array("q")
        self.replaced: list[int] = []  # ms UTC, of other meters
        self._sums: tuple[int, array[int], array[int], array[int]] | None = None

    def put(self, time: int, number: int) -> None:
        times = self.times
        if not times or time > times[-1]:
            times.append(time)
            self.numbers.append(number)
            return
        self._sums = None
        index = bisect_left(times, time)
        if times[index] == time:
            self.numbers[index] = number
        else:
            times.insert(index, time)
            self.numbers.insert(index, number)

    def cut(self, begin: int, end: int) -> None:
        """Take [begin, end) ms out."""
        low, high = bisect_left(self.times, begin), bisect_left(self.times, end)
        del self.times[low:high], self.numbers[low:high]
        self._sums = None

    def since(self, begin: int) -> "Values":
        """What is left when everything before a time (ms) was dropped."""
        low = bisect_left(self.times, begin)
        if not low:
            return self
        rest = Values(self.channel)
        rest.times, rest.numbers, rest.replaced = self.times[low:], self.numbers[low:], self.replaced
        return rest

    def points(self, begin: int, end: int) -> list[tuple[float, Value]]:
        """Times (s) and values of [begin, end) ms."""
        low, high = bisect_left(self.times, begin), bisect_left(self.times, end)
        value = self.channel.value
        return [(self.times[index] / 1000, value(self.numbers[index])) for index in range(low, high)]

    def at(self, moment: int) -> tuple[float, Value] | None:
        """The newest point at a time (ms) or before."""
        index = bisect_right(self.times, moment) - 1
        return (self.times[index] / 1000, self.channel.value(self.numbers[index])) if index >= 0 else None

    def buckets(self, edges: Sequence[int]) -> dict[str, list[Value | None]]:
        """n, sum, mean, min, max, first, last and delta of each bucket between edges (ms); of texts n, first, last."""
        columns: dict[str, list[Value | None]] = {name: [] for name in FUNCTIONS}
        scale = 10**self.channel.digits
        is_text = self.channel.kind == "text"
        for low, high in pairwise([bisect_left(self.times, edge) for edge in edges]):
            inside = self.numbers[low:high]
            columns["n"].append(len(inside))
            if not inside or is_text:
                for name in ("sum", "mean", "min", "max"):
                    columns[name].append(None)
            else:
                sum_ = sum(inside) / scale
                columns["sum"].append(sum_)
                columns["mean"].append(sum_ / len(inside))
                columns["min"].append(min(inside) / scale)
                columns["max"].append(max(inside) / scale)
            for name, index in (("first", 0), ("last", -1)):
                if not inside:
                    columns[name].append(None)
                else:
                    columns[name].append(self.channel.words[inside[index]] if is_text else inside[index] / scale)
        columns["delta"] = [None] * len(columns["n"]) if is_text else self.rises(edges)
        return columns

    def rises(self, edges: Sequence[int]) -> list[Value | None]:
        """total(b) - total(a) of each bucket, total(t) being that of the newest point at or before t; None without a rise."""
        risen = self._prefixes()[1]
        ends = [bisect_right(self.times, edge) - 1 for edge in edges]
        scale = 10**self.channel.digits
        return [(risen[b] - risen[max(a, 0)]) / scale if b > max(a, 0) else None for a, b in pairwise(ends)]

    def areas(self, edges: Sequence[int]) -> list[tuple[Fraction | None, Fraction]]:
        """The area under the lines in unit·h, None without a line or point, and how far off rounded cells may be."""
        _, _, areas, lines = self._prefixes()
        scale = 10**self.channel.digits
        result: list[tuple[Fraction | None, Fraction]] = []
        for a, b in pairwise(edges):
            first, last = max(1, bisect_right(self.times, a)), min(len(self.times) - 1, bisect_left(self.times, b))
            count = lines[last] - lines[first - 1] if last >= first else 0
            area = self._area_until(b, areas) - self._area_until(a, areas) if count else Fraction(0)
            has_points = bisect_left(self.times, a) < bisect_left(self.times, b)
            cells = min(2 * count, (b - a) // FIVE_MINUTES + 2)
            off = Fraction(cells, 2 * 10 ** min(6, self.channel.digits + AREA_DIGITS)) + Fraction(1, 10**9)
            exactly = area / (2 * scale * HOUR * 1000) if count or has_points else None
            result.append((exactly, off + abs(exactly or 0) / 10**12))
        return result

    def _area_until(self, moment: int, areas: "array[int]") -> Fraction:
        """Twice the area under all lines up to a time, in whole numbers times ms."""
        index = bisect_right(self.times, moment) - 1
        if index < 0:
            return Fraction(0)
        area = Fraction(areas[index])
        start = self.times[index]
        if index + 1 < len(self.times) and start < moment and self.times[index + 1] - start <= GAP:
            first, rise = self.numbers[index], self.numbers[index + 1] - self.numbers[index]
            width = moment - start
            area += width * (2 * first + Fraction(rise * width, self.times[index + 1] - start))
        return area

    def _prefixes(self) -> tuple[int, "array[int]", "array[int]", "array[int]"]:
        """Number of points, and up to each point: by how much it has risen, twice the area, the number of lines."""
        size, risen, areas, lines = self._sums or (0, array("q"), array("q"), array("q"))
        replaced = sorted(self.replaced)
        for index in range(size, len(self.times)):
            if not index:
                risen.append(0)
                areas.append(0)
                lines.append(0)
                continue
            start, time = self.times[index - 1], self.times[index]
            before, number = self.numbers[index - 1], self.numbers[index]
            other_meter = bisect_right(replaced, start) < bisect_right(replaced, time)
            risen.append(risen[-1] + (0 if other_meter else self._rise(before, number)))
            is_line = time - start <= GAP
            areas.append(areas[-1] + (before + number) * (time - start) * is_line)
            lines.append(lines[-1] + is_line)
        self._sums = len(self.times), risen, areas, lines
        return self._sums

    def _rise(self, before: int, number: int) -> int:
        if self.channel.kind != "counter" or not 0 <= 10 * number < 9 * before:
            return number - before
        rollover = self.channel.rollover
        if rollover and 10 * before >= 9 * rollover and 10 * number <= rollover:
            return number - before + rollover
        return number  # it began again at zero


FUNCTIONS = ("n", "sum", "mean", "min", "max", "first", "last", "delta")


def midnights(zone: str, first: date, last: date) -> list[int]:
    """The first moments (s UTC) of the days of a zone's calendar from one day to another."""
    local = ZoneInfo(zone)
    count = (last - first).days + 1
    days = [first + timedelta(days=number) for number in range(count)]
    return [int(datetime(day.year, day.month, day.day, tzinfo=local).timestamp()) for day in days]


def months(zone: str, first: int, last: int) -> list[int]:
    """The first moments (s UTC) of the months of some years, and of the one after them."""
    local = ZoneInfo(zone)
    starts = [(year, month) for year in range(first, last + 1) for month in range(1, 13)] + [(last + 1, 1)]
    return [int(datetime(year, month, 1, tzinfo=local).timestamp()) for year, month in starts]


def clock_edges(zone: str, start: int, end: int, length: int) -> list[int]:
    """The edges (s UTC) of buckets shorter than a day, minute by minute as a person would read them off the local clock.

    One begins when the clock shows a multiple of the length or jumps over one; what has begun already begins again only
    where the clock goes back by at least the length.
    """
    edges: list[int] = []
    newest: tuple[date, int] | None = None
    shown: datetime | None = None
    for moment in range(start - DAY, end + DAY, MINUTE):
        local = datetime.fromtimestamp(moment, ZoneInfo(zone)).replace(tzinfo=None)
        since_midnight = local.hour * HOUR + local.minute * MINUTE
        bucket = local.date(), since_midnight // length
        if shown is not None and shown + timedelta(seconds=MINUTE) - local >= timedelta(seconds=length):
            newest = None  # the clock went back that far: all that it shows begins again
            if since_midnight % length:
                newest = bucket
        if newest is None or bucket > newest:
            edges.append(moment)
            newest = bucket
        shown = local
    first = max(bisect_right(edges, start) - 1, 0)
    return edges[first : bisect_left(edges, end) + 1]


@lru_cache(64)
def changes(zone: str, first: int, last: int) -> list[int]:
    """The moments (s UTC) of some years at which the clock of a zone changes."""
    local = ZoneInfo(zone)

    def offset(moment: int) -> timedelta | None:
        return datetime.fromtimestamp(moment, local).utcoffset()

    moments = []
    for day in range(midnights("UTC", date(first, 1, 1), date(first, 1, 1))[0], year_start(last + 1), DAY):
        if offset(day) != offset(day + DAY):
            low, high = day, day + DAY
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(middle) == offset(low) else (low, middle)
            moments.append(high)
    return moments


def year_start(year: int) -> int:
    return int(datetime(year, 1, 1, tzinfo=UTC).timestamp())


def as_of_grid(values: Values, interval: int, max_age: int) -> Iterator[tuple[int, int]]:
    """Each multiple of an interval (ms) up to the newest point, with the newest number of then that is not too old."""
    for before, after in pairwise([*values.times, None]):
        assert before is not None
        end = before + max_age if after is None else min(before + max_age, after - 1)
        number = values.numbers[bisect_left(values.times, before)]
        for step in range(-(-before // interval), end // interval + 1):
            yield step * interval, number
