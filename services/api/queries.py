"""The parameters of requests for series, parsed and checked."""

import math
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from heliograph import export_formats, series_patterns, written_times
from heliograph.export_formats import Csv, ExportFormat
from heliograph.store import buckets
from heliograph.store.interface import FUNCTIONS, Function
from heliograph.store.readings import EARLIEST
from services.api.errors import RequestRefused

SERIES_LIMIT = 200  # names or patterns in one request
BUCKET_LIMIT = 20_000  # buckets of one series
CELL_LIMIT = 200_000  # buckets of all series of one response
POINT_LIMIT = 100_000  # raw points of one page
TIER_SECONDS = 300  # the store has aggregates of every five minutes of UTC
DAY = 86400.0
LATEST = 4102444800.0  # 2100-01-01: beyond it, a time is in milliseconds or a mistake
_BUCKET = re.compile(r"([1-9][0-9]*)(s|m|h|d|w|mo|y)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": DAY, "w": 7 * DAY, "mo": 28 * DAY, "y": 365 * DAY}
LONGEST = {"s": 31_622_400, "m": 527_040, "h": 8_784, "d": 366, "w": 52, "mo": 120, "y": 10}  # counts of each unit
_RELATIVE = re.compile(r"(?:now)?(?:-([0-9]{1,9})([smhdw]))?")
_MILLISECONDS = re.compile(r"[1-9][0-9]{12}")  # 2001 to 2286
_SUGGESTED = (
    "1s",
    "5s",
    "10s",
    "30s",
    "1m",
    "5m",
    "10m",
    "15m",
    "30m",
    "1h",
    "3h",
    "6h",
    "12h",
    "1d",
    "1w",
    "1mo",
    "1y",
)
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,2}")


def patterns(texts: Iterable[str]) -> list[str]:
    """Return the series names and patterns of comma-separated lists, each once; raise RequestRefused for anything else."""
    names = list(dict.fromkeys(part.strip() for text in texts for part in text.split(",") if part.strip()))
    if not names:
        raise RequestRefused("series is missing: name one or more as node/device/channel; * matches within one part")
    if len(names) > SERIES_LIMIT:
        raise RequestRefused(f"{len(names)} series at once; at most {SERIES_LIMIT}, and * matches many")
    try:
        return [series_patterns.check(pattern) for pattern in names]
    except ValueError as error:
        raise RequestRefused(str(error)) from None


def select(patterns: Iterable[str], names: Iterable[str]) -> list[str]:
    """Return the names that the patterns match, sorted; raise RequestRefused (404) for a full name that does not exist."""
    try:
        return series_patterns.select(patterns, names)
    except KeyError as error:
        raise RequestRefused(f"no series {error.args[0]}; /api/v1/devices lists them", status=404) from None


def time(name: str, text: str) -> float:
    """Return UTC seconds from seconds or ISO 8601 (UTC when it names no offset); raise RequestRefused."""
    try:
        seconds = written_times.seconds(text)
    except ValueError as error:
        raise RequestRefused(f"{name}={error}") from None
    if not 0 <= seconds <= LATEST:
        hint = "; seconds, not milliseconds" if LATEST < seconds < math.inf else ""
        raise RequestRefused(f"{name}={text[:40]} is not between 1970 and 2100{hint}")
    return seconds


def _limit(name: str, text: str, now: float) -> float:
    """Return a limit of a time range: a time, or one relative to now, or in milliseconds, as Grafana writes them."""
    if text and (relative := _RELATIVE.fullmatch(text)):
        return max(0.0, now - int(relative[1] or 0) * _SECONDS[relative[2] or "s"])
    if _MILLISECONDS.fullmatch(text):
        return int(text) / 1000
    seconds = time(name, text)
    if 0 < seconds < EARLIEST:
        raise RequestRefused(f"{name}={text[:40]} is before 2000, from when there are no readings; 0 is the beginning")
    return seconds


class TimeRange(NamedTuple):
    """From `start` up to and not including `end`, UTC seconds."""

    start: float
    end: float


def time_range(start: str | None, end: str | None, now: float) -> TimeRange:
    """Return the requested time, by default the last 24 hours; raise RequestRefused."""
    until = _limit("to", end, now) if end else now
    since = _limit("from", start, now) if start else max(0.0, until - DAY)
    if since >= until:
        raise RequestRefused(f"from={since:.15g} is not before to={until:.15g}")
    return TimeRange(since, until)


def flag(name: str, text: str | None) -> bool:
    """Return whether a parameter that is on or off is on, by default off; raise RequestRefused."""
    if text not in (None, "", "0", "1", "false", "true"):
        raise RequestRefused(f"{name}={text[:40]!r} is neither 1 nor 0")
    return text in ("1", "true")


def zone(text: str | None) -> str:
    """Return the name of a time zone, by default UTC; raise RequestRefused."""
    name = text or "UTC"
    if not _ZONE.fullmatch(name):
        raise RequestRefused(f"tz={name[:64]!r} is not a time zone; use a name such as UTC or Europe/Berlin")
    try:
        buckets.zone(name)
    except buckets.BucketError as error:
        raise RequestRefused(f"tz: {error}") from None
    return name


