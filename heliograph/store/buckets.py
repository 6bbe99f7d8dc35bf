"""Where buckets begin and end: in local time, so that a day has 23, 24 or 25 hours.

Buckets shorter than a day begin whenever the local clock shows a multiple of them since
midnight: 6h at 00:00, 06:00, 12:00 and 18:00 of every day, one of them an hour shorter or
longer where the clock changes. Where the clock jumps over a multiple, the bucket begins at the
jump. Where it goes back, buckets no longer than that come again (the hour that comes twice is two
buckets of 1h); longer ones last longer. A length that does not divide a day, such as 7m, starts again
at midnight: the last bucket of a day is short, and all days have the same buckets.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from heliograph.errors import HeliographError

DAY = 86_400
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": DAY, "w": 7 * DAY}
# Files of the zone database that name no zone: what this machine is set to, and copies with other rules for leap seconds.
NOT_ZONES = ("localtime", "posixrules", "Factory", "posix/", "right/")
AUTOMATIC = (
    "1s",
    "5s",
    "10s",
    "30s",
    "1m",
    "2m",
    "5m",
    "10m",
    "15m",
    "30m",
    "1h",
    "2h",
    "3h",
    "6h",
    "12h",
)
AUTOMATIC_DAYS = ("1d", "1w", "1mo", "1y")
AUTOMATIC_POINTS = 500
MOST_BUCKETS = 100_000
MONDAY = datetime.fromisoformat("1970-01-05")


class BucketError(HeliographError):
    """The requested buckets are not possible; the message says which are."""


def zone(name: str) -> tzinfo:
    """Return a time zone by its IANA name; raise BucketError if there is no such zone."""
    try:
        if name.startswith(NOT_ZONES):
            raise ValueError
        return _zone(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BucketError(f"no time zone is called {name[:60]!r}; names look like Europe/Berlin or UTC") from None


@lru_cache(64)
def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)


def automatic(start: float, end: float) -> str:
    """Return the length of buckets of which about 500 cover [start, end)."""
    shortest = (end - start) / AUTOMATIC_POINTS
    for bucket in AUTOMATIC:
        if _seconds(bucket) >= shortest:
            return bucket
    for bucket, days in zip(AUTOMATIC_DAYS, (1, 7, 31, 366), strict=True):
        if days * DAY >= shortest:
            return bucket
    return "1y"


def edges(start: float, end: float, bucket: str, timezone: str) -> list[float]:
    """Return the edges of the buckets that cover [start, end), each later than the one before; one more than buckets.

    The first bucket holds `start`, the last one the moment before `end`. Buckets are
    `30s 15m 1h 1d 1w 1mo 1y` and the like; weeks begin on Monday. Raises BucketError for any
    other, or for more than MOST_BUCKETS of them.
    """
    match = re.fullmatch(
        r"([1-9][0-9]{0,6})(s|m|h|d|w|mo|y)",
        automatic(start, end) if bucket == "auto" else bucket,
    )
    if match is None:
        raise BucketError(f"{bucket[:20]!r} is not a bucket; buckets are like 30s 15m 1h 1d 1w 1mo 1y, or auto")
    count, unit = int(match[1]), match[2]
    length = count * (SECONDS | {"mo": 28 * DAY, "y": 365 * DAY})[unit]
    if (end - start) / length > MOST_BUCKETS:
        fits = automatic(start, start + (end - start) * AUTOMATIC_POINTS / MOST_BUCKETS)
        raise BucketError(f"{bucket} makes more than {MOST_BUCKETS} buckets; {fits} would fit")
    try:
        every = _edges(start, end, count, unit, zone(timezone))
    except (OverflowError, OSError, ValueError):
        raise BucketError("the time is out of reach: only the years 1 to 9999 have buckets") from None
    first = max(bisect_right(every, start) - 1, 0)
    return every[first : max(bisect_left(every, end), first + 1) + 1]


def _edges(start: float, end: float, count: int, unit: str, local: tzinfo) -> list[float]:
    """Return edges, the first at or before `start` and the last at or after `end`."""
    day = datetime.fromtimestamp(start, local).replace(tzinfo=None)
    if unit not in SECONDS:
        months = count * (12 if unit == "y" else 1)
        first = _month((day.year * 12 + day.month - 1) // months * months)
        return _calendar(end, local, first, lambda day: _month(day.year * 12 + day.month - 1 + months))
    seconds = count * SECONDS[unit]
    if seconds < DAY:
        return _clock(start, end, seconds, local)
    step = timedelta(seconds=seconds)
    return _calendar(end, local, day - (day - MONDAY) % step, lambda day: day + step)


def _clock(start: float, end: float, seconds: int, local: tzinfo) -> list[float]:
    """Return edges of buckets shorter than a day; no bucket lasts twice as long as it should."""
    edges_: list[float] = []
    due = None  # the next time of the local clock if it did not change
    for begin, until, offset in _stretches(int(start) - 3 * seconds, int(end) + 3 * seconds, local):
        shown = begin + offset
        if due is not None and due < shown:
            if next(_multiples(due, shown + 1, seconds), None) is not None:
                edges_.append(float(begin))
            shown += 1
        elif due is not None and due - shown < seconds:
            shown = due
        edges_ += [float(wall - offset) for wall in _multiples(shown, until + offset, seconds)]
        due = until + offset
    return edges_


def _stretches(start: int, end: int, local: tzinfo) -> Iterator[tuple[int, int, int]]:
    """Yield (begin, end, seconds that the local clock is ahead of UTC) of periods without a clock change."""
    begin = day = start
    offset = _offset(start, local)
    while day < end:
        before, day = day, min(day + DAY, end)
        if _offset(day, local) == offset:
            continue
        while day - before > 1:
            middle = (before + day) // 2
            if _offset(middle, local) == offset:
                before = middle
            else:
                day = middle
        yield begin, day, offset
        begin, offset = day, _offset(day, local)
    yield begin, end, offset


def _offset(moment: int, local: tzinfo) -> int:
    return int((datetime.fromtimestamp(moment, local).utcoffset() or timedelta()).total_seconds())


def _multiples(first: int, last: int, seconds: int) -> Iterator[int]:
    """Yield the local times that are multiples of `seconds` since midnight, in [first, last)."""
    if DAY % seconds == 0:
        yield from range(-(-first // seconds) * seconds, last, seconds)
        return
    for midnight in range(first // DAY * DAY, last, DAY):
        skipped = max(0, -((midnight - first) // seconds))
        yield from range(midnight + skipped * seconds, min(midnight + DAY, last), seconds)


def _calendar(end: float, local: tzinfo, day: datetime, following: Callable[[datetime], datetime]) -> list[float]:
    edges_ = [day.replace(tzinfo=local).timestamp()]
    while edges_[-1] < end:
        day = following(day)
        edge = day.replace(tzinfo=local).timestamp()
        if edge > edges_[-1]:  # a day that was skipped has no bucket: Samoa had no 30 December 2011
            edges_.append(edge)
    return edges_


def _month(index: int) -> datetime:
    return MONDAY.replace(year=index // 12, month=index % 12 + 1, day=1)


def _seconds(bucket: str) -> int:
    return int(bucket[:-1]) * SECONDS[bucket[-1]]
