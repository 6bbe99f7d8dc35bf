"""Whatever a server answers, a target reports it as TryLater or Refused: any other exception would end the uploader."""

import random
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest

from services.uploader import targets
from services.uploader.target import Checking, Refused, Target, TryLater, newest_of
from tests.fuzzing import mutated
from tests.uploader.servers.rows import START, context, mapped, row
from tests.uploader.servers.web_server import Request, Response, WebServer

TARGETS: dict[str, dict[str, Any]] = {
    "influxdb 1": {"kind": "influxdb", "version": 1, "database": "site"},
    "influxdb 2": {"kind": "influxdb", "version": 2, "bucket": "site", "gzip": "always"},
    "influxdb 3": {"kind": "influxdb", "version": 3, "database": "site"},
    "emoncms": {"kind": "emoncms", "key": "0" * 32},
    "emoncms encrypted": {"kind": "emoncms", "key": "0" * 32, "userid": "1"},
    "pvoutput": {"kind": "pvoutput", "key": "0" * 32, "system": "1", "names": {"*/*/v2": "v2"}},
    "thingspeak": {"kind": "thingspeak", "names": {"*/*/field1": "field1"}, "channel": 1, "key": "0" * 16},
    "thingspeak, one by one": {
        "kind": "thingspeak",
        "names": {"*/*/field1": "field1"},
        "channel": 1,
        "key": "0" * 16,
        "bulk": False,
    },
    "webhook": {"kind": "webhook"},
    "http": {"kind": "http", "json": {"v": "${values}"}, "send": "row"},
}
ANSWERS = (
    b"",
    b"ok",
    b"<html>log in</html>",
    b"\0\xff\xfe",
    b"[" * 100_000,
    b"null",
    b"[]",
    b"[1]",
    b"{}",
    b'{"results": 1}',
    b'{"results": [1, null, {"series": [{"values": [[], [1], null]}]}]}',
    b'{"results": [{"series": [{"values": [["x", 1], [1e999, 1]]}]}]}',
    b'[{"newest": 1}, {"newest": "yesterday"}]',
    b'[{"newest": "0001-01-01T00:00:00+23:59"}]',
    b'{"error": 1, "message": [], "data": {}}',
    b'{"error": "partial write", "data": [1, {"line_number": "1"}, {"line_number": 1, "error_message": {}}]}',
    b'{"buckets": null}',
    b'{"buckets": [null, {"name": 1}]}',
    b'{"buckets": [{"name": "site", "createdAt": "yesterday", "retentionRules": [{"everySeconds": -5}]}]}',
    b"#datatype,string,long,dateTime:RFC3339\r\n#group,false,false,false\r\n#default,_result,,\r\n"
    b",result,table,_time\r\n,,0,yesterday\r\n,,0,\r\n,\r\n,,x,2025-11-20T10:00:00.123456789Z\r\n",
    b",result,table,x\r\n,,0,1\r\n",
    b"#datatype," + b"a" * 200_000,
    b'{"success": "no", "message": 3}',
    b'{"created_at": "yesterday", "feeds": [{"created_at": 1}]}',
    b"Bad request 400: " + b"9" * 50,
    b"OK 200: 20251120,10:00,1;x,y,z;;",
)
TURNS, TURNS_IF_FULL = 60, 3000
STATUSES = (200, 200, 200, 202, 302, 400, 400, 401, 403, 404, 406, 409, 413, 422, 429, 500, 503, 999)
HEADERS: tuple[dict[str, str], ...] = (
    {},
    {},
    {"Content-Encoding": "gzip"},
    {"Retry-After": "soon"},
    {"Retry-After": "-1e999"},
    {"X-Rate-Limit-Remaining": "x", "X-Rate-Limit-Reset": "x", "X-Rate-Limit-Limit": "-1"},
    {"Location": "http://127.0.0.1:1/"},
)


class AnyServer(WebServer):
    """Answers each request in another way."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.chance = random.Random(seed)

    def answer(self, request: Request) -> Response:
        content = self.chance.choice(ANSWERS)
        if self.chance.randrange(2):
            content = mutated(self.chance, content)
        return Response(
            self.chance.choice(STATUSES), content.decode("utf-8", "surrogateescape"), self.chance.choice(HEADERS)
        )


@pytest.fixture
def server() -> Iterator[AnyServer]:
    running = AnyServer(9)
    yield running
    running.close()


def opened(options: dict[str, Any], server: AnyServer) -> Target:
    channels = mapped("power"), mapped("field1"), mapped("v2")
    parsed = targets.parse_options({"name": "cloud", "url": server.url, "timeout": 5.0, **options})
    return parsed.open(context(*channels))


@pytest.mark.parametrize("options", TARGETS.values(), ids=TARGETS)
def test_any_answer_is_one_of_the_two_errors_or_none(
    options: dict[str, Any], server: AnyServer, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.uploader.targets.pvoutput.target.sleep", lambda seconds: None)  # between questions
    rows = [row(START + 300 * at, (mapped("power"), mapped("field1"), mapped("v2")), 1.5, 2.0, 3.0) for at in range(3)]
    with closing(opened(options, server)) as target:
        calls: list[Callable[[], object]] = [lambda: target.upload(rows), lambda: newest_of(target)]
        if isinstance(target, Checking):
            calls.append(target.check)
        for _ in range(TURNS_IF_FULL if request.config.getoption("--full") else TURNS):
            for call in calls:
                with suppress(TryLater, Refused):
                    call()
    assert server.requests


@pytest.mark.parametrize("secret", ["tok\u20acen", "token\r\nX: y", "token\n"])
@pytest.mark.parametrize("name", [name for name in TARGETS if name.startswith("influxdb")])
def test_a_secret_that_no_header_can_hold_is_an_error_that_does_not_show_it(
    name: str, secret: str, server: AnyServer
) -> None:
    with closing(opened({**TARGETS[name], "token": secret}, server)) as target:
        for call in (lambda: target.upload([row(START, [mapped("power")], 1.0)]), lambda: newest_of(target)):
            with pytest.raises(TryLater, match="characters that HTTP does not have") as later:
                call()
            assert secret.strip() not in str(later.value)


@pytest.mark.parametrize("name", TARGETS)
def test_a_url_that_no_request_can_be_made_of_is_an_error(name: str, server: AnyServer) -> None:
    for url in ("http://a..b/", f"http://{'a' * 64}.invalid/", "http://exa mple/", f"{server.url}/in\r\nX: y/\xfc/"):
        try:
            target = opened({**TARGETS[name], "url": url}, server)
        except ValueError:
            continue
        with closing(target), suppress(TryLater, Refused):
            target.upload([row(START, [mapped("power"), mapped("field1"), mapped("v2")], 1.0, 2.0, 3.0)])
