"""The application: its routes and its errors."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.routing import Match
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

import heliograph
from heliograph.errors import StoreAway, StoreDamaged
from services.api import dashboard, feed, history_routes, live_routes, metrics
from services.api.addresses import Addresses
from services.api.errors import RequestRefused
from services.api.health import HealthWatch
from services.api.ingest import routes as ingest_routes
from services.api.ingest.gate import is_foreign
from services.api.ingest.readings import PostedReading
from services.api.ingest.routes import Ingest
from services.api.live import LiveState
from services.api.middleware import HeadRequests, HostCheck
from services.api.reader_pool import ReaderPool
from services.api.schemas import BucketResponse, Problem, components, json_response
from services.api.strict_route import StrictRoute
from services.api.uploads import routes as upload_routes
from services.api.uploads.client import UploaderClient
from services.api.uploads.schemas import SCHEMAS as UPLOAD_SCHEMAS


def create_app(
    live: LiveState,
    store: ReaderPool,
    *,
    watch: HealthWatch,
    origins: Collection[str] = (),
    hosts: Collection[str] = (),
    addresses: Addresses | None = None,
    static: Path = dashboard.STATIC,
    ingest: Ingest | None = None,
    uploader: UploaderClient | None = None,
) -> FastAPI:
    """Return the application; `watch` watches its node, `origins` may read from other pages, `hosts` are its names.

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

    app.router.route_class = StrictRoute
    addresses = addresses or Addresses()
    listeners = feed.Listeners(live, addresses)
    live_routes.register(app, live, store, watch)
    history_routes.register(app, store, addresses)

    @app.websocket("/api/v1/live")
    async def live_feed(websocket: WebSocket) -> None:
        if is_foreign(websocket, origins):
            await websocket.close(1008, "this page may not subscribe here; see origins in [api]")
            return
        await listeners.serve(websocket)

    @app.get("/api/v1/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        return await files.get_response("docs.html", request.scope)

    metrics.register(app, live, watch)
    if ingest:
        ingest_routes.register(app, ingest)
    if uploader:
        upload_routes.register(app, uploader)
    app.mount("/", files)

    _explain_errors(app)
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=1)  # 6 takes five times as long for 10 % less
    if origins:
        app.add_middleware(CORSMiddleware, allow_origins=list(origins), allow_methods=["GET"])
    app.add_middleware(HostCheck, hosts=hosts)
    app.add_middleware(dashboard.SecurityHeaders, content_security_policy=dashboard.policy(static))
    app.add_middleware(HeadRequests)
    return app


class _Api(FastAPI):
    """FastAPI, with our own responses and errors in openapi.json."""

    def openapi(self) -> dict[str, Any]:
        """Return the description, which is made on the first request."""
        if self.openapi_schema is None:
            schema = super().openapi()
            schema["components"] = {
                "schemas": components(PostedReading, *UPLOAD_SCHEMAS),
                "securitySchemes": ingest_routes.SECURITY_SCHEMES,
            }
            for path in schema["paths"].values():
                for operation in path.values():
                    # FastAPI's own 422: ours is the 4XX.
                    operation["responses"].pop("422", None)
            raw = schema["paths"]["/api/v1/series"]["get"]["responses"]["200"]["content"]["application/json"]
            raw["schema"] = {"oneOf": [raw["schema"], {"$ref": f"#/components/schemas/{BucketResponse.__name__}"}]}
            self.openapi_schema = schema
        return self.openapi_schema


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
        status, headers = error.status_code, dict(error.headers or {})
        # The files of the page are looked for under any path.
        if status == 404 and (methods := _other_methods(request)):
            status, headers = 405, {"allow": ", ".join(methods)}
        response = json_response(Problem(details.get(status, str(error.detail))), status)
        response.headers.update(headers)
        return response


def _other_methods(request: Request) -> list[str]:
    """Return the methods that the path of a request is for, if it is not for the method of the request."""
    partial = (one for one in request.app.routes if one.matches(request.scope)[0] is Match.PARTIAL)
    return sorted({method for route in partial for method in route.methods})
