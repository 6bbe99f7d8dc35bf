"""The routes that accept readings, and their description in openapi.json."""

from typing import Annotated, Any, NamedTuple

from fastapi import FastAPI, Query, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from services.api.ingest import posts
from services.api.ingest.emoncms import EmoncmsInput
from services.api.ingest.gate import Gate
from services.api.ingest.intake import HttpIntake
from services.api.ingest.posts import PimonitorPost
from services.api.ingest.smartplug import SmartPlugs
from services.api.schemas import Accepted, described

SECURITY_SCHEMES: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key of [api.keys]."},
    "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
    "parameter": {"type": "apiKey", "in": "query", "name": "apikey"},
}
KEY: list[dict[str, list[str]]] = [{"bearer": []}, {"header": []}]
_KEY_OR_PARAMETER = [*KEY, {"parameter": []}]
_TEXT: dict[str, Any] = {"schema": {"type": "string"}}
_DONE = {"schema": {"type": "object", "properties": {"success": {"type": "boolean"}}, "required": ["success"]}}
_FAILED = {
    "application/json": {
        "schema": {
            "type": "object",
            "properties": {"success": {"type": "boolean"}, "message": {"type": "string"}},
            "required": ["success", "message"],
        }
    }
}
_EMONCMS_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "Accepted.", "content": {"text/plain": _TEXT, "application/json": _DONE}},
    "4XX": {"description": "The request is wrong, or the client may not send it.", "content": _FAILED},
    503: {"description": "Not now: the disk refuses the readings, or the store does not answer.", "content": _FAILED},
}
_PIMONITOR_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "Accepted.", "content": {"text/html": _TEXT}},
    "4XX": {
        "description": "The request is wrong, the client may not send it, or such reports are not accepted.",
        "content": {"text/plain": _TEXT},
    },
    503: {"description": "The disk refuses the readings: send them again.", "content": {"text/plain": _TEXT}},
}
_PLUG_RESPONSE: dict[int | str, dict[str, Any]] = {
    200: {"description": "Accepted.", "content": {"application/json": {"schema": {"type": "object"}}}}
}
_SUMMARIES = {
    "post": "Accept the inputs of one node, as emoncms does.",
    "bulk": "Accept many readings of many nodes, as emoncms does.",
    "get": "Time and value of the newest of each input of a node, as emoncms answers.",
}
DurableQuery = Annotated[
    str | None, Query(description="1: answer once the readings are on the disk, and survive a power cut.")
]
_EMONCMS = 'Errors are `{"success": false, "message": "…"}` with a fitting status.'


class Ingest(NamedTuple):
    """Everything that accepts readings over HTTP."""

    gate: Gate
    intake: HttpIntake
    pimonitor: PimonitorPost
    emoncms: EmoncmsInput
    plugs: SmartPlugs


def register(app: FastAPI, ingest: Ingest) -> None:
    """Add the routes to an application."""

    @app.post(
        "/api/v1/readings",
        status_code=202,
        responses={202: described(Accepted, "All are in the outbox: they will be stored.")[200], **_problems()},
        tags=["ingest"],
        openapi_extra={"security": KEY, "requestBody": _one_or_more("PostedReading")},
    )
    async def readings(request: Request, durable: DurableQuery = None) -> Response:
        """Accept one reading of a device of this node, or a list of them; all of them or none."""
        return await posts.accept_readings(request, ingest.gate, ingest.intake, durable)

    @app.post(
        "/",
        responses=_PIMONITOR_RESPONSES,
        tags=["ingest"],
        openapi_extra={"requestBody": _object_body("pimonitor's report, with api_hash.")},
    )
    async def pimonitor(request: Request) -> Response:
        """Accept a report of pimonitor's sensors; disabled unless `tz` in `[api.pimonitor]` is set."""
        return await ingest.pimonitor.accept(request)

    @app.post(
        "/data",
        responses={**_PLUG_RESPONSE, **_problems()},
        tags=["ingest"],
        openapi_extra={"requestBody": _object_body('SmartPlug\'s report: {"id": "0xb00bf0cc", "value": 1}')},
    )
    async def smartplug(request: Request) -> Response:
        """Accept a report of a SmartPlug that is listed in `[api.smartplug]`."""
        return await ingest.plugs.report(request)

    @app.websocket("/smartplug")
    async def smartplug_feed(websocket: WebSocket) -> None:
        await ingest.plugs.serve(websocket)

    for prefix in ("", "/emoncms"):
        for suffix in ("", ".json"):
            shown = not prefix and not suffix
            for name, endpoint, parameters in (
                ("post", ingest.emoncms.post, ("node", "fulljson", "json", "csv", "data", "time")),
                ("bulk", ingest.emoncms.bulk, ("data", "sentat", "offset", "time", "cb", "c")),
            ):
                for method in ("GET", "POST"):
                    app.add_api_route(
                        f"{prefix}/input/{name}{suffix}",
                        endpoint,
                        methods=[method],
                        responses=_EMONCMS_RESPONSES,
                        tags=["ingest"],
                        summary=f"emoncms' input/{name}",
                        description=f"{_SUMMARIES[name]} {_EMONCMS}",
                        include_in_schema=shown,
                        openapi_extra={"security": _KEY_OR_PARAMETER, "parameters": list(map(_parameter, parameters))},
                        operation_id=f"input_{name}_{method.lower()}" if shown else None,
                    )
            app.add_api_route(
                f"{prefix}/input/get{suffix}",
                ingest.emoncms.get,
                methods=["GET"],
                responses={
                    **_EMONCMS_RESPONSES,
                    200: {
                        "description": "Time and value of every input, or a text that the node does not exist.",
                        "content": {"application/json": {"schema": {"type": ["object", "string"]}}},
                    },
                },
                tags=["ingest"],
                summary="emoncms' input/get",
                description=f"{_SUMMARIES['get']} {_EMONCMS}",
                include_in_schema=shown,
                openapi_extra={"parameters": [_parameter("node")]},
            )
    _register_sub_actions(app, ingest.emoncms)


def _register_sub_actions(app: FastAPI, emoncms: EmoncmsInput) -> None:
    """Add the routes with the node, and the input, as parts of the path, as emoncms has them, too."""
    for prefix in ("", "/emoncms"):
        for path, endpoint, methods in (
            ("post/{node}", emoncms.post, ["GET", "POST"]),
            ("get/{node}", emoncms.get, ["GET"]),
            ("get/{node}/{input}", emoncms.get, ["GET"]),
        ):
            app.add_api_route(f"{prefix}/input/{path}", endpoint, methods=methods, include_in_schema=False)


class PlugPort:
    """ASGI middleware: the port of the plugs serves only their reports, and their WebSocket on any path."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._port = port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; on the plugs' port with the path of their routes."""
        if scope["type"] in ("http", "websocket") and (scope.get("server") or ("", 0))[1] == self._port:
            requested = "/smartplug" if scope["type"] == "websocket" else scope["path"]
            path = requested if requested in ("/data", "/smartplug") else "/data/none"
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await self._app(scope, receive, send)


def _problems() -> dict[int | str, dict[str, Any]]:
    responses = described(Accepted, "")
    refused = {**responses["4XX"], "description": "The request is wrong, or the client may not send it."}
    return {"4XX": refused, 503: {**responses[503], "description": "The disk refuses the readings: send them again."}}


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
