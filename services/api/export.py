"""Responses to /export: a file of any size, read from the store page by page.

Between two pages other queries have their turn, nothing in the store is locked, and a client that has disconnected is
noticed.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
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
from heliograph.store.interface import Reader, Series
from services.api import freshness, queries
from services.api.errors import Busy
from services.api.queries import DAY, Aggregation, TimeRange
from services.api.reader_pool import ReaderPool
from services.api.series import matching
from services.api.slots import Slots

log = logging.getLogger(__name__)

MOST_EXPORTS = 50  # at once,
EACH_EXPORTS = 10  # and for one address: each holds a page in memory
RETRY_SECONDS = 5.0
PAGE_POINTS = 20_000  # values that a page should have, about,
SERIES_POINTS = 5  # and so many of each series: a page looks for the day of each, however few values it takes of it
PAGE_CELLS = 10_000_000  # rows times columns of a page
FIRST_SECONDS = 3600.0  # of the first page
GROWTH = 4.0  # from page to page, at most
BUCKET_DAYS = 32.0  # of a page of buckets, unless one bucket is longer


class Export(NamedTuple):
    """A file to be exported, and its entity tag."""

    table: ExportFormat
    selected: list[Series]
    time_range: TimeRange
    aggregation: Aggregation
    tag: str

    @property
    def file_name(self) -> str:
        """The name of the file: one series, or heliograph, and the time."""
        what = self.selected[0].name.replace("/", "_") if len(self.selected) == 1 else "heliograph"
        since, until = (f"{datetime.fromtimestamp(moment, UTC):%Y%m%dT%H%M%SZ}" for moment in self.time_range)
        return f"{what}_{since}_{until}.{self.table.suffix}"


def prepare(
    reader: Reader,
    patterns: Sequence[str],
    time_range: TimeRange,
    aggregation: Aggregation,
    form: type[ExportFormat],
) -> Export:
    """Return the export of the series that match; raise RequestRefused for an unknown full name."""
    bucket, tz, functions = aggregation
    selected = matching(reader, patterns)
    if bucket == "auto":
        bucket = automatic(time_range.start, time_range.end)
    functions = functions if bucket else ()
    table = form(export_formats.columns(selected, functions), zone(tz))
    tag = freshness.tag(
        reader, selected, *time_range, bucket, tz, functions, form.__name__, whole_past="delta" in functions
    )
    return Export(table, selected, time_range, Aggregation(bucket, tz, functions), tag)


def slots() -> Slots[object]:
    """Return the slots of the exports that are under way."""
    return Slots(MOST_EXPORTS, EACH_EXPORTS, margin=MOST_EXPORTS, evict=lambda _: None)


def take_slot(exports: Slots[object], address: str) -> object:
    """Take a slot for an export, to be given back; raise Busy if there is none for this address."""
    slot = object()
    if not exports.take(address, slot):
        raise Busy(
            f"too many exports at once, at most {EACH_EXPORTS} for one address; try again later", 429, RETRY_SECONDS
        )
    return slot


class Download(StreamingResponse):
    """A file that is sent while it is made; the connection is closed if it cannot be completed, and `ended` called at the end."""

    def __init__(
        self, content: AsyncIterator[bytes], *, headers: dict[str, str], media_type: str, ended: Callable[[], None]
    ) -> None:
        super().__init__(content, headers=headers, media_type=media_type)
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file; uvicorn closes a connection whose response is not complete."""
        try:
            await super().__call__(scope, receive, send)
        except (StoreAway, StoreDamaged) as error:
            log.warning("an export is cut short: %s", error)
        except asyncio.CancelledError:
            log.info("an export is cut short: the service is stopping")
        finally:
            self._ended()


async def stream(store: ReaderPool, export: Export) -> AsyncIterator[bytes]:
    """Yield the content of the file; raise StoreAway if the store goes away before its end.

    Raises StoreDamaged at its end, after everything that can be read, if the store could not read all of it.
    """
    if head := export.table.head():
        yield head
    if not export.selected:
        return
    async for part in _bucketed(store, export) if export.aggregation.bucket else _raw(store, export):
        if part:
            yield part
    if damaged := await store.run(partial(_damaged, export), "export"):
        raise StoreDamaged("; ".join(damaged))


def _damaged(export: Export, reader: Reader) -> list[str]:
    start = 0.0 if "delta" in export.aggregation.functions else export.time_range.start
    return reader.damaged([one.id for one in export.selected], start, export.time_range.end)


async def _raw(store: ReaderPool, export: Export) -> AsyncIterator[bytes]:
    most = max(PAGE_POINTS, SERIES_POINTS * len(export.selected))
    start, seconds = export.time_range.start, FIRST_SECONDS
    while start < export.time_range.end:
        part = TimeRange(start, min(start + seconds, export.time_range.end))
        page = await store.run(partial(raw_page, export=export, part=part, most=2 * most), "export")
        yield page.body
        seconds = max(1.0, (page.end - start) * min(GROWTH, most / max(page.points, 1)))
        start = page.end


async def _bucketed(store: ReaderPool, export: Export) -> AsyncIterator[bytes]:
    length = queries.length(export.aggregation.bucket)
    count = max(1, int(min(PAGE_POINTS // len(export.table.columns), BUCKET_DAYS * DAY // length)))
    start = export.time_range.start
    while start < export.time_range.end:
        part = TimeRange(start, min(start + count * length, export.time_range.end))
        page = await store.run(partial(bucket_page, export=export, part=part), "export")
        yield page.body
        start = page.end


class ExportPage(NamedTuple):
    """A part of the file: everything before `end`, and its number of values."""

    body: bytes
    end: float
    points: int


def raw_page(reader: Reader, export: Export, part: TimeRange, most: int) -> ExportPage:
    """Return the raw points of a part of the time, or of its beginning if there are more than about `most`, or too many rows."""
    ids = [one.id for one in export.selected]
    points, end = _points(reader, ids, part, most, PAGE_CELLS // len(ids))
    return ExportPage(export.table.rows(export_formats.raw_rows(points, export.selected)), end, len(points))


def _points(
    reader: Reader, ids: Sequence[int], part: TimeRange, most: int, most_times: int
) -> tuple[list[tuple[float, int, Value]], float]:
    """Return about `most` points of about `most_times` times, all of each time, and the time before which there are no others."""
    page: list[tuple[float, int, Value]] = []
    times = 0
    for point in reader.export(ids, *part):
        if not page or point[0] > page[-1][0]:
            if page and (len(page) >= most or times >= most_times):
                return page, point[0]
            times += 1
        page.append(point)
    return page, part.end


def bucket_page(reader: Reader, export: Export, part: TimeRange) -> ExportPage:
    """Return the buckets that cover a part of the time; the page ends with the last of them."""
    bounds = edges(*part, export.aggregation.bucket, export.aggregation.tz)
    rows = export_formats.bucket_rows(reader, export.selected, bounds, export.aggregation.functions)
    return ExportPage(export.table.rows(rows), bounds[-1], len(export.table.columns) * (len(bounds) - 1))
