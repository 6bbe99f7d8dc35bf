import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heliograph.commands import NoAnswer
from heliograph.store import open_reader
from services.api.ingest.bodies import Bodies
from services.api.ingest.gate import Gate
from services.api.ingest.keys import Keys
from services.api.live import LiveState
from services.api.uploads import client, schemas
from services.api.uploads.client import UploaderClient
from tests.api.conftest import Running
from tests.api.receiver import HASH, KEY, cheap_hash

Eventually = Callable[[Callable[[], Any]], Any]
SECRET = "correct-horse-battery-staple"
TARGET = {
    "name": "influx",
    "kind": "influxdb",
    "configured": False,
    "state": "running",
    "options": {"url": "http://127.0.0.1:1", "token": "…", "timeout": 20.0},
    "backlog": 3,
}
DEAD_LETTER = {
    "id": 17,
    "added": 1763634000.0,
    "reason": "field type conflict",
    "retry": False,
    "time": 1763633000.0,
    "values": {"roof/meter/power": "nan", "roof/meter/voltage": 230.5},
}
GOOD: dict[str, dict[str, Any]] = {
    "list": {"ok": True, "targets": [TARGET], "kinds": ["file", "influxdb"]},
    "put": {"ok": True},
    "delete": {"ok": True},
    "pause": {"ok": True},
    "resume": {"ok": True},
    "test": {"ok": True, "response": "204 No Content"},
    "dead-letters": {"ok": True, "count": 1, "dead_letters": [DEAD_LETTER], "next": None},
    "dead-letters-edit": {"ok": True, "dead_letter": DEAD_LETTER},
    "dead-letters-retry": {"ok": True, "count": 1},
    "dead-letters-drop": {"ok": True, "count": 1},
}
DEAD_LETTERS = "/uploads/influx/dead-letters"
# method, path, body, the commands that it becomes
WRITES: list[tuple[str, str, Any, list[str]]] = [
    ("PUT", "/uploads/influx", {"kind": "influxdb"}, ["put", "list"]),
    ("DELETE", "/uploads/influx", None, ["delete"]),
    ("POST", "/uploads/influx/pause", None, ["pause", "list"]),
    ("POST", "/uploads/influx/resume", None, ["resume", "list"]),
    ("POST", "/uploads/influx/test", None, ["list", "test"]),
    ("POST", DEAD_LETTERS, None, ["dead-letters-retry"]),
    ("PATCH", f"{DEAD_LETTERS}/17", {"values": {"roof/meter/power": 1}}, ["dead-letters-edit"]),
    ("DELETE", DEAD_LETTERS, None, ["dead-letters-drop"]),
]
OTHER_KEY = "ffeeddccbbaa99887766554433221100"  # of a sensor, which manages nothing
OTHER_HASH = cheap_hash(OTHER_KEY)
READS = [("GET", "/uploads", ["list"]), ("GET", "/uploads/influx", ["list"]), ("GET", DEAD_LETTERS, ["dead-letters"])]
ALL = [
    *((method, path, body) for method, path, body, _ in WRITES),
    *((method, path, None) for method, path, _ in READS),
]


class Site:
    """The application, and in place of the bus an uploader with prepared responses."""

    def __init__(self, data: Path) -> None:
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.seconds: dict[str, float] = {}
        self.answers: dict[str, bytes] = {command: json.dumps(answer).encode() for command, answer in GOOD.items()}
        self.silent = False
        self.slow: set[str] = set()  # commands that are not answered before `may_answer`
        self.may_answer = threading.Event()
        self.counted: Counter[str] = Counter()
        self.aside: list[tuple[str, str, str]] = []
        self.running = Running(lambda: open_reader(data), uploader=self._uploader)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.running.port}/api/v1", timeout=60, verify=False)

    def _uploader(self, live: LiveState) -> UploaderClient:
        keys, bodies = Keys({"garden": HASH, "shed": OTHER_HASH}), Bodies(200_000)
        gate = Gate(keys, bodies, 10_000, (), lambda what: self.counted.update([what]), lambda *x: self.aside.append(x))
        return UploaderClient(self._ask, gate, live, "roof", ("garden",))

    def _ask(self, node: str, service: str, command: str, payload: bytes, seconds: float) -> bytes:
        assert service == "uploader"
        self.asked.append((node, command, json.loads(payload)))
        self.seconds[command] = seconds
        assert command not in self.slow or self.may_answer.wait(60)
        if self.silent:
            raise NoAnswer(f"uploader on {node} did not answer {command} within {seconds:g} s")
        return self.answers[command]

    def status(self, state: str = "online", node: str = "roof") -> None:
        self.running.tell(f"heliograph/{node}/services/uploader/status", {"state": state})

    def refuse(self, code: str, error: str) -> None:
        """Answer every command like this."""
        self.answers = dict.fromkeys(GOOD, json.dumps({"ok": False, "code": code, "error": error}).encode())

    def send(self, method: str, path: str, body: Any = None, key: str = KEY) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        return self.client.request(method, path, content=content, headers=headers)

    def detail(self, status: int, method: str, path: str, body: Any = None, key: str = KEY) -> str:
        answer = self.send(method, path, body, key)
        assert answer.status_code == status, answer.text
        assert list(answer.json()) == ["detail"]
        return str(answer.json()["detail"])

    def commands(self) -> list[str]:
        return [command for _, command, _ in self.asked]


