"""The parameters of questions about series, from text to what the store is asked."""

import math
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from heliograph import export_formats, series_patterns
from heliograph.export_formats import Csv, ExportFormat
from heliograph.store import buckets
from heliograph.store.interface import FUNCTIONS, Function
from services.api.errors import Refused

SERIES_LIMIT = 200  # names or patterns in one question
BUCKET_LIMIT = 20_000  # buckets of one series
CELL_LIMIT = 200_000  # buckets of all series of one answer
POINT_LIMIT = 100_000  # raw points of one page
TIER_SECONDS = 300  # the store sums up every five minutes of UTC
DAY = 86400.0
LATEST = 4102444800.0  # 2100-01-01: beyond it, a time is in milliseconds or a mistake
_BUCKET = re.compile(r"([1-9][0-9]{0,5})([smhdw])|1mo|1y")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": DAY, "w": 7 * DAY}
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
    """Return the series names and patterns of comma-separated lists, each once; raise Refused for anything else."""
    found = list(dict.fromkeys(part.strip() for text in texts for part in text.split(",") if part.strip()))
    if not found:
        raise Refused("series is missing: name one or more as node/device/channel; * matches within one part")
    if len(found) > SERIES_LIMIT:
        raise Refused(f"{len(found)} series at once; at most {SERIES_LIMIT}, and * matches many")
    try:
        return [series_patterns.check(pattern) for pattern in found]
    except ValueError as error:
        raise Refused(str(error)) from None


def select(patterns: Iterable[str], names: Iterable[str]) -> list[str]:
    """Return the names that the patterns match, sorted; raise Refused (404) for a full name that does not exist."""
    try:
        return series_patterns.select(patterns, names)
    except KeyError as error:
        raise Refused(f"no series {error.args[0]}; /api/v1/devices lists what there is", status=404) from None


