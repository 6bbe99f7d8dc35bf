"""Where buckets begin and end: in local time, so that a day has 23, 24 or 25 hours."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from heliograph.errors import HeliographError

SECONDS = {"s": 1, "m": 60, "h": 3600}
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
    """The buckets that were asked for cannot be; the message says what can."""


def zone(name: str) -> tzinfo:
    """Return a time zone by its IANA name; raise BucketError if there is none of that name."""
    try:
        return _zone(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BucketError(f"no time zone is called {name[:60]!r}; names look like Europe/Berlin or UTC") from None


@lru_cache(64)
def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)


def automatic(start: float, end: float) -> str:
    """Return the bucket that makes about 500 points of [start, end)."""
    wanted = (end - start) / AUTOMATIC_POINTS
    for bucket in AUTOMATIC:
        if _seconds(bucket) >= wanted:
            return bucket
    for bucket, days in zip(AUTOMATIC_DAYS, (1, 7, 31, 366), strict=True):
        if days * 86_400 >= wanted:
            return bucket
    return "1y"


def edges(start: float, end: float, bucket: str, timezone: str) -> list[float]:
    """Return the edges of the buckets that cover [start, end), aligned to local midnight; one more than buckets.

    Buckets are `30s 15m 1h 1d 1w 1mo 1y` and the like; weeks begin on Monday. Raises
    BucketError for any other, or for more than MOST_BUCKETS of them.
    """
    match = re.fullmatch(
        r"([1-9][0-9]{0,6})(s|m|h|d|w|mo|y)",
        automatic(start, end) if bucket == "auto" else bucket,
    )
    if match is None:
        raise BucketError(f"{bucket[:20]!r} is not a bucket; buckets are like 30s 15m 1h 1d 1w 1mo 1y, or auto")
    count, unit = int(match[1]), match[2]
    length = count * {**SECONDS, "d": 86_400, "w": 604_800, "mo": 28 * 86_400, "y": 365 * 86_400}[unit]
    if (end - start) / length > MOST_BUCKETS:
        fits = automatic(start, start + (end - start) * AUTOMATIC_POINTS / MOST_BUCKETS)
        raise BucketError(f"{bucket} makes more than {MOST_BUCKETS} buckets; {fits} would fit")
    try:
        return _edges(start, end, count, unit, zone(timezone))
    except (OverflowError, OSError, ValueError):
        raise BucketError("the time is out of reach: only the years 1 to 9999 have buckets") from None


def _edges(start: float, end: float, count: int, unit: str, local: tzinfo) -> list[float]:
    if unit in SECONDS:
        return _fixed(start, end, count * SECONDS[unit], local)
    first = datetime.fromtimestamp(start, local).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    if unit in "dw":
        step = timedelta(days=count * (7 if unit == "w" else 1))
        first -= (first - MONDAY) % step
        return _calendar(end, local, first, lambda day: day + step)
    months = count * (12 if unit == "y" else 1)
    index = (first.year * 12 + first.month - 1) // months * months
    first = _month(index)
    return _calendar(end, local, first, lambda day: _month(day.year * 12 + day.month - 1 + months))


def _fixed(start: float, end: float, seconds: int, local: tzinfo) -> list[float]:
    """Buckets of seconds count from local midnight, as long as the offset from UTC stays what it is at the start."""
    offset = datetime.fromtimestamp(start, local).utcoffset() or timedelta()
    shift = offset.total_seconds() % seconds
    edge = (start + shift) // seconds * seconds - shift
    found = [edge]
    while edge < end:
        edge += seconds
        found.append(edge)
    return found


def _calendar(end: float, local: tzinfo, day: datetime, following: Callable[[datetime], datetime]) -> list[float]:
    found = [day.replace(tzinfo=local).timestamp()]
    while found[-1] < end:
        day = following(day)
        edge = day.replace(tzinfo=local).timestamp()
        if edge > found[-1]:  # a day that a place jumped over has no bucket: Samoa had no 30 December 2011
            found.append(edge)
    return found


def _month(index: int) -> datetime:
    return MONDAY.replace(year=index // 12, month=index % 12 + 1, day=1)


def _seconds(bucket: str) -> int:
    return int(bucket[:-1]) * SECONDS[bucket[-1]]
