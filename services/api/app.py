"""The application: its routes and its errors."""

import asyncio
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

import heliograph
from heliograph.errors import StoreAway, StoreDamaged
from heliograph.export_formats import Csv
from heliograph.store.interface import Point, Reader, Series
from services.api import (
    dashboard,
    export,
    feed,
    freshness,
    metrics,
    queries,
    series,
    views,
)
from services.api.errors import RequestRefused
from services.api.ingest import routes
from services.api.ingest.gate import is_foreign
from services.api.ingest.readings import PostedReading
from services.api.ingest.routes import Ingest
from services.api.live import LiveState
from services.api.reader_pool import ReaderPool
from services.api.schemas import (
    BucketResponse,
    DeviceResponse,
    Health,
    LatestResponse,
    NodeResponse,
    Problem,
    RawResponse,
    cacheable_response,
    components,
    described,
    described_file,
    json_response,
)
from services.api.uploads import routes as upload_routes
from services.api.uploads.client import UploaderClient
from services.api.uploads.schemas import SCHEMAS as UPLOAD_SCHEMAS

STORE_SECONDS = 5.0  # how long /health and /latest wait for the store

SeriesQuery = Annotated[
    list[str] | None,
    Query(
        alias="series",
        description="Comma-separated node/device/channel; * matches within one part.",
        examples=["roof/tracer/pv_power"],
    ),
]
FromQuery = Annotated[
    str | None, Query(alias="from", description="UTC seconds or ISO 8601; default: 24 hours before `to`.")
]
ToQuery = Annotated[str | None, Query(alias="to", description="UTC seconds or ISO 8601, not included; default: now.")]
BucketQuery = Annotated[str | None, Query(description="15m, 1h, 1d, 1w, 1mo, 1y, … or auto; none: raw points.")]
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
NodeQuery = Annotated[str | None, Query(description="Only the devices of this node.")]


def create_app(
    live: LiveState,
    store: ReaderPool,
    *,
    node: str,
    connected: Callable[[], bool],
    origins: Collection[str] = (),
    static: Path = dashboard.STATIC,
    ingest: Ingest | None = None,
    uploader: UploaderClient | None = None,
) -> FastAPI:
    """Return the application; `connected` says whether the broker answers, `origins` may read from other pages.

    Without `ingest` there are no routes for writing, without `uploader` none for managing uploads.
    """
    app = _Api(
        title="Heliograph",
        version=heliograph.__version__,
        description="Readings of a solar, energy and environment cluster.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    files = StaticFiles(directory=static, html=True, check_dir=False)

    @app.get("/api/v1/health", responses=described(Health, "Bus and store answer."), tags=["node"])
    async def health() -> Response:
        """Whether broker and store answer (otherwise 503), and the status of this node's services."""
        store_problem, damages = await _store_problems(store)
        content = views.health(live, node, connected(), store_problem, time.time(), damages)
        return json_response(content, 200 if content.bus and content.store else 503)

    @app.get("/api/v1/nodes", responses=described(NodeResponse, "Nodes.", "list"), tags=["node"])
    async def nodes() -> Response:
        """Every known node, with its services and their last status."""
        return json_response(views.nodes(live))

    @app.get("/api/v1/devices", responses=described(DeviceResponse, "Devices.", "list"), tags=["readings"])
    async def devices(node: NodeQuery = None) -> Response:
        """Every device with its channels and their newest values."""
        return json_response(views.devices(live, node))

    @app.get("/api/v1/latest", responses=described(LatestResponse, "By series.", "map"), tags=["readings"])
    async def latest(patterns: SeriesQuery = None) -> Response:
        """The newest value of each series."""
        names = queries.patterns(patterns or [])
        return json_response(views.latest(live, names, await _stored(store)))

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
                lambda reader: series.bucketed(reader, names, time_range, aggregation, if_none_match)
            )
        else:
            most, after = queries.limit(limit), queries.cursor(cursor)
            response = await store.run(lambda reader: series.raw(reader, names, time_range, most, after, if_none_match))
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
        file = await store.run(lambda reader: export.prepare(reader, names, time_range, aggregation, form))
        headers = freshness.headers(file.tag, time_range.end, time.time())
        if freshness.has(request.headers.get("if-none-match", ""), file.tag):
            return freshness.not_modified(headers)
        headers["content-disposition"] = f'attachment; filename="{file.file_name}"'
        return export.Download(export.stream(store, file), headers=headers, media_type=file.table.media_type)

    @app.websocket("/api/v1/live")
    async def live_feed(websocket: WebSocket) -> None:
        if is_foreign(websocket, origins):
            await websocket.close(1008, "this page may not subscribe here; see origins in [api]")
            return
        await feed.serve(websocket, live)

    @app.get("/api/v1/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        return await files.get_response("docs.html", request.scope)

    metrics.register(app, live, node, connected)
    if ingest:
        routes.register(app, ingest)
    if uploader:
        upload_routes.register(app, uploader)
    app.mount("/", files)

    _explain_errors(app)
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=1)  # 6 takes five times as long for 10 % less
    if origins:
        app.add_middleware(CORSMiddleware, allow_origins=list(origins), allow_methods=["GET"])
    app.add_middleware(dashboard.SecurityHeaders, content_security_policy=dashboard.policy(static))
    return app


