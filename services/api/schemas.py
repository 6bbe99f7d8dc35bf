"""The shapes of the responses, for encoding and for openapi.json."""

from typing import Any

import msgspec
from msgspec import Struct
from starlette.responses import Response

from heliograph.messages import Value


class Problem(Struct):
    """An error: what is wrong, and what would be right."""

    detail: str


class ServiceHealth(Struct):
    """One service: `state` is online or offline; `time` is that of the status, UTC seconds."""

    state: str
    version: str
    time: float
    started: float
    clock: str
    counters: dict[str, int]
    facts: dict[str, Any]
    set_aside: list[dict[str, Any]]


class HealthProblem(Struct):
    """One thing that is wrong with the node: `summary` in a sentence, `action` what to do.

    `since` is when it began, UTC seconds; `service` is empty unless it is a problem of one service, and has
    the node before it, as "shed/modbus_poller", if that is another one.
    """

    code: str
    summary: str
    action: str
    since: float | None = None
    service: str = ""


class Health(Struct):
    """What is wrong with this node, the worst first, and the status of its services.

    `status` is ok without `problems`, else degraded; `detail` is the sentence of the first one.
    `bus` and `store` say whether broker and store answer.
    """

    status: str
    detail: str
    node: str
    time: float
    bus: bool
    store: bool
    problems: list[HealthProblem]
    services: dict[str, ServiceHealth]


class NodeResponse(Struct):
    """One node that is known from the bus or from the store."""

    node: str
    devices: int
    services: dict[str, ServiceHealth]


class ChannelResponse(Struct):
    """One channel with its newest value; both are null before the first one."""

    name: str
    label: str
    unit: str
    kind: str
    time: float | None
    value: Value | None


class DeviceResponse(Struct):
    """One device; `interval` is the expected number of seconds between readings, 0 when irregular.

    `live` is false for a device that is known from the store only; `why` is why it is offline, as far as that is known.
    """

    node: str
    device: str
    model: str
    availability: str
    why: str
    live: bool
    interval: float
    channels: list[ChannelResponse]


class LatestResponse(Struct):
    """The newest value of one series; both are null before the first one."""

    time: float | None
    value: Value | None
    unit: str


class Accepted(Struct, omit_defaults=True):
    """How many readings were accepted: they are in the outbox and will be stored; how many values were null or NaN."""

    accepted: int
    no_value: int = 0


class RawSeries(Struct):
    """The points of one series, oldest first."""

    unit: str
    time: list[float]
    value: list[Value]


class RawResponse(Struct, omit_defaults=True):
    """A page of points; `next` goes into the next request and is null on the last page.

    `damaged` says what the store could not read of the requested time and series: points of it may be missing. `unknown` are
    names of which the store has nothing.
    """

    series: dict[str, RawSeries]
    next: str | None
    damaged: list[str] = []
    unknown: list[str] = []


class BucketResponse(Struct, omit_defaults=True):
    """Values per bucket; `time` holds the starts of the buckets; a bucket without readings is null.

    Each series has `unit`, `n` and one list per function. `damaged` says what the store could not read of the requested
    time and series: points of it may be missing. `unknown` are names of which the store has nothing.
    """

    bucket: str
    tz: str
    time: list[float]
    series: dict[str, dict[str, str | list[Value | None]]]
    damaged: list[str] = []
    unknown: list[str] = []


def json_response(content: object, status: int = 200) -> Response:
    """Return a JSON response that no cache stores."""
    return Response(msgspec.json.encode(content), status, {"cache-control": "no-store"}, media_type="application/json")


def cacheable_response(body: bytes, headers: dict[str, str]) -> Response:
    """Return a JSON response that a cache may store as the headers say."""
    return Response(body, 200, headers, media_type="application/json")


def components(*more: type[Struct]) -> dict[str, Any]:
    """Return the JSON schemas of all responses, and of the other structs given, by name."""
    kinds = (
        Problem,
        Health,
        HealthProblem,
        NodeResponse,
        DeviceResponse,
        LatestResponse,
        RawResponse,
        BucketResponse,
        Accepted,
        *more,
    )
    _, schemas = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    return schemas


def described(kind: type[Struct], description: str, shape: str = "one") -> dict[int | str, dict[str, Any]]:
    """Return the description of a response in openapi.json: `one` struct, a `list`, or a `map` by name."""
    reference: dict[str, Any] = {"$ref": f"#/components/schemas/{kind.__name__}"}
    schema = {
        "one": reference,
        "list": {"type": "array", "items": reference},
        "map": {"type": "object", "additionalProperties": reference},
    }[shape]
    return {200: {"description": description, "content": {"application/json": {"schema": schema}}}, **_PROBLEMS}


def described_file(description: str, *media_types: str) -> dict[int | str, dict[str, Any]]:
    """Return the description in openapi.json of a response that is a text file of one of several media types."""
    return {
        200: {"description": description, "content": {kind: {"schema": {"type": "string"}} for kind in media_types}},
        **_PROBLEMS,
    }


def _problem(description: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": _problem("The request is wrong."),
    503: _problem("The store is away."),
}
