"""Answers to /export: a file of any size, asked from the store a page at a time.

Between two pages other questions have their turn, nothing in the store is held, and a client
that is gone is noticed.
"""

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from heliograph import export_formats
from heliograph.errors import StoreAway, StoreDamaged
from heliograph.export_formats import ExportFormat
from heliograph.messages import Value
from heliograph.store.buckets import automatic, edges, zone
from heliograph.store.interface import Function, Reader, Series
from services.api import freshness, queries
from services.api.queries import DAY, Span
from services.api.reader_pool import ReaderPool
from services.api.series import matching

log = logging.getLogger(__name__)

PAGE_POINTS = 20_000  # about as many values as a page should have
PAGE_CELLS = 1_000_000  # rows times columns of a page
FIRST_SECONDS = 3600.0  # how much time the first page is about
GROWTH = 4.0  # from page to page, at most
BUCKET_DAYS = 32.0  # of shorter buckets a page is about no more time than this


class Export(NamedTuple):
    """What is exported, and the entity tag of it; raw points if `bucket` is empty."""

    table: ExportFormat
    chosen: list[Series]
    asked: Span
    bucket: str
    tz: str
    functions: Sequence[Function]
    tag: str

    @property
    def file_name(self) -> str:
        """The name under which it is saved: a series, or all, and the time."""
        what = self.chosen[0].name.replace("/", "_") if len(self.chosen) == 1 else "heliograph"
        since, until = (f"{datetime.fromtimestamp(moment, UTC):%Y%m%dT%H%M%SZ}" for moment in self.asked)
        return f"{what}_{since}_{until}.{self.table.suffix}"


def prepare(
    reader: Reader,
    wanted: Sequence[str],
    asked: Span,
    bucket: str,
    tz: str,
    functions: Sequence[Function],
    form: type[ExportFormat],
) -> Export:
    """Return what is to be exported; raise Refused for a series that does not exist. `bucket` is empty for raw points."""
    chosen = matching(reader, wanted)
    if bucket == "auto":
        bucket = automatic(asked.start, asked.end)
    functions = functions if bucket else ()
    table = form(export_formats.columns(chosen, functions), zone(tz))
    tag = freshness.tag(reader, chosen, *asked, bucket, tz, functions, form.__name__, whole_past="delta" in functions)
    return Export(table, chosen, asked, bucket, tz, functions, tag)


class Download(StreamingResponse):
    """A file that is sent while it is made, and broken off where it cannot be made any further."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; uvicorn closes a connection whose answer is not complete."""
        try:
            await super().__call__(scope, receive, send)
        except (StoreAway, StoreDamaged) as error:
            log.warning("an export is broken off: %s", error)
        except asyncio.CancelledError:
            log.info("an export is broken off: the service stops")


async def stream(store: ReaderPool, export: Export) -> AsyncIterator[bytes]:
    """Yield the file; raise StoreAway, in the middle of it, when the store goes away."""
    if head := export.table.head():
        yield head
    if not export.chosen:
        return
    async for part in _bucketed(store, export) if export.bucket else _raw(store, export):
        if part:
            yield part


async def _raw(store: ReaderPool, export: Export) -> AsyncIterator[bytes]:
    most = max(1000, min(PAGE_POINTS, PAGE_CELLS // len(export.chosen)))
    start, seconds = export.asked.start, FIRST_SECONDS
    while start < export.asked.end:
        span = Span(start, min(start + seconds, export.asked.end))
        page = await store.run(partial(raw_page, export=export, span=span, most=2 * most))
        yield page.body
        seconds = max(1.0, (page.end - start) * min(GROWTH, most / max(page.points, 1)))
        start = page.end


async def _bucketed(store: ReaderPool, export: Export) -> AsyncIterator[bytes]:
    length = queries.length(export.bucket)
    count = max(1, int(min(PAGE_POINTS // len(export.table.columns), BUCKET_DAYS * DAY // length)))
    start = export.asked.start
    while start < export.asked.end:
        span = Span(start, min(start + count * length, export.asked.end))
        page = await store.run(partial(bucket_page, export=export, span=span))
        yield page.body
        start = page.end


class Page(NamedTuple):
    """A part of the file: everything before `end`, and how many values that are."""

    body: bytes
    end: float
    points: int


def raw_page(reader: Reader, export: Export, span: Span, most: int) -> Page:
    """Return the raw points of a span, or of the beginning of it if there are more than about `most`."""
    found, end = _points(reader, [one.id for one in export.chosen], span, most)
    return Page(export.table.rows(export_formats.raw_rows(found, export.chosen)), end, len(found))


def _points(reader: Reader, ids: Sequence[int], span: Span, most: int) -> tuple[list[tuple[float, int, Value]], float]:
    """Return about `most` points, all of each time, and the time before which there are no others."""
    points = reader.export(ids, *span)
    found = list(itertools.islice(points, most))
    for point in points:
        if point[0] > found[-1][0]:
            return found, point[0]
        found.append(point)
    return found, span.end


def bucket_page(reader: Reader, export: Export, span: Span) -> Page:
    """Return the buckets that cover a span; the page ends where the last of them does."""
    bounds = edges(*span, export.bucket, export.tz)
    rows = export_formats.bucket_rows(reader, export.chosen, bounds, export.functions)
    return Page(export.table.rows(rows), bounds[-1], len(export.table.columns) * (len(bounds) - 1))
