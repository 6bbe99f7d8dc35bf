"""Answers to /series, from a reader of the store."""

from collections.abc import Sequence

from heliograph.store.buckets import BucketError, automatic, edges
from heliograph.store.interface import Function, Reader, Series
from services.api import patterns, queries
from services.api.answers import BucketAnswer, RawAnswer, RawSeries
from services.api.errors import Refused
from services.api.queries import Cursor, Span

BUCKETED_LIMIT = 200  # series of one bucketed answer


def _chosen(reader: Reader, wanted: Sequence[str]) -> list[Series]:
    known = {one.name: one for one in reader.series()}
    return [known[name] for name in patterns.select(wanted, known)]


def raw(reader: Reader, wanted: Sequence[str], asked: Span, limit: int, cursor: Cursor | None) -> RawAnswer:
    """Return one page of points: series after series in order of their names, each oldest first.

    A page holds at most `limit` points and only the series it got to.
    """
    answer = RawAnswer({}, None)
    for one in _chosen(reader, wanted):
        if cursor and one.name < cursor.series:
            continue
        after = cursor.after if cursor and one.name == cursor.series else None
        if limit == 0:
            answer.next = str(Cursor(one.name, after))
            break
        page = reader.raw(one.id, asked.start, asked.end, limit=limit, after=after)
        answer.series[one.name] = RawSeries(one.unit, list(page.times), list(page.values))
        if page.next is not None:
            answer.next = str(Cursor(one.name, page.next))
            break
        limit -= len(page.times)
    return answer


def bucketed(
    reader: Reader, wanted: Sequence[str], asked: Span, bucket: str, tz: str, functions: Sequence[Function]
) -> BucketAnswer:
    """Return every series per bucket of local time; raise Refused for more than is bearable."""
    chosen = _chosen(reader, wanted)
    if len(chosen) > BUCKETED_LIMIT:
        raise Refused(f"{len(chosen)} series match; at most {BUCKETED_LIMIT} in one answer")
    if bucket == "auto":
        bucket = automatic(asked.start, asked.end)
    bucket = queries.bucket(bucket, asked, len(chosen))
    try:
        bounds = edges(asked.start, asked.end, bucket, tz)
    except BucketError as error:
        raise Refused(str(error)) from None
    answer = BucketAnswer(bucket, tz, bounds[:-1], {})
    for one in chosen:
        columns = reader.aggregate(one.id, bounds, ["n", *(name for name in functions if name != "n")])
        answer.series[one.name] = {"unit": one.unit, **columns}
    return answer
