"""What senders to Emoncms send, and are answered: by our api, and with --emoncms CHECKOUT by the real Emoncms, too.

Where ours differs on purpose, `ours` has what it does.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest

from heliograph.messages import Value
from tests.api.receiver import Receiver, receiver_at
from tests.real_emoncms import Account, ask, form, parametrize_servers

T = 1_763_630_000
OK, DONE = "ok", '{"success": true}'
Values = dict[str, Value]


class Case(NamedTuple):
    path: str
    parameters: dict[str, str]
    answer: str
    values: Values
    ours: tuple[str, Values] | None = None  # "" for an answer that is an error


CASES = [
    Case("input/post", {"fulljson": '{"Power 1":100,"temp":20.5}'}, DONE, {"power_1": 100, "temp": 20.5}),
    Case("input/post.json", {"fulljson": '{"a":"7","b":true}'}, DONE, {"a": 7, "b": 1}),
    Case("input/post", {"fulljson": '{"a":1,"b":null}'}, DONE, {"a": 1, "b": 0}, (DONE, {"a": 1})),
    Case("input/post", {"fulljson": '{"a":1,"b":"x"}'}, DONE, {"a": 1, "b": 0}, (DONE, {"a": 1})),
    Case("input/post", {"json": "{power1:100,power2:-2e1}"}, OK, {"power1": 100, "power2": -20}),
    Case("input/post", {"json": '{"power1":100}'}, OK, {"power1": 100}),
    Case("input/post", {"json": "power1:100"}, OK, {"power1": 100}),
    Case("input/post", {"data": "{power1:100}"}, OK, {"power1": 100}),
    Case("input/post", {"data": "100,200"}, OK, {"1": 100, "2": 200}),
    Case("input/post", {"csv": "100,200.5,-67"}, OK, {"1": 100, "2": 200.5, "3": -67}),
    Case("input/post", {"csv": "100,null,-67"}, OK, {"1": 100, "2": 0, "3": -67}, (OK, {"1": 100, "3": -67})),
    Case("input/post", {"csv": "100,,-67"}, "", {}, (OK, {"1": 100, "3": -67})),
    Case("input/post", {"json": "{a:b}"}, "", {}),
    Case("input/post", {"fulljson": "{a:1}"}, "", {}),
    Case("input/post", {}, "", {}),
    Case("input/bulk", {"data": f'[[{T},"node",1,2.5]]', "time": "0"}, OK, {"1": 1, "2": 2.5}),
    Case("input/bulk.json", {"data": f'[[{T},"node",{{"a b":1}},{{"c":2}}]]', "time": "0"}, OK, {"a_b": 1, "c": 2}),
    Case("input/bulk", {"data": f'[[{T},"node",1,null,3]]', "time": "0"}, OK, {"1": 1, "2": 0, "3": 3}, (OK, {"1": 1, "3": 3})),
    Case("input/bulk", {"data": "nonsense", "time": "0"}, "", {}),
    Case("input/bulk", {"data": "[]", "time": "0"}, "", {}, (OK, {})),
    Case("input/bulk", {"data": f'[[{T},"node"]]', "time": "0"}, OK, {}),
]  # fmt: skip


class Server(Protocol):
    name: str

    def send(self, method: str, path: str, parameters: dict[str, str]) -> str:
        """Return the answer; "" for an error."""
        ...

    def newest(self) -> Values:
        """Return the newest values of the node `node`."""
        ...


class Ours:
    name = "heliograph"

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def send(self, method: str, path: str, parameters: dict[str, str]) -> str:
        if method == "GET":
            answer = self._receiver.get(f"/{path}", **parameters)
        else:
            answer = self._receiver.post(f"/{path}", data=parameters)
        return answer.text if answer.status_code == 200 else ""

    def newest(self) -> Values:
        values: Values = {}
        for device, some, _ in self._receiver.producer.readings:
            assert device == "node"
            values |= some
        self._receiver.producer.readings.clear()
        return values


class Real:
    name = "emoncms"

    def __init__(self, account: Account) -> None:
        self._account = account

    def send(self, method: str, path: str, parameters: dict[str, str]) -> str:
        body, kind = form(**parameters)
        key = {"Authorization": f"Bearer {self._account.key}"}
        url = f"{self._account.url}/{path}"
        if method == "GET":
            status, answer = ask("GET", f"{url}?{body.decode()}", b"", key)
        else:
            status, answer = ask("POST", url, body, {**kind, **key})
        assert status == 200
        return "" if b'"success": false' in answer else answer.decode()

    def newest(self) -> Values:
        listed: Any = self._account.call("input/get.json", node="node")
        if isinstance(listed, str):
            return {}
        return {name.lower().replace(" ", "_"): one["value"] for name, one in listed.items()}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    parametrize_servers(metafunc, "heliograph")


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    if request.param == "emoncms":
        yield Real(request.getfixturevalue("emoncms").account())
        return
    (tmp_path / "data").mkdir()
    with receiver_at(tmp_path) as receiver:
        yield Ours(receiver)


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(list(case.parameters.values())[:1]))
def test_a_request_is_answered_and_stored(server: Server, case: Case) -> None:
    answer, values = case.ours if case.ours and server.name == "heliograph" else (case.answer, case.values)
    for method in ("GET", "POST"):
        assert server.send(method, case.path, {"node": "node", **case.parameters}) == answer
        assert server.newest() == values