@pytest.fixture
def site(data: Path) -> Iterator[Site]:
    made = Site(data)
    made.running.start()
    made.status()
    yield made
    made.may_answer.set()
    made.client.close()
    made.running.stop()


def test_reading_takes_no_key(site: Site) -> None:
    for method, path, commands in READS:
        assert site.send(method, path, key="").status_code == 200
        assert site.commands() == commands
        site.asked.clear()


def test_writing_takes_a_key_and_becomes_commands(site: Site) -> None:
    for method, path, body, commands in WRITES:
        assert "a key is missing" in site.detail(401, method, path, body, key="")
        assert "not a key of this node" in site.detail(401, method, path, body, key="wrong")
        assert "managers in [api]" in site.detail(403, method, path, body, key=OTHER_KEY)
        assert site.asked == []
        assert site.send(method, path, body).status_code in (200, 204)
        assert site.commands() == commands
        assert all(payload["name"] == "influx" for _, _, payload in site.asked)
        assert site.counted == {"requests_uploads": 4, "refused_key": 3}
        site.asked.clear()
        site.counted.clear()


def test_a_page_of_another_site_may_not_write(site: Site) -> None:
    headers = {"authorization": f"Bearer {KEY}", "origin": "https://example.org"}
    for method, path, body, _ in WRITES:
        assert site.client.request(method, path, json=body, headers=headers).status_code == 403
    assert site.asked == []


def test_the_targets_are_those_of_the_uploader_with_all_that_may_be_known(site: Site) -> None:
    content = site.send("GET", "/uploads").json()
    assert content["kinds"] == ["file", "influxdb"]
    [target] = content["targets"]
    assert {key: target[key] for key in TARGET} == TARGET
    assert target["oldest"] is target["last_error"] is target["sent"] is None
    assert site.send("GET", "/uploads/influx").json() == target


def test_options_are_passed_on_as_they_are(site: Site) -> None:
    options = {"kind": "influxdb", "token": SECRET, "names": {"*/*/power": "p"}}
    assert site.send("PUT", "/uploads/influx", options).json()["options"]["token"] == "…"
    assert site.asked[0] == ("roof", "put", {"name": "influx", "options": options})


def test_options_that_are_no_object_are_refused(site: Site) -> None:
    for body in [b"", b"[]", b"{", b'"x"', b"\xff", b"[" * 50_000, b'{"a": 1, "a": 2}']:
        assert "not an object with options in JSON" in site.detail(422, "PUT", "/uploads/influx", body)
    assert site.asked == []


def test_a_name_in_the_options_must_be_that_of_the_address(site: Site) -> None:
    assert "name: " in site.detail(422, "PUT", "/uploads/influx", {"kind": "file", "name": "other"})
    assert site.send("PUT", "/uploads/influx", {"kind": "file", "name": "influx"}).status_code == 200


def test_a_long_body_is_refused_before_the_broker_would(site: Site) -> None:
    options = {"kind": "file", "x": "y" * client.MOST_BYTES}
    assert "longer than 65536 bytes" in site.detail(413, "PUT", "/uploads/influx", options)
    assert site.asked == []


def test_what_the_uploader_refuses_has_a_fitting_status_and_its_words(site: Site) -> None:
    for code, status in [("invalid", 422), ("missing", 404), ("configured", 409), ("away", 503), ("else", 502)]:
        site.refuse(code, "because of this")
        for method, path, body in ALL:
            assert site.detail(status, method, path, body) == "because of this"


def test_a_target_that_refuses_a_test_has_been_tested(site: Site) -> None:
    site.answers["test"] = b'{"ok": false, "response": "401 unauthorized"}'
    answer = site.send("POST", "/uploads/influx/test")
    assert (answer.status_code, answer.json()) == (200, {"ok": False, "response": "401 unauthorized"})


