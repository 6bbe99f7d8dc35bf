"""The routes that manage uploads, and their description in openapi.json."""

from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi import Path as InPath
from msgspec import Struct
from starlette.responses import Response

from services.api.errors import RequestRefused
from services.api.ingest.routes import KEY
from services.api.schemas import described, json_response
from services.api.uploads import client
from services.api.uploads.client import UploaderClient
from services.api.uploads.schemas import (
    Affected,
    DeadLetterChange,
    DeadLetterSelection,
    UploadDeadLetter,
    UploadDeadLetters,
    Uploads,
    UploadTarget,
    UploadTestResult,
)

BASE = "/api/v1/uploads"
MOST_DEAD_LETTERS = 1_000
LARGEST = 1 << 62
_OPTIONS = {
    "type": "object",
    "description": "As in config.toml, docs/targets.md; `…` keeps a secret.",
    "required": ["kind"],
}

NodeQuery = Annotated[str | None, Query(description="The node of the uploader; default: this one.")]
Name = Annotated[str, InPath(description="The name of a target.")]
Number = Annotated[int, InPath(description="The id of a dead letter.", ge=0, le=LARGEST)]
AfterQuery = Annotated[int, Query(description="`next` of the page before.", ge=0, le=LARGEST)]
LimitQuery = Annotated[int, Query(description="Dead letters on a page.", ge=1, le=MOST_DEAD_LETTERS)]
IdsQuery = Annotated[str | None, Query(description="Comma-separated ids; left out: all.", examples=["17,18"])]


def register(app: FastAPI, uploader: UploaderClient) -> None:
    """Add the routes to an application."""
    _register_targets(app, uploader)
    _register_dead_letters(app, uploader)


def _register_targets(app: FastAPI, uploader: UploaderClient) -> None:
    @app.get(BASE, responses=_responses(Uploads, "Targets."), tags=["uploads"])
    async def targets(node: NodeQuery = None) -> Response:
        """Every target with its state, backlog, last error and dead letters."""
        return json_response(await uploader.all(node))

    @app.get(f"{BASE}/{{name}}", responses=_responses(UploadTarget, "The target."), tags=["uploads"])
    async def target(name: Name, node: NodeQuery = None) -> Response:
        """One target."""
        return json_response(await uploader.one(node, name))

    @app.put(
        f"{BASE}/{{name}}",
        responses=_responses(UploadTarget, "The target as it is now."),
        tags=["uploads"],
        openapi_extra=_request_body(_OPTIONS, required=True),
    )
    async def put(request: Request, name: Name, node: NodeQuery = None) -> Response:
        """Add a target, or replace its options; its position stays."""
        given = client.options(await uploader.body(request))
        return json_response(await uploader.put(node, name, given))

    @app.delete(
        f"{BASE}/{{name}}",
        status_code=204,
        responses={204: {"description": "Deleted."}, **_problems()},
        tags=["uploads"],
        openapi_extra={"security": KEY},
    )
    async def delete(request: Request, name: Name, node: NodeQuery = None) -> Response:
        """Delete a target, its position and its dead letters."""
        await uploader.body(request)
        await uploader.delete(node, name)
        return Response(status_code=204)

    @app.post(
        f"{BASE}/{{name}}/pause",
        responses=_responses(UploadTarget, "The target as it is now."),
        tags=["uploads"],
        openapi_extra={"security": KEY},
    )
    async def pause(request: Request, name: Name, node: NodeQuery = None) -> Response:
        """Send nothing to a target; its backlog is kept."""
        await uploader.body(request)
        return json_response(await uploader.act(node, name, "pause"))

    @app.post(
        f"{BASE}/{{name}}/resume",
        responses=_responses(UploadTarget, "The target as it is now."),
        tags=["uploads"],
        openapi_extra={"security": KEY},
    )
    async def resume(request: Request, name: Name, node: NodeQuery = None) -> Response:
        """Continue a paused target, and retry a waiting one at once."""
        await uploader.body(request)
        return json_response(await uploader.act(node, name, "resume"))

    @app.post(
        f"{BASE}/{{name}}/test",
        responses=_responses(UploadTestResult, "The result."),
        tags=["uploads"],
        openapi_extra={"security": KEY},
    )
    async def test(request: Request, name: Name, node: NodeQuery = None) -> Response:
        """Send one reading now, paused or not; the answer takes as long as the target."""
        await uploader.body(request)
        return json_response(await uploader.test(node, name))


def _register_dead_letters(app: FastAPI, uploader: UploaderClient) -> None:
    base = f"{BASE}/{{name}}/dead-letters"

    @app.get(base, responses=_responses(UploadDeadLetters, "A page of them."), tags=["uploads"])
    async def dead_letters(
        name: Name, after: AfterQuery = 0, limit: LimitQuery = 100, node: NodeQuery = None
    ) -> Response:
        """Rows that the target rejected, with the reasons."""
        return json_response(await uploader.dead_letters(node, name, after, limit))

    @app.post(
        base,
        responses=_responses(Affected, "How many will be retried."),
        tags=["uploads"],
        openapi_extra=_request_body(_reference(DeadLetterSelection)),
    )
    async def retry(request: Request, name: Name, node: NodeQuery = None) -> Response:
        """Retry dead letters: those with these ids, or all. One that is rejected again stays."""
        choice = client.parsed(DeadLetterSelection, await uploader.body(request))
        return json_response(await uploader.act_on_dead_letters(node, name, "retry", choice.ids))

    @app.patch(
        f"{base}/{{number}}",
        responses=_responses(UploadDeadLetter, "The dead letter as it is now."),
        tags=["uploads"],
        openapi_extra=_request_body(_reference(DeadLetterChange), required=True),
    )
    async def edit(request: Request, name: Name, number: Number, node: NodeQuery = None) -> Response:
        """Change values or the time of a dead letter; the others stay as they are."""
        change = client.parsed(DeadLetterChange, await uploader.body(request))
        return json_response(await uploader.edit(node, name, number, change))

    @app.delete(
        base,
        responses=_responses(Affected, "How many were deleted."),
        tags=["uploads"],
        openapi_extra={"security": KEY},
    )
    async def drop(request: Request, name: Name, ids: IdsQuery = None, node: NodeQuery = None) -> Response:
        """Delete dead letters: those with these ids, or all."""
        await uploader.body(request)
        return json_response(await uploader.act_on_dead_letters(node, name, "drop", _numbers(ids)))


def _numbers(text: str | None) -> list[int] | None:
    """Parse the ids in an address, None for all; raise RequestRefused, also for an empty list."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) <= 18 for part in parts):
        raise RequestRefused("ids: expected numbers with commas between them; leave it out for all")
    return list(map(int, parts))


def _responses(kind: type[Struct], description: str) -> dict[int | str, dict[str, Any]]:
    return {200: described(kind, description)[200], **_problems()}


def _problems() -> dict[int | str, dict[str, Any]]:
    problem = described(UploadTestResult, "")["4XX"]
    descriptions: dict[int | str, str] = {
        "4XX": "The request is wrong, or the client may not send it.",
        502: "The uploader is of another version.",
        503: "No uploader is running, or its disk refuses.",
        504: "The uploader does not answer.",
    }
    return {status: {**problem, "description": text} for status, text in descriptions.items()}


def _request_body(schema: dict[str, Any], *, required: bool = False) -> dict[str, Any]:
    body = {"required": required, "content": {"application/json": {"schema": schema}}}
    return {"security": KEY, "requestBody": body}


def _reference(kind: type[Struct]) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}