def functions(text: str | None) -> list[Function]:
    """Return the requested functions, each once, by default the mean; raise RequestRefused."""
    requested = [part.strip() for part in (text or "mean").split(",") if part.strip()]
    for name in requested:
        if name not in FUNCTIONS:
            raise RequestRefused(f"functions={name[:40]!r} is not one of {' '.join(FUNCTIONS)}")
    return [name for name in FUNCTIONS if name in requested]


def limit(text: str | None, default: int = 10_000) -> int:
    """Return how many points a page holds; raise RequestRefused."""
    if not text:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 0 < int(text) <= POINT_LIMIT:
        raise RequestRefused(f"limit={text[:40]!r} is not a number from 1 to {POINT_LIMIT}; follow next for more")
    return int(text)


def file_format(text: str | None, layout: str | None) -> type[ExportFormat]:
    """Return the format of a file, by default CSV in the wide layout; raise RequestRefused."""
    formats, layouts = export_formats.FORMATS, export_formats.CSV_LAYOUTS
    form = next((form for name, form in formats.items() if name == (text or "csv")), None)
    if form is None:
        raise RequestRefused(f"format={text!r:.42} is not one of {' '.join(formats)}")
    if layout and form is not Csv:
        raise RequestRefused("layout needs format=csv")
    if layout and layout not in layouts:
        raise RequestRefused(f"layout={layout!r:.42} is not one of {' '.join(layouts)}")
    return layouts[layout] if layout else form


def bucket(text: str) -> str:
    """Check the length of a bucket, or auto, and return it; raise RequestRefused."""
    if text == "auto":
        return text
    match = _BUCKET.fullmatch(text)
    if not match:
        raise RequestRefused(
            f"bucket={text[:40]!r} is not a bucket; use auto, or a number of s m h d w mo y as in 15m, 1d or 3mo"
        )
    most = LONGEST[match[2]]
    if len(match[1]) > len(str(most)) or int(match[1]) > most:
        raise RequestRefused(f"bucket={text[:40]} is longer than {most}{match[2]}, the longest bucket in that unit")
    return text


class Aggregation(NamedTuple):
    """Buckets of this length in a time zone, and the functions per bucket; raw points if `bucket` is empty."""

    bucket: str
    tz: str
    functions: Sequence[Function]


def aggregation(text: str | None, tz: str | None, names: str | None, *, local_times: bool = False) -> Aggregation:
    """Return the requested aggregation; raise RequestRefused. With `local_times`, raw points may have a time zone, too."""
    if text:
        return Aggregation(bucket(text), zone(tz), functions(names))
    if names or (tz and not local_times):
        raise RequestRefused("tz and functions need a bucket: add one such as bucket=1h, or bucket=auto")
    return Aggregation("", zone(tz), [])


def check_bucket_count(text: str, time_range: TimeRange, series: int) -> None:
    """Raise RequestRefused if there would be too many buckets; never for auto."""
    if text != "auto" and not _fits(text, time_range, series):
        fits = next((name for name in _SUGGESTED if _fits(name, time_range, series)), "1y")
        raise RequestRefused(
            f"bucket={text} makes {_buckets(time_range, text):.0f} buckets of each of {series} series, "
            f"at most {_most(series)}: bucket={fits} or longer fits, or auto"
        )


def has_aggregates(bounds: Sequence[float]) -> bool:
    """Whether the store has aggregates that make up these buckets, so that it does not read every value."""
    return all(edge % TIER_SECONDS == 0 for edge in bounds)


def buckets_with_aggregates(text: str, time_range: TimeRange, series: int) -> list[str]:
    """Return the next shorter and the next longer bucket for which the store has aggregates, if there are any."""
    fit = [name for name in _SUGGESTED if length(name) >= TIER_SECONDS and _fits(name, time_range, series)]
    shorter = [name for name in fit if length(name) <= length(text)]
    return shorter[-1:] + fit[len(shorter) : len(shorter) + 1]


def length(text: str) -> float:
    """Return the shortest duration of a bucket, in seconds."""
    match = _BUCKET.fullmatch(text)
    return int(match[1]) * _SECONDS[match[2]] if match else 0.0


def _most(series: int) -> int:
    return min(BUCKET_LIMIT, CELL_LIMIT // max(1, series))


def _fits(text: str, time_range: TimeRange, series: int) -> bool:
    return _buckets(time_range, text) <= _most(series)


def _buckets(time_range: TimeRange, text: str) -> float:
    return math.ceil((time_range.end - time_range.start) / length(text)) + 1


class Cursor(NamedTuple):
    """Where a page ended: within a series, after a time; before anything of it when the time is None."""

    series: str
    after: float | None

    def __str__(self) -> str:
        """Return the cursor as `next` shows it."""
        return f"{self.series}@{'' if self.after is None else repr(self.after)}"


def cursor(text: str | None) -> Cursor | None:
    """Parse the cursor of the next page, None for the first page; raise RequestRefused."""
    if not text:
        return None
    name, at, after = text.rpartition("@")
    try:
        moment = float(after) if after else None
    except ValueError:
        moment = math.nan
    if not at or name.count("/") != 2 or (moment is not None and not math.isfinite(moment)):
        raise RequestRefused(
            f"next={text[:80]!r} is not a cursor: send the `next` of the previous page, with the same parameters"
        )
    return Cursor(name, moment)
