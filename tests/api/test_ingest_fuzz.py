import hashlib
import json
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from heliograph.pending import is_good
from heliograph.topics import is_channel, is_name
from tests.api.receiver import KEY, Receiver, receiver_at

pytestmark = pytest.mark.slow

EXAMPLES = 100
HASH = hashlib.sha256(KEY.encode()).hexdigest()
JSON_HEADER = {"content-type": "application/json"}

numbers = st.integers() | st.floats() | st.sampled_from([1763634000, 0, 1, 1e308, -1, 10**400])
leaves = st.none() | st.booleans() | numbers | st.text(max_size=20)
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
words = st.sampled_from(
    ["device", "values", "time", "info", "channels", "model", "interval", "unit", "kind", "a", "b c"]
)
nearly = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=5), max_leaves=15
)
names = st.sampled_from(["a", "attic", "Attic", "x" * 64, ""]) | st.text(max_size=5)
readings = st.fixed_dictionaries(
    {"device": names | leaves, "values": st.dictionaries(names, leaves, max_size=4) | anything},
    optional={"time": leaves, "info": nearly},
)
reports = st.fixed_dictionaries(
    {},
    optional={
        "location": names | leaves,
        "timestamp": st.sampled_from(["02/25/2021 19:04:56", "03/14/2021 02:30:00", "01/01/0001 00:00:00"]) | leaves,
        "sensors": st.lists(
            st.dictionaries(st.sampled_from(["sensorType", "temperature", "humidity", "x y"]), leaves), max_size=3
        )
        | anything,
    },
)
items = st.lists(st.lists(leaves | st.dictionaries(names, leaves, max_size=3), max_size=6) | leaves, max_size=5)
parameters = st.dictionaries(
    st.sampled_from(["node", "fulljson", "json", "csv", "data", "time", "sentat", "offset", "cb", "c"]),
    st.text(max_size=30)
    | nearly.map(json.dumps)
    | items.map(json.dumps)
    | st.sampled_from(["1", "1,2", "{a:1}", "a:b:1"]),
)
plugs = st.fixed_dictionaries({"id": st.just("0xb00bf0cc") | leaves, "value": leaves})


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    folder = tmp_path_factory.mktemp("receiver")
    (folder / "data").mkdir()
    with receiver_at(folder, per_second=10_000) as made:
        yield made


def check(receiver: Receiver, path: str, **request: Any) -> None:
    receiver.producer.readings.clear()
    answer = receiver.post(path, **request)
    assert answer.status_code in (200, 202, 400, 401, 403, 404, 409, 413, 415, 422, 503), answer.text
    assert (answer.status_code < 400) or answer.text
    for device, values, time in receiver.producer.readings:
        assert is_name(device)
        assert values
        assert all(is_channel(name) and is_good(name, value) for name, value in values.items())
        assert time is None or 946684800 <= time <= 4102444800


@settings(max_examples=EXAMPLES)
@given(body=st.binary(max_size=200))
@pytest.mark.parametrize("path", ["/api/v1/readings", "/", "/data", "/input/post", "/input/bulk", "/input/bulk?cb=1"])
def test_bytes(receiver: Receiver, path: str, body: bytes) -> None:
    check(receiver, path, content=body, headers=JSON_HEADER)


@settings(max_examples=EXAMPLES)
@given(content=readings | st.lists(readings, max_size=3) | nearly | anything)
@example(content={"device": "a", "values": {"b": 10**400}})
def test_readings(receiver: Receiver, content: Any) -> None:
    check(receiver, "/api/v1/readings", content=json.dumps(content))


@settings(max_examples=EXAMPLES)
@given(content=reports)
def test_reports_of_pimonitor(receiver: Receiver, content: dict[str, Any]) -> None:
    check(receiver, "/", key="", content=json.dumps({**content, "api_hash": HASH}), headers=JSON_HEADER)


@settings(max_examples=EXAMPLES)
@given(content=plugs | anything)
def test_reports_of_plugs(receiver: Receiver, content: Any) -> None:
    check(receiver, "/data", content=json.dumps(content))


@settings(max_examples=EXAMPLES)
@given(query=parameters, form=parameters)
@pytest.mark.parametrize("path", ["/input/post", "/input/bulk"])
def test_inputs_of_emoncms(receiver: Receiver, path: str, query: dict[str, str], form: dict[str, str]) -> None:
    check(receiver, path, params=query, data=form)


@settings(max_examples=EXAMPLES)
@given(
    content=items | anything, reference=st.sampled_from(["time=0", "sentat=1763634000", "offset=1", "time=1763634000"])
)
def test_bulks_of_emoncms(receiver: Receiver, content: Any, reference: str) -> None:
    packed = zlib.compress(json.dumps(content).encode())
    check(receiver, f"/input/bulk?cb=1&{reference}", content=packed)


@settings(max_examples=EXAMPLES)
@given(body=st.binary(max_size=100), user=st.text("1234:abcdef0", max_size=80))
def test_encrypted_bodies(receiver: Receiver, body: bytes, user: str) -> None:
    headers = {"content-type": "aes128cbc", "authorization": f"{user}:0"}
    answer = receiver.post("/input/bulk", key="", content=body, headers=headers)
    assert answer.status_code in (400, 401, 429)


@settings(max_examples=EXAMPLES)
@given(node=st.text(max_size=80))
def test_questions_for_a_node(receiver: Receiver, node: str) -> None:
    # 200: another test has posted to that node
    assert receiver.get("/input/get", node=node).status_code in (200, 422, 503)
