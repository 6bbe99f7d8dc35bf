"""Every answer is one that openapi.json describes: its status, its media type, the shape of its JSON.

schemathesis asks in this way, too; it would bring eleven packages into the tests (docs/decisions/0021).
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.conftest import START
from tests.api.receiver import KEY, receiver_at

TYPES = {"string": str, "boolean": bool, "object": dict, "array": list, "null": type(None)}
GOOD = {
    "series": ["roof/tracer/pv_power", "*/*/*", "roof/tracer/charging,roof/tracer/load"],
    "from": [str(START), "2025-11-20", "now-1h", "0", "20251120"],
    "to": ["2025-11-21", str(START + 3600), "now"],
    "bucket": ["1h", "auto", "1mo", "7m"],
    "tz": ["Europe/Berlin", "UTC"],
    "functions": ["mean,max", "delta", "first,last"],
    "limit": ["5"],
    "format": ["csv", "jsonl", "line"],
    "layout": ["wide", "long"],
    "node": ["roof", "emontx", "10"],
    "name": ["influx"],
    "values": ["true", "false"],
    "fulljson": ['{"power": 1}', '{"power": null, "time": 1763633000}'],
    "data": ["[[0, 10, 1, 2]]", "{a:1}", "1,2"],
    "csv": ["1,2,3"],
    "time": ["1763633000"],
}
BODIES = [
    b'{"device": "attic", "values": {"temperature": 21.4}}',
    b'[{"device": "attic", "values": {"temperature": 21.4, "x": null}, "time": 1763633000}]',
    b'{"kind": "influxdb", "url": "http://x"}',
    b'{"id": "0xb00bf0cc", "value": 1}',
    b'{"location": "attic", "api_hash": "x"}',
    b"node=1&csv=1,2",
    b"{}",
    b"[",
    b"\xff",
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, written_data: Path) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("site")
    (folder / "data").symlink_to(written_data)
    with receiver_at(folder) as receiver:
        receiver.running.state("tracer", pv_power=1)
        receiver.running.tell("heliograph/roof/services/uploader/status", {"state": "online"})
        yield receiver.client


@pytest.fixture(scope="module")
def document(site: httpx.Client) -> dict[str, Any]:
    answer: dict[str, Any] = site.get("/api/v1/openapi.json").json()
    return answer


def problem(value: object, schema: dict[str, Any], document: dict[str, Any], at: str = "$") -> str:
    """Return where a JSON value differs from its schema, empty if it does not; of JSON Schema what our document uses."""
    if reference := schema.get("$ref"):
        schema = document["components"]["schemas"][reference.rpartition("/")[2]]
    for word in ("oneOf", "anyOf"):
        if word in schema:
            problems = [problem(value, one, document, at) for one in schema[word]]
            return "" if "" in problems else f"{at}: none of {problems}"
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        return f"{at}: {value!r} is not {kinds}"
    if isinstance(value, dict):
        known = schema.get("properties", {})
        if missing := set(schema.get("required", ())) - value.keys():
            return f"{at}: {missing} missing"
        others = schema.get("additionalProperties", {})
        inner = {name: known.get(name, others if isinstance(others, dict) else {}) for name in value}
        return next(
            (wrong for name in value if (wrong := problem(value[name], inner[name], document, f"{at}.{name}"))), ""
        )
    if isinstance(value, list):
        items = schema.get("items", {})
        return next((wrong for one in value[:50] if (wrong := problem(one, items, document, f"{at}[]"))), "")
    return ""


def _is(value: object, kind: str) -> bool:
    if kind in ("number", "integer"):
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, TYPES[kind])


def check(answer: httpx.Response, operation: dict[str, Any], document: dict[str, Any]) -> None:
    responses = operation["responses"]
    described = responses.get(str(answer.status_code)) or responses.get(f"{answer.status_code // 100}XX")
    assert described, f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text[:200]}"
    content = described.get("content", {})
    media = answer.headers.get("content-type", "").partition(";")[0]
    if not content and not answer.content:
        return
    assert media in content, f"{answer.request.method} {answer.request.url}: {answer.status_code} {media}"
    if media == "application/json":
        wrong = problem(answer.json(), content[media].get("schema", {}), document)
        assert not wrong, f"{answer.request.method} {answer.request.url}: {answer.status_code} {wrong}"


def test_every_route_describes_what_it_answers_to_wrong_questions(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert "4XX" in operation["responses"], (method, path)
    assert set(document["paths"]["/"]["post"]["responses"]["4XX"]["content"]) == {"text/plain"}


@settings(max_examples=150, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_every_answer_is_one_that_is_described(
    site: httpx.Client, document: dict[str, Any], data: st.DataObject
) -> None:
    operations = [
        (path, method, operation)
        for path, methods in sorted(document["paths"].items())
        for method, operation in sorted(methods.items())
    ]
    path, method, operation = data.draw(st.sampled_from(operations))
    parameters = operation.get("parameters", [])
    odd = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    query: dict[str, str] = {}
    for parameter in parameters:
        name = parameter["name"]
        values = st.sampled_from(GOOD[name]) | odd if name in GOOD else odd | st.integers(-3, 9).map(str)
        if parameter["in"] == "path":
            text = data.draw(st.sampled_from(["influx", "17", "x", "-1", "%00", "ä"]))
            path = path.replace(f"{{{name}}}", text)
        elif data.draw(st.booleans()):
            query[name] = data.draw(values)
    if data.draw(st.integers(0, 9)) == 0:
        query[data.draw(st.sampled_from(["nod", "function", "x"]))] = "1"
    assert not re.search(r"[{}]", path)
    body = data.draw(st.sampled_from(BODIES) | st.binary(max_size=40)) if method not in ("get", "head") else None
    headers = {"x-api-key": KEY} if data.draw(st.integers(0, 4)) else {}
    media = data.draw(st.sampled_from(["application/json", "application/x-www-form-urlencoded", "text/plain"]))
    if body is not None:
        headers["content-type"] = media
    check(site.request(method.upper(), path, params=query, content=body, headers=headers), operation, document)