class _Api(FastAPI):
    """FastAPI, with our own responses and errors in openapi.json."""

    def openapi(self) -> dict[str, Any]:
        """Return the description, which is made on the first request."""
        if self.openapi_schema is None:
            schema = super().openapi()
            schema["components"] = {
                "schemas": components(PostedReading, *UPLOAD_SCHEMAS),
                "securitySchemes": routes.SECURITY_SCHEMES,
            }
            for path in schema["paths"].values():
                for operation in path.values():
                    # FastAPI's own 422: ours is the 4XX.
                    operation["responses"].pop("422", None)
            raw = schema["paths"]["/api/v1/series"]["get"]["responses"]["200"]["content"]["application/json"]
            raw["schema"] = {"oneOf": [raw["schema"], {"$ref": f"#/components/schemas/{BucketResponse.__name__}"}]}
            self.openapi_schema = schema
        return self.openapi_schema


async def _store_problems(store: ReaderPool) -> tuple[str, list[str]]:
    """Return why the store does not answer, empty if it does; and what it cannot read."""
    try:
        return "", await asyncio.wait_for(store.run(_damages), STORE_SECONDS)
    except (StoreAway, StoreDamaged) as error:
        return str(error), []
    except TimeoutError:
        return f"the store did not answer within {STORE_SECONDS:.0f} s", []


def _damages(reader: Reader) -> list[str]:
    reader.series()  # raises StoreAway while there is none
    return reader.problems()


async def _stored(store: ReaderPool) -> list[tuple[Series, Point | None]]:
    """Return every series of the store with its newest point; none while the store does not answer."""
    try:
        return await asyncio.wait_for(store.run(_newest), STORE_SECONDS)
    except (StoreAway, StoreDamaged, TimeoutError):
        return []


def _newest(reader: Reader) -> list[tuple[Series, Point | None]]:
    series = reader.series()
    latest = reader.latest([one.id for one in series])
    return [(one, latest.get(one.id)) for one in series]


def _explain_errors(app: FastAPI) -> None:
    @app.exception_handler(RequestRefused)
    async def refused(_: Request, error: RequestRefused) -> Response:
        response = json_response(Problem(error.detail), error.status)
        response.headers.update(error.headers)
        return response

    @app.exception_handler(StoreAway)
    @app.exception_handler(StoreDamaged)
    async def away(_: Request, error: Exception) -> Response:
        return json_response(Problem(f"the store does not answer: {error}"), 503)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return json_response(Problem(f"{'.'.join(map(str, first['loc']))}: {first['msg']}"), 422)

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        details = {
            404: f"there is no {request.url.path[:80]}; /api/v1/docs lists the routes",
            405: f"{request.method[:16]} is not for {request.url.path[:80]}; /api/v1/docs lists the methods",
        }
        response = json_response(Problem(details.get(error.status_code, str(error.detail))), error.status_code)
        response.headers.update(error.headers or {})
        return response
