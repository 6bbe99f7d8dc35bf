"""The routes of readings that come in over HTTP, and how openapi.json describes them."""

from typing import Any, NamedTuple

from fastapi import FastAPI, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from services.api.ingest import posts
from services.api.ingest.emoncms import EmoncmsInput
from services.api.ingest.gate import Gate
from services.api.ingest.intake import Intake
from services.api.ingest.posts import PimonitorPost
from services.api.ingest.smartplug import Plugs
from services.api.schemas import Taken, described

SECURITY_SCHEMES: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key of [api.keys]."},
    "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
    "parameter": {"type": "apiKey", "in": "query", "name": "apikey"},
}
KEY: list[dict[str, list[str]]] = [{"bearer": []}, {"header": []}]
_KEY_OR_PARAMETER = [*KEY, {"parameter": []}]
_TEXTS: dict[int | str, dict[str, Any]] = {
    200: {"description": "Taken.", "content": {"text/plain": {"schema": {"type": "string"}}}}
}
_TAKES = {
    "post": "Take the inputs of one node, as emoncms does.",
    "bulk": "Take many readings of many nodes, as emoncms does.",
    "get": "Time and value of the newest of each input of a node, as emoncms answers.",
}
_EMONCMS = 'Errors are `{"success": false, "message": "…"}` with a fitting status.'


class Ingest(NamedTuple):
    """Everything that takes readings."""

    gate: Gate
    intake: Intake
    pimonitor: PimonitorPost
    emoncms: EmoncmsInput
    plugs: Plugs


def register(app: FastAPI, ingest: Ingest) -> None:
    """Add the routes to an application."""

    @app.post(
        "/api/v1/readings",
        status_code=202,
        responses={202: described(Taken, "All are in the outbox: they will be stored.")[200], **_problems()},
        tags=["ingest"],
        openapi_extra={"security": KEY, "requestBody": _one_or_more("ReadingGiven")},
    )
    async def readings(request: Request) -> Response:
        """Take one reading of a device of this node, or a list of them; all of them or none."""
        return await posts.take_readings(request, ingest.gate, ingest.intake)

    @app.post(
        "/",
        responses={**_TEXTS, **_problems()},
        tags=["ingest"],
        openapi_extra={"requestBody": _object_body("pimonitor's report, with api_hash.")},
    )
    async def pimonitor(request: Request) -> Response:
        """Take a report of pimonitor's sensors; off unless `tz` in `[api.pimonitor]` is set."""
        return await ingest.pimonitor.take(request)

    @app.post(
        "/data",
        responses={**_TEXTS, **_problems()},
        tags=["ingest"],
        openapi_extra={"requestBody": _object_body('SmartPlug\'s report: {"id": "0xb00bf0cc", "value": 1}')},
    )
    async def smartplug(request: Request) -> Response:
        """Take a report of a SmartPlug that stands in `[api.smartplug]`."""
        return await ingest.plugs.report(request)

    @app.websocket("/smartplug")
    async def smartplug_feed(websocket: WebSocket) -> None:
        await ingest.plugs.serve(websocket)

    for prefix in ("", "/emoncms"):
        for suffix in ("", ".json"):
            shown = not prefix and not suffix
            for name, take, parameters in (
                ("post", ingest.emoncms.post, ("node", "fulljson", "json", "csv", "data", "time")),
                ("bulk", ingest.emoncms.bulk, ("data", "sentat", "offset", "time", "cb", "c")),
            ):
                for method in ("GET", "POST"):
                    app.add_api_route(
                        f"{prefix}/input/{name}{suffix}",
                        take,
                        methods=[method],
                        responses={**_TEXTS},
                        tags=["ingest"],
                        summary=f"emoncms' input/{name}",
                        description=f"{_TAKES[name]} {_EMONCMS}",
                        include_in_schema=shown,
                        openapi_extra={"security": _KEY_OR_PARAMETER, "parameters": list(map(_parameter, parameters))},
                        operation_id=f"input_{name}_{method.lower()}" if shown else None,
                    )
            app.add_api_route(
                f"{prefix}/input/get{suffix}",
                ingest.emoncms.get,
                methods=["GET"],
                responses={
                    200: {"description": "Time and value of every input, or a text that there is no such node."}
                },
                tags=["ingest"],
                summary="emoncms' input/get",
                description=f"{_TAKES['get']} {_EMONCMS}",
                include_in_schema=shown,
                openapi_extra={"parameters": [_parameter("node")]},
            )


class PlugPort:
    """ASGI middleware: on the port of the plugs there are their reports, and their WebSocket on any path."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._port = port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on; on the plugs' port with the only path there is."""
        if scope["type"] in ("http", "websocket") and (scope.get("server") or ("", 0))[1] == self._port:
            wanted = "/smartplug" if scope["type"] == "websocket" else scope["path"]
            path = wanted if wanted in ("/data", "/smartplug") else "/data/none"
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await self._app(scope, receive, send)


def _problems() -> dict[int | str, dict[str, Any]]:
    found = described(Taken, "")
    wrong = {**found["4XX"], "description": "What was sent is wrong, or whoever sent it may not."}
    return {"4XX": wrong, 503: {**found[503], "description": "The disk refuses it: send it again."}}


def _one_or_more(name: str) -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{name}"}
    schema = {"oneOf": [reference, {"type": "array", "items": reference}]}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _object_body(description: str) -> dict[str, Any]:
    return {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object", "description": description}}},
    }


def _parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": {"type": "string"}}
