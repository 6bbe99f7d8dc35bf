"""The routes of the history: series, and their export."""

import time
from typing import Annotated

from fastapi import FastAPI, Query, Request
from starlette.responses import Response

from heliograph.export_formats import Csv
from services.api import export, freshness, queries, series
from services.api.addresses import Addresses
from services.api.reader_pool import ReaderPool
from services.api.schemas import RawResponse, cacheable_response, described, described_file

SeriesQuery = Annotated[
    list[str] | None,
    Query(
        alias="series",
        description="Comma-separated node/device/channel; * matches within one part.",
        examples=["roof/tracer/pv_power"],
    ),
]
FromQuery = Annotated[
    str | None,
    Query(alias="from", description="UTC seconds, ISO 8601, or relative as in now-1h; default: 24 hours before `to`."),
]
ToQuery = Annotated[str | None, Query(alias="to", description="The same, not included; default: now.")]
BucketQuery = Annotated[str | None, Query(description="15m, 1h, 1d, 1w, 1mo, 3mo, 1y, … or auto; none: raw points.")]
ZoneQuery = Annotated[str | None, Query(description="The time zone of buckets, and of the times in CSV; default: UTC.")]
FunctionsQuery = Annotated[
    str | None,
    Query(description="Comma-separated: n mean min max sum first last delta integral; default: mean."),
]
LimitQuery = Annotated[str | None, Query(description="Raw points on a page, at most 100000; default: 10000.")]
NextQuery = Annotated[
    str | None, Query(alias="next", description="`next` of the previous page, with the same parameters.")
]
FormatQuery = Annotated[str | None, Query(alias="format", description="csv, jsonl or line; default: csv.")]
LayoutQuery = Annotated[str | None, Query(description="CSV: wide, a column per series; or long, a line per value.")]


def register(app: FastAPI, store: ReaderPool, addresses: Addresses) -> None:
    """Add the routes to an application."""
    exports = export.slots()

    @app.get(
        "/api/v1/series",
        responses=described(RawResponse, "Raw points; with `bucket`, a BucketResponse."),
        tags=["readings"],
    )
    async def history_of_series(
        request: Request,
        patterns: SeriesQuery = None,
        start: FromQuery = None,
        end: ToQuery = None,
        bucket: BucketQuery = None,
        tz: ZoneQuery = None,
        functions: FunctionsQuery = None,
        limit: LimitQuery = None,
        cursor: NextQuery = None,
    ) -> Response:
        """Raw points by the page, or values per bucket of local time."""
        names, time_range = queries.patterns(patterns or []), queries.time_range(start, end, time.time())
        aggregation = queries.aggregation(bucket, tz, functions)
        if_none_match = request.headers.get("if-none-match", "")
        if aggregation.bucket:
            queries.check_bucket_count(aggregation.bucket, time_range, 1)
            response = await store.run(
                lambda reader: series.bucketed(reader, names, time_range, aggregation, if_none_match), "history"
            )
        else:
            most, after = queries.limit(limit), queries.cursor(cursor)
            response = await store.run(
                lambda reader: series.raw(reader, names, time_range, most, after, if_none_match), "history"
            )
        headers = freshness.headers(response.tag, response.end, time.time())
        return cacheable_response(response.body, headers) if response.body else freshness.not_modified(headers)

    @app.get(
        "/api/v1/export",
        responses=described_file("The file.", "text/csv", "application/jsonl", "text/plain"),
        tags=["readings"],
    )
    async def file_of_series(
        request: Request,
        patterns: SeriesQuery = None,
        start: FromQuery = None,
        end: ToQuery = None,
        bucket: BucketQuery = None,
        tz: ZoneQuery = None,
        functions: FunctionsQuery = None,
        format_name: FormatQuery = None,
        layout: LayoutQuery = None,
    ) -> Response:
        """Raw points or values per bucket as a file of any size."""
        names, time_range = queries.patterns(patterns or []), queries.time_range(start, end, time.time())
        form = queries.file_format(format_name, layout)
        aggregation = queries.aggregation(bucket, tz, functions, local_times=issubclass(form, Csv))
        file = await store.run(lambda reader: export.prepare(reader, names, time_range, aggregation, form), "history")
        headers = freshness.headers(file.tag, time_range.end, time.time())
        if freshness.has(request.headers.get("if-none-match", ""), file.tag):
            return freshness.not_modified(headers)
        headers["content-disposition"] = f'attachment; filename="{file.file_name}"'
        slot = export.take_slot(exports, addresses.client(request))
        return export.Download(
            export.stream(store, file),
            headers=headers,
            media_type=file.table.media_type,
            ended=lambda: exports.leave(slot),
        )
