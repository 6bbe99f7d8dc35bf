"""Answers to /series, from a reader of the store: JSON, and how long it may be kept."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from heliograph.store.buckets import BucketError, automatic, edges
from heliograph.store.interface import Function, Reader, Series
from services.api import freshness, queries
from services.api.errors import Refused
from services.api.queries import DAY, Cursor, Span
from services.api.schemas import RawResponse, RawSeries

BUCKETED_LIMIT = 200  # series of one bucketed answer
SCAN_LIMIT = 20_000_000  # values that the store looks at for one answer
FASTEST = 10.0  # values per second and series; only a question that could be too long is looked at closely


class Found(NamedTuple):
    """An answer about the time before `end`; no body if the client has the one with this tag."""

    body: bytes
    tag: str
    end: float


def matching(reader: Reader, wanted: Sequence[str]) -> list[Series]:
    """Return the series of the store that are wanted, in order of their names; raise Refused if one is not there."""
    known = {one.name: one for one in reader.series()}
    return [known[name] for name in queries.select(wanted, known)]


def raw(
    reader: Reader, wanted: Sequence[str], asked: Span, limit: int, cursor: Cursor | None, if_none_match: str = ""
) -> Found:
    """Return one page of points, a RawResponse: series after series in order of their names, each oldest first.

    A page holds at most `limit` points and only the series it got to.
    """
    chosen = matching(reader, wanted)
    tag = freshness.tag(reader, chosen, *asked, limit, cursor, whole_past=False)
    if freshness.has(if_none_match, tag):
        return Found(b"", tag, asked.end)
    answer = RawResponse({}, None)
    for one in chosen:
        if cursor and one.name < cursor.series:
            continue
        after = cursor.after if cursor and one.name == cursor.series else None
        if limit == 0:
            answer.next = str(Cursor(one.name, after))
            break
        page = reader.raw(one.id, asked.start, asked.end, limit=limit, after=after)
        answer.series[one.name] = RawSeries(one.unit, page.times, page.values)
        if page.next is not None:
            answer.next = str(Cursor(one.name, page.next))
            break
        limit -= len(page.times)
    return Found(msgspec.json.encode(answer), tag, asked.end)


def bucketed(
    reader: Reader,
    wanted: Sequence[str],
    asked: Span,
    bucket: str,
    tz: str,
    functions: Sequence[Function],
    if_none_match: str = "",
) -> Found:
    """Return every series per bucket of local time, a BucketResponse; raise Refused for more than is bearable."""
    chosen = matching(reader, wanted)
    if len(chosen) > BUCKETED_LIMIT:
        raise Refused(f"{len(chosen)} series match; at most {BUCKETED_LIMIT} in one answer")
    if bucket == "auto":
        bucket = automatic(asked.start, asked.end)
    queries.bearable(bucket, asked, len(chosen))
    try:
        bounds = edges(asked.start, asked.end, bucket, tz)
    except BucketError as error:
        raise Refused(str(error)) from None
    whole_past = "delta" in functions
    tag = freshness.tag(reader, chosen, bounds[0], bounds[-1], bucket, tz, functions, whole_past=whole_past)
    if freshness.has(if_none_match, tag):
        return Found(b"", tag, bounds[-1])
    _refuse_long_scans(reader, chosen, asked, bucket, bounds)
    columns: list[Function] = ["n", *(name for name in functions if name != "n")]
    # Each series becomes text at once: numbers take three times as much room as their digits.
    answers = {one.name: _encoded(reader, one, bounds, columns) for one in chosen}
    answer = {"bucket": bucket, "tz": tz, "time": bounds[:-1], "series": answers}
    return Found(msgspec.json.encode(answer), tag, bounds[-1])


def _encoded(reader: Reader, one: Series, bounds: Sequence[float], functions: Sequence[Function]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode({"unit": one.unit, **reader.aggregate(one.id, bounds, functions)}))


def _refuse_long_scans(
    reader: Reader, chosen: Sequence[Series], asked: Span, bucket: str, bounds: Sequence[float]
) -> None:
    """Raise Refused if the store would have to look at more values, one by one, than SCAN_LIMIT."""
    seconds = bounds[-1] - bounds[0]
    if seconds * len(chosen) * FASTEST <= SCAN_LIMIT or queries.is_summed_up(bounds):
        return
    days = [bounds[0] // DAY * DAY, -(-bounds[-1] // DAY) * DAY]
    counts = [reader.aggregate(one.id, days, ["n"])["n"][0] for one in chosen]
    values = sum(count for count in counts if isinstance(count, int | float))
    if values > SCAN_LIMIT:
        quick = " or ".join(f"bucket={name}" for name in queries.quick(bucket, asked, len(chosen)))
        raise Refused(
            f"bucket={bucket} has to look at each of {values / 1e6:.0f} million values, at most "
            f"{SCAN_LIMIT // 1_000_000} million: {quick} is summed up already; or ask for less time, or use /export"
        )