def test_a_test_waits_as_long_as_its_target_may_take(site: Site) -> None:
    site.send("POST", "/uploads/influx/test")
    assert site.seconds["test"] == 50


def test_without_an_answer_it_says_what_to_do(site: Site) -> None:
    site.silent = True
    for method, path, body in ALL:
        assert "check whether it is running" in site.detail(504, method, path, body)


def test_an_uploader_that_is_offline_is_not_asked(site: Site) -> None:
    site.status("offline")
    for method, path, body in ALL:
        assert "no uploader is running on roof: start it" in site.detail(503, method, path, body)
        assert "retry-after" in site.send(method, path, body).headers
    assert site.asked == []


def test_an_uploader_without_a_status_is_not_asked(site: Site) -> None:
    site.running.do(site.running.live.services.clear)
    assert "start it" in site.detail(503, "GET", "/uploads")


def test_another_node_can_be_meant(site: Site) -> None:
    site.status(node="barn")
    assert site.send("GET", "/uploads?node=barn").status_code == 200
    assert site.asked[0][0] == "barn"


def test_an_unknown_node_is_404(site: Site) -> None:
    for node in ["nowhere", "a/b", "+", "#", "%00", "A", "a" * 999]:
        assert "/api/v1/nodes" in site.detail(404, "GET", f"/uploads?node={node.replace('#', '%23')}")
    assert site.asked == []


def test_a_device_of_a_node_is_no_uploader(site: Site) -> None:
    site.running.tell("heliograph/barn/devices/x/state", {"time": 1763634000.0, "values": {"a": 1}})
    assert "start it" in site.detail(503, "GET", "/uploads?node=barn")


def test_dead_letters_come_in_pages(site: Site) -> None:
    for query, wanted in [("", (0, 100)), ("?after=17", (17, 100)), ("?limit=1000&after=2", (2, 1000))]:
        assert site.send("GET", f"{DEAD_LETTERS}{query}").json() == {
            "count": 1,
            "dead_letters": [DEAD_LETTER],
            "next": None,
        }
        assert (site.asked[-1][2]["after"], site.asked[-1][2]["limit"]) == wanted


def test_a_malformed_page_is_refused(site: Site) -> None:
    for query in ["after=-1", "after=x", "limit=0", "limit=1001", "limit=", f"after={10**30}"]:
        assert query.partition("=")[0] in site.detail(422, "GET", f"{DEAD_LETTERS}?{query}")
    assert site.asked == []


def test_all_or_some_are_sent_again(site: Site) -> None:
    bodies: list[dict[str, Any] | None] = [None, {}, {"ids": None}, {"ids": [1, 2]}, {"ids": []}]
    for body in bodies:
        ids = (body or {}).get("ids")
        assert site.send("POST", DEAD_LETTERS, body).json() == {"count": 1}
        assert site.asked.pop() == ("roof", "dead-letters-retry", {"name": "influx", "ids": ids})
    assert site.asked == []


def test_a_malformed_selection_is_refused(site: Site) -> None:
    for body in [b"[]", b"{", {"ids": "all"}, {"ids": [-1]}, {"ids": [10**30]}, {"id": 1}]:
        assert "the body is not a DeadLetterSelection" in site.detail(422, "POST", DEAD_LETTERS, body)
    assert site.asked == []


def test_all_or_some_are_dropped(site: Site) -> None:
    for query, ids in [("", None), ("?ids=17", [17]), ("?ids=1,%202", [1, 2])]:
        assert site.send("DELETE", f"{DEAD_LETTERS}{query}").json() == {"count": 1}
        assert site.asked.pop() == ("roof", "dead-letters-drop", {"name": "influx", "ids": ids})
    assert site.asked == []


def test_an_empty_list_of_ids_does_not_drop_all(site: Site) -> None:
    for ids in ["", ",", "1,", "x", "-1", "1.5", "9" * 30, "%D9%A1", "all"]:
        assert "leave it out for all" in site.detail(422, "DELETE", f"{DEAD_LETTERS}?ids={ids}")
    assert site.asked == []


def test_a_dead_letter_is_changed_as_the_body_says(site: Site) -> None:
    change = {"values": {"roof/meter/power": 7.5, "roof/meter/voltage": None}}
    assert site.send("PATCH", f"{DEAD_LETTERS}/17", change).json() == DEAD_LETTER
    assert site.asked == [("roof", "dead-letters-edit", {"name": "influx", "id": 17, **change, "time": None})]


def test_a_change_may_be_small(site: Site) -> None:
    for body in [b"", b"{}", {"time": 5.0}]:
        assert site.send("PATCH", f"{DEAD_LETTERS}/17", body).status_code == 200


