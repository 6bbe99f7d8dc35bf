"""Responses to /series, from a reader of the store: JSON, and its entity tag."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from heliograph.store.buckets import BucketError, automatic, edges
from heliograph.store.interface import Function, Reader, Series
from services.api import freshness, queries
from services.api.errors import RequestRefused
from services.api.queries import DAY, Aggregation, Cursor, TimeRange
from services.api.schemas import RawResponse, RawSeries

BUCKETED_LIMIT = 200  # series of one bucketed response
SCAN_LIMIT = 20_000_000  # values that the store reads for one response
FASTEST = 10.0  # values per second and series; values are counted only for a request that might exceed the limit


class SeriesResponse(NamedTuple):
    """A response about the time before `end`; without a body if the client has the one with this tag."""

    body: bytes
    tag: str
    end: float


def matching(reader: Reader, patterns: Sequence[str]) -> list[Series]:
    """Return the series of the store that match, in order of their names; raise RequestRefused for an unknown full name."""
    known = {one.name: one for one in reader.series()}
    return [known[name] for name in queries.select(patterns, known)]


def _stored(reader: Reader, patterns: Sequence[str]) -> tuple[list[Series], list[str]]:
    """Return the series that match, and the full names that the store does not have; raise RequestRefused if it has none of several."""
    known = {one.name for one in reader.series()}
    unknown = [pattern for pattern in patterns if "*" not in pattern and pattern not in known]
    present = [pattern for pattern in patterns if pattern not in unknown]
    return matching(reader, present or patterns), unknown


def raw(
    reader: Reader,
    patterns: Sequence[str],
    time_range: TimeRange,
    limit: int,
    cursor: Cursor | None,
    if_none_match: str = "",
) -> SeriesResponse:
    """Return one page of points, a RawResponse: series after series in order of their names, each oldest first.

    A page holds at most `limit` points, and may end within a series.
    """
    selected, unknown = _stored(reader, patterns)
    tag = freshness.tag(reader, selected, *time_range, limit, cursor, whole_past=False)
    if freshness.has(if_none_match, tag):
        return SeriesResponse(b"", tag, time_range.end)
    response = RawResponse({}, None, unknown=unknown)
    for one in selected:
        if cursor and one.name < cursor.series:
            continue
        after = cursor.after if cursor and one.name == cursor.series else None
        if limit == 0:
            response.next = str(Cursor(one.name, after))
            break
        page = reader.raw(one.id, time_range.start, time_range.end, limit=limit, after=after)
        response.series[one.name] = RawSeries(one.unit, page.times, page.values)
        if page.next is not None:
            response.next = str(Cursor(one.name, page.next))
            break
        limit -= len(page.times)
    response.damaged = reader.damaged([one.id for one in selected], *time_range)
    return SeriesResponse(msgspec.json.encode(response), tag, time_range.end)


def bucketed(
    reader: Reader,
    patterns: Sequence[str],
    time_range: TimeRange,
    aggregation: Aggregation,
    if_none_match: str = "",
) -> SeriesResponse:
    """Return every series per bucket of local time, a BucketResponse; raise RequestRefused if the response would be too large."""
    bucket, tz, functions = aggregation
    selected, unknown = _stored(reader, patterns)
    if len(selected) > BUCKETED_LIMIT:
        raise RequestRefused(f"{len(selected)} series match; at most {BUCKETED_LIMIT} in one answer")
    if bucket == "auto":
        bucket = automatic(time_range.start, time_range.end)
    queries.check_bucket_count(bucket, time_range, len(selected))
    try:
        bounds = edges(time_range.start, time_range.end, bucket, tz)
    except BucketError as error:
        raise RequestRefused(str(error)) from None
    whole_past = "delta" in functions
    tag = freshness.tag(reader, selected, bounds[0], bounds[-1], bucket, tz, functions, whole_past=whole_past)
    if freshness.has(if_none_match, tag):
        return SeriesResponse(b"", tag, bounds[-1])
    _refuse_long_scans(reader, selected, time_range, bucket, bounds)
    columns: list[Function] = ["n", *(name for name in functions if name != "n")]
    # Each series is encoded at once: numbers take three times as much memory as their digits.
    by_name = {one.name: _encoded(reader, one, bounds, columns) for one in selected}
    response = {"bucket": bucket, "tz": tz, "time": bounds[:-1], "series": by_name}
    if unknown:
        response["unknown"] = unknown
    start = 0.0 if whole_past else bounds[0]
    if damaged := reader.damaged([one.id for one in selected], start, bounds[-1]):
        response["damaged"] = damaged
    return SeriesResponse(msgspec.json.encode(response), tag, bounds[-1])


def _encoded(reader: Reader, one: Series, bounds: Sequence[float], functions: Sequence[Function]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode({"unit": one.unit, **reader.aggregate(one.id, bounds, functions)}))


def _refuse_long_scans(
    reader: Reader, selected: Sequence[Series], time_range: TimeRange, bucket: str, bounds: Sequence[float]
) -> None:
    """Raise RequestRefused if the store would have to read more than SCAN_LIMIT values."""
    seconds = bounds[-1] - bounds[0]
    if seconds * len(selected) * FASTEST <= SCAN_LIMIT or queries.has_aggregates(bounds):
        return
    days = [bounds[0] // DAY * DAY, -(-bounds[-1] // DAY) * DAY]
    counts = [reader.aggregate(one.id, days, ["n"])["n"][0] for one in selected]
    values = sum(count for count in counts if isinstance(count, int | float))
    if values > SCAN_LIMIT:
        suggested = " or ".join(
            f"bucket={name}" for name in queries.buckets_with_aggregates(bucket, time_range, len(selected))
        )
        raise RequestRefused(
            f"bucket={bucket} has to read {values / 1e6:.0f} million values, at most "
            f"{SCAN_LIMIT // 1_000_000} million: {suggested} has aggregates; or request less time, or use /export"
        )
