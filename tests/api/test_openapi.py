"""Every answer is one that openapi.json describes: its status, its media type, the shape of its JSON.

schemathesis makes the requests and compares the answers (docs/decisions/0021).
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import APIOperation
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi import checks

from tests.api.conftest import START
from tests.api.receiver import KEY, Receiver, receiver_at

CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
# What the schema cannot say: the values that lead past the first refusal.
GOOD: dict[str, list[str]] = {
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


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory, written_data: Path) -> Iterator[Receiver]:
    folder = tmp_path_factory.mktemp("site")
    (folder / "data").symlink_to(written_data)
    with receiver_at(folder) as made:
        made.running.state("tracer", pv_power=1)
        made.running.tell("heliograph/roof/services/uploader/status", {"state": "online"})
        yield made


@pytest.fixture(scope="module")
def document(receiver: Receiver) -> dict[str, Any]:
    answer: dict[str, Any] = receiver.client.get("/api/v1/openapi.json").json()
    return answer


def test_every_route_describes_what_it_answers_to_wrong_questions(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert "4XX" in operation["responses"], (method, path)
    assert set(document["paths"]["/"]["post"]["responses"]["4XX"]["content"]) == {"text/plain"}


@pytest.fixture(scope="module")
def operations(document: dict[str, Any]) -> dict[str, APIOperation[Any, Any, Any, Any]]:
    operations = {}
    for each in schemathesis.openapi.from_dict(document).get_all_operations():
        assert isinstance(each, Ok), each
        operations[each.ok().label] = each.ok()
    return operations


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as made:
        made.trust_env = False
        yield made


def test_an_answer_that_is_not_described_is_noticed(document: dict[str, Any], receiver: Receiver) -> None:
    poorer = copy.deepcopy(document)
    poorer["paths"]["/api/v1/nodes"]["get"]["responses"] = {"404": {"description": "none"}}
    case = schemathesis.openapi.from_dict(poorer)["/api/v1/nodes"]["GET"].Case()
    with pytest.raises(FailureGroup, match="Undocumented status code"):
        case.call_and_validate(base_url=receiver.url, checks=CHECKS)


@pytest.mark.slow
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_answer_is_one_that_is_described(
    receiver: Receiver,
    operations: dict[str, APIOperation[Any, Any, Any, Any]],
    session: requests.Session,
    data: st.DataObject,
) -> None:
    operation = operations[data.draw(st.sampled_from(sorted(operations)))]
    mode = data.draw(st.sampled_from(schemathesis.GenerationMode))
    case = data.draw(operation.as_strategy(generation_mode=mode))
    for name in GOOD.keys() & {one.name for one in operation.query}:
        if data.draw(st.booleans()):
            case.query[name] = data.draw(st.sampled_from(GOOD[name]))
    headers = {"x-api-key": KEY} if data.draw(st.integers(0, 4)) else {}
    answer = case.call_and_validate(base_url=receiver.url, session=session, headers=headers, checks=CHECKS)
    assert answer.status_code != 500
