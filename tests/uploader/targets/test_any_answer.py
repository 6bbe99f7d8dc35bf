"""Whatever a server answers, a target reports it as TryLater or Refused, and asks for no pause without end."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.uploader import targets
from services.uploader.engine.rate_limit import HOUR, RateLimit
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
    # what ended the uploader of a node in the field (D2)
    b'{"results":null}',
    b'{"results":[null]}',
    b'{"results":[{"series":[{"values":[[]]}]}]}',
)
TURNS, TURNS_IF_FULL = 40, 2000
STATUSES = (200, 200, 200, 202, 302, 400, 400, 401, 403, 404, 406, 409, 413, 422, 429, 500, 503, 999)
PAUSES = (
    "soon",
    "-1e999",
    "1e999",
    "nan",
    "99999999999999",
    "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Mon, 01 Jan 0001 00:00:00 +2359",
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Retry-After": st.sampled_from(PAUSES),
        "Content-Encoding": st.just("gzip"),
        "X-Rate-Limit-Remaining": st.sampled_from(["x", "0", "-1", "99", "1e9"]),
        "X-Rate-Limit-Reset": st.sampled_from(["x", "0", "1e999", "nan", "99999999999999", "-1e308"]),
        "Location": st.just("http://127.0.0.1:1/"),
    },
)
KEYS = ("results", "series", "values", "error", "message", "buckets", "name", "feeds", "created_at", "newest", "data")
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from((*KEYS, "line_number", "success", "time")), inner, max_size=4)
    ),
    max_leaves=8,
)
BODIES = (
    st.sampled_from(ANSWERS)
    | st.builds(lambda seed, body: mutated(Random(seed), body), st.integers(0, 2**32), st.sampled_from(ANSWERS))
    | JSON.map(lambda tree: json.dumps(tree).encode())
    | st.binary(max_size=60)
)
RESPONSES = st.builds(
    lambda status, body, headers: Response(status, body.decode("utf-8", "surrogateescape"), headers),
    st.sampled_from(STATUSES),
    BODIES,
    HEADERS,
)


class AnyServer(WebServer):
    """Gives one answer to every request, which a test sets."""

    next = Response(503)

    def answer(self, request: Request) -> Response:
        return self.next


@pytest.fixture(scope="module")
def server() -> Iterator[AnyServer]:
    running = AnyServer()
    yield running
    running.close()


@pytest.fixture
def turns(request: pytest.FixtureRequest) -> int:
    return TURNS_IF_FULL if request.config.getoption("--full") else TURNS


def opened(options: dict[str, Any], server: AnyServer) -> Target:
    channels = mapped("power"), mapped("field1"), mapped("v2")
    parsed = targets.parse_options({"name": "cloud", "url": server.url, "timeout": 5.0, **options})
    return parsed.open(context(*channels))


@pytest.mark.parametrize("options", TARGETS.values(), ids=TARGETS)
def test_any_answer_is_one_of_the_two_errors_or_none(
    options: dict[str, Any], server: AnyServer, turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.uploader.targets.pvoutput.target.sleep", lambda seconds: None)  # between questions
    rows = [row(START + 300 * at, (mapped("power"), mapped("field1"), mapped("v2")), 1.5, 2.0, 3.0) for at in range(3)]
    before = len(server.requests)
    with closing(opened(options, server)) as target:
        calls: list[Callable[[], object]] = [lambda: target.upload(rows), lambda: newest_of(target)]
        if isinstance(target, Checking):
            calls.append(target.check)

        @settings(max_examples=turns, suppress_health_check=list(HealthCheck))
        @given(RESPONSES)
        def answered(response: Response) -> None:
            server.next = response
            for call in calls:
                pause = 0.0
                try:
                    answer = call()
                    pause = getattr(answer, "pause", 0.0)
                except TryLater as error:
                    pause = error.after or 0.0
                except Refused:
                    pass
                limit = RateLimit()
                limit.pause(0.0, pause)
                assert 0.0 <= limit.wait(0.0, 0.0, 0) <= HOUR

        answered()
    assert len(server.requests) > before


class AnyPeer:
    """Takes connections and sends bytes that a test sets, twice; then it hangs up."""

    def __init__(self) -> None:
        self.pieces: tuple[bytes, bytes] = (b"", b"")
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                with connection, suppress(OSError):
                    connection.settimeout(0.02)
                    for piece in self.pieces:
                        connection.recv(65536)
                        connection.sendall(piece)


@pytest.fixture(scope="module")
def peer() -> Iterator[AnyPeer]:
    running = AnyPeer()
    yield running
    running.close()


CONNACKS = (b"\x20\x02\x00\x00", b"\x20\x03\x00\x00\x00")  # of MQTT 3.1.1 and 5
PACKETS = st.binary(max_size=20) | st.builds(
    lambda kind, body: bytes([kind, len(body)]) + body,
    st.sampled_from([0x20, 0x30, 0x32, 0x40, 0x50, 0x62, 0x70, 0x90, 0xB0, 0xD0, 0xE0, 0xF0]),
    st.binary(max_size=10),
)
OTHERS: dict[str, tuple[dict[str, Any], st.SearchStrategy[tuple[bytes, bytes]]]] = {
    "mqtt": (
        {"kind": "mqtt", "host": "127.0.0.1", "timeout": 0.5},
        st.tuples(st.builds(lambda *parts: b"".join(parts), st.sampled_from(CONNACKS), PACKETS) | PACKETS, PACKETS),
    ),
    "postgresql": (
        {"kind": "postgresql", "user": "me", "timeout": 1.0},
        st.tuples(
            st.binary(max_size=40)
            | st.builds(
                lambda kind, body: kind + (len(body) + 4).to_bytes(4, "big") + body,
                st.sampled_from([b"N", b"S", b"R", b"E", b"Z", b"T", b"C", b"K"]),
                st.binary(max_size=30),
            ),
            st.binary(max_size=40),
        ),
    ),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_any_bytes_of_a_peer_that_does_not_speak_http_are_one_of_the_two_errors(
    kind: str, peer: AnyPeer, turns: int
) -> None:
    options, pieces = OTHERS[kind]
    address = (
        {"port": peer.port} if kind == "mqtt" else {"url": f"postgresql://127.0.0.1:{peer.port}/x?sslmode=disable"}
    )
    parsed = targets.parse_options({"name": "cloud", **options, **address})

    @settings(max_examples=turns // 2, suppress_health_check=list(HealthCheck))
    @given(pieces)
    def answered(sent: tuple[bytes, bytes]) -> None:
        peer.pieces = sent
        with closing(parsed.open(context(mapped("power")))) as target, suppress(TryLater, Refused):
            target.upload([row(START, [mapped("power")], 1.0)])

    answered()


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