def time(name: str, text: str) -> float:
    """Return UTC seconds from seconds or ISO 8601 (UTC when it names no offset); raise Refused."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = _iso(name, text)
    if not 0 <= seconds <= LATEST:
        hint = "; seconds, not milliseconds" if LATEST < seconds < math.inf else ""
        raise Refused(f"{name}={text[:40]} is not between 1970 and 2100{hint}")
    return seconds


def _iso(name: str, text: str) -> float:
    # An unescaped + of an offset arrives as a space.
    written = re.sub(r" (\d\d:?\d\d)$", r"+\1", text.strip())
    try:
        moment = datetime.fromisoformat(written)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise Refused(
            f"{name}={text[:40]!r} is not a time: UTC seconds such as 1763633000 or ISO 8601 such as 2025-11-20T10:00:00Z"
        ) from None


class Span(NamedTuple):
    """From `start` up to and not including `end`, UTC seconds."""

    start: float
    end: float


def span(start: str | None, end: str | None, now: float) -> Span:
    """Return the time asked for, by default the last 24 hours; raise Refused."""
    until = time("to", end) if end else now
    since = time("from", start) if start else max(0.0, until - DAY)
    if since >= until:
        raise Refused(f"from={since:.15g} is not before to={until:.15g}")
    return Span(since, until)


def zone(text: str | None) -> str:
    """Return the name of a time zone, by default UTC; raise Refused."""
    name = text or "UTC"
    if not _ZONE.fullmatch(name):
        raise Refused(f"tz={name[:64]!r} is not a time zone: it is a name such as UTC or Europe/Berlin")
    try:
        buckets.zone(name)
    except buckets.BucketError as error:
        raise Refused(f"tz: {error}") from None
    return name


def functions(text: str | None) -> list[Function]:
    """Return the functions asked for, each once, by default the mean; raise Refused."""
    wanted = [part.strip() for part in (text or "mean").split(",") if part.strip()]
    for name in wanted:
        if name not in FUNCTIONS:
            raise Refused(f"functions={name[:40]!r} is none of {' '.join(FUNCTIONS)}")
    return [name for name in FUNCTIONS if name in wanted]


def limit(text: str | None, default: int = 10_000) -> int:
    """Return how many points a page holds; raise Refused."""
    if not text:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 0 < int(text) <= POINT_LIMIT:
        raise Refused(f"limit={text[:40]!r} is not a number from 1 to {POINT_LIMIT}; follow next for more")
    return int(text)


def file_format(text: str | None, layout: str | None) -> type[ExportFormat]:
    """Return the format of a file, by default CSV in the wide layout; raise Refused."""
    formats, layouts = export_formats.FORMATS, export_formats.CSV_LAYOUTS
    form = next((form for name, form in formats.items() if name == (text or "csv")), None)
    if form is None:
        raise Refused(f"format={text!r:.42} is not one of {' '.join(formats)}")
    if layout and form is not Csv:
        raise Refused("layout goes with format=csv")
    if layout and layout not in layouts:
        raise Refused(f"layout={layout!r:.42} is not one of {' '.join(layouts)}")
    return layouts[layout] if layout else form


def bucket(text: str) -> str:
    """Return a bucket that is well formed, or auto; raise Refused."""
    if text == "auto":
        return text
    if not _BUCKET.fullmatch(text):
        raise Refused(f"bucket={text[:40]!r} is not a bucket: it is auto, 1mo, 1y, or a number of s m h d w as in 15m")
    if length(text) > 366 * DAY:
        raise Refused(f"bucket={text} is longer than 1y, the longest bucket")
    return text


def buckets_of(
    text: str | None, tz: str | None, names: str | None, *, local_times: bool = False
) -> tuple[str, str, list[Function]]:
    """Return bucket, time zone and functions, the bucket empty for raw points; raise Refused.

    `local_times` says that points without buckets need a time zone, too.
    """
    if text:
        return bucket(text), zone(tz), functions(names)
    if names or (tz and not local_times):
        raise Refused("tz and functions go with bucket: add one such as bucket=1h, or bucket=auto")
    return "", zone(tz), []


def bearable(text: str, asked: Span, series: int) -> str:
    """Return the bucket if it gives an answer of bearable size, or is auto; raise Refused."""
    if text != "auto" and not _fits(text, asked, series):
        fits = next((name for name in _SUGGESTED if _fits(name, asked, series)), "1y")
        raise Refused(
            f"bucket={text} makes {_buckets(asked, text):.0f} buckets of each of {series} series, "
            f"at most {_most(series)}: bucket={fits} or longer fits, or auto"
        )
    return text


def is_summed_up(bounds: Sequence[float]) -> bool:
    """Whether the store has summed up what makes these buckets, so that it need not look at every value."""
    return all(edge % TIER_SECONDS == 0 for edge in bounds)


def quick(text: str, asked: Span, series: int) -> list[str]:
    """Return the next shorter and the next longer bucket that the store has summed up, those of them that there are."""
    fit = [name for name in _SUGGESTED if length(name) >= TIER_SECONDS and _fits(name, asked, series)]
    shorter = [name for name in fit if length(name) <= length(text)]
    return shorter[-1:] + fit[len(shorter) : len(shorter) + 1]


def length(text: str) -> float:
    """Return the least a bucket lasts, in seconds."""
    if text == "1mo":
        return 28 * DAY
    if text == "1y":
        return 365 * DAY
    return int(text[:-1]) * _SECONDS[text[-1]]


def _most(series: int) -> int:
    return min(BUCKET_LIMIT, CELL_LIMIT // max(1, series))


def _fits(text: str, asked: Span, series: int) -> bool:
    return _buckets(asked, text) <= _most(series)


def _buckets(asked: Span, text: str) -> float:
    return math.ceil((asked.end - asked.start) / length(text)) + 1


class Cursor(NamedTuple):
    """Where a page ended: within a series, after a time; before anything of it when the time is None."""

    series: str
    after: float | None

    def __str__(self) -> str:
        """Return the cursor as `next` shows it."""
        return f"{self.series}@{'' if self.after is None else repr(self.after)}"


def cursor(text: str | None) -> Cursor | None:
    """Return where to go on; raise Refused for what `next` never was."""
    if not text:
        return None
    name, at, after = text.rpartition("@")
    try:
        moment = float(after) if after else None
    except ValueError:
        moment = math.nan
    if not at or name.count("/") != 2 or (moment is not None and not math.isfinite(moment)):
        raise Refused(f"next={text[:80]!r} is not a cursor: give back next of the page before, with the same question")
    return Cursor(name, moment)