def test_a_malformed_id_of_a_dead_letter_is_refused(site: Site) -> None:
    for number in ["x", "-1", "1.5", str(10**30)]:
        assert "number" in site.detail(422, "PATCH", f"{DEAD_LETTERS}/{number}", {})
    assert site.asked == []


def test_a_malformed_change_is_refused(site: Site) -> None:
    for body in [{"values": 7}, {"values": {"a": [1]}}, {"time": "now"}, {"time": 1e300}, {"time": -1}, {"value": {}}]:
        assert "the body is not a DeadLetterChange" in site.detail(422, "PATCH", f"{DEAD_LETTERS}/17", body)


def test_nothing_of_a_body_is_set_aside_or_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.detail(422, "PUT", "/uploads/influx", b'{"token": "' + SECRET.encode() + b'"')
    site.detail(401, "PUT", "/uploads/influx", {"token": SECRET}, key="wrong")
    site.refuse("invalid", "token: it is not valid")
    site.detail(422, "PUT", "/uploads/influx", {"token": SECRET})
    site.answers["put"] = SECRET.encode()
    site.detail(502, "PUT", "/uploads/influx", {"token": SECRET})
    assert site.aside == []
    assert SECRET not in caplog.text


def test_only_so_many_tests_wait_at_once_and_the_rest_continues(
    site: Site, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(client.MOST_COMMANDS, "test", 1)
    site.slow.add("test")
    path, answered = "/uploads/influx/test", []
    tester = threading.Thread(target=lambda: answered.append(site.send("POST", path).status_code))
    tester.start()
    eventually(lambda: "test" in site.commands())
    assert "too many commands" in site.detail(503, "POST", path)
    assert site.send("GET", "/uploads").status_code == 200
    site.may_answer.set()
    tester.join()
    assert answered == [200]
    assert site.send("POST", path).status_code == 200


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=75)
@given(
    which=st.sampled_from(ALL),
    answer=st.binary(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["ok", "code", "error", "targets", "kinds", "dead_letters", "count", "response"]), inner
            )
        ),
        max_leaves=9,
    ).map(lambda content: json.dumps(content).encode()),
)
def test_no_answer_of_an_uploader_is_an_internal_error(site: Site, which: tuple[str, str, Any], answer: bytes) -> None:
    site.answers = dict.fromkeys(GOOD, answer)
    response = site.send(*which)
    assert response.status_code in (200, 204, 404, 409, 422, 502, 503), response.text
    if response.status_code not in (200, 204):
        assert list(response.json()) == ["detail"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=75)
@given(which=st.sampled_from(ALL), body=st.binary(max_size=99), name=st.text(min_size=1, max_size=20))
def test_no_request_is_an_internal_error(site: Site, which: tuple[str, str, Any], body: bytes, name: str) -> None:
    method, path, _ = which
    path = path.replace("influx", quote(name, safe=""))
    answer = site.client.request(method, path, content=body, headers={"authorization": f"Bearer {KEY}"})
    assert answer.status_code in (200, 204, 404, 405, 422, 307), answer.text


def test_openapi_describes_what_manages_uploads(site: Site) -> None:
    described = site.send("GET", "/openapi.json").json()
    described_routes = {
        (method.upper(), path)
        for path, operations in described["paths"].items()
        for method in operations
        if "uploads" in path
    }
    base = "/api/v1/uploads"
    assert described_routes == {
        ("GET", base),
        *((method, f"{base}/{{name}}") for method in ("GET", "PUT", "DELETE")),
        *(("POST", f"{base}/{{name}}/{act}") for act in ("pause", "resume", "test")),
        *((method, f"{base}/{{name}}/dead-letters") for method in ("GET", "POST", "DELETE")),
        ("PATCH", f"{base}/{{name}}/dead-letters/{{number}}"),
    }
    text = json.dumps(described)
    for kind in schemas.SCHEMAS:
        assert described["components"]["schemas"][kind.__name__]["properties"]
        assert kind is schemas.UploadDeadLetter or f"#/components/schemas/{kind.__name__}" in text
    for method, path in described_routes:
        operation = described["paths"][path][method.lower()]
        assert ("security" in operation) == (method != "GET")
        assert {"4XX", "502", "503", "504"} < set(operation["responses"])


def test_a_response_after_the_end_is_discarded() -> None:
    may_answer, over = threading.Event(), threading.Event()

    def ask() -> bytes:
        assert may_answer.wait(60)
        return b""

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client._in_thread(ask, over.set), 0.01)

    asyncio.run(give_up())
    may_answer.set()
    for thread in threading.enumerate():
        if thread.name == "ask uploader":
            thread.join(60)
    assert not over.is_set()
