"""What a target of kind emoncms relies on: our stand-in has it, and with --emoncms CHECKOUT the real Emoncms is asked the same."""

import json
import math
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from time import time
from typing import Any

import pytest

from services.uploader.target import MappedChannel, Refused, TryLater
from services.uploader.targets.emoncms.encryption import Encryption
from services.uploader.targets.emoncms.target import Emoncms
from services.uploader.targets.http.target import HttpTarget
from tests.real_emoncms import Account, ask, form, parametrize_servers
from tests.uploader.conftest import OpenTargets
from tests.uploader.servers.emoncms_server import EmoncmsServer
from tests.uploader.servers.rows import mapped, row

T = 1_763_632_800
POWER, VOLTS = mapped("power"), mapped("volts", "V")
Opened = Callable[..., Emoncms]
Server = EmoncmsServer | Account
FATAL = "<br />\n<b>Fatal error</b>:"
NOT_JSON = '{"success": false, "message": "Format error, json string supplied is not valid"}'


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    parametrize_servers(metafunc, "stand-in")


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "emoncms":
        yield request.getfixturevalue("emoncms").account()
        return
    with closing(EmoncmsServer()) as running:
        yield running


@pytest.fixture
def opened(server: Server, open_targets: OpenTargets) -> Opened:
    def make(*channels: MappedChannel, **options: object) -> Emoncms:
        given = {"kind": "emoncms", "name": "e", "url": server.url, "key": server.key, **options}
        return open_targets.add(Emoncms, given, *channels)

    return make


def bearer(server: Server) -> dict[str, str]:
    return {"Authorization": f"Bearer {server.key}"}


def bulk(server: Server, data: str, query: str = "time=0") -> str:
    """Return the answer to a bulk, which has status 200 whatever is in it."""
    body, kind = form(data=data)
    status, answer = ask("POST", f"{server.url}/input/bulk?{query}", body, {**kind, **bearer(server)})
    assert status == 200
    return answer.decode()


def inputs(server: Server, node: str) -> Any:
    """Return the newest time and value of each input of a node, by name."""
    status, answer = ask("GET", f"{server.url}/input/get?{form(node=node)[0].decode()}", b"", bearer(server))
    assert status == 200
    listed = json.loads(answer)
    if not isinstance(listed, dict):
        return listed
    return {name: (one["time"], one["value"]) for name, one in listed.items()}


def test_a_missing_value_is_stored_as_0(server: Server) -> None:
    server.record("n", "1", "2", "3")
    items = [[T, "n", 5, None, 7], [T + 1, "n", 6, "", False], [T + 2, "n", {"1": None, "2": "x", "3": True}]]
    assert bulk(server, json.dumps(items)) == "ok"
    assert server.points("n", "1") == {T: 5, T + 1: 6, T + 2: 0}
    assert server.points("n", "2") == {T: 0, T + 1: 0, T + 2: 0}
    assert server.points("n", "3") == {T: 7, T + 1: 0, T + 2: 1}


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        ("[[1]]", "ok"),
        ('[[1,"n"]]', "ok"),
        ('[["x","n","1e2 W"]]', "ok"),
        ("[]", NOT_JSON),
        ("", NOT_JSON),
        ("nonsense", NOT_JSON),
        ('[[1,"n",NaN]]', NOT_JSON),
        ('[[1,"n\\"m",1]]', NOT_JSON),
        ("[[]]", '{"success": false, "message": "Format error, last item in bulk data does not contain any data"}'),
        ("[7]", '{"success": false, "message": "Format error, last item in bulk data does not contain any data"}'),
        ('[[1,{"a":1},2]]', '{"success": false, "message": "Format error, node must not be an object"}'),
        ("{}", FATAL),
        ("7", FATAL),
        ('[[1,"n",[1]]]', FATAL),
    ],
)
def test_a_bulk_is_answered_with_status_200_whatever_is_in_it(server: Server, data: str, answer: str) -> None:
    given = bulk(server, data)
    assert given.startswith(answer) if answer is FATAL else given == answer


def test_of_names_only_alphanumeric_characters_and_a_few_signs_are_kept(server: Server) -> None:
    assert bulk(server, json.dumps([[T, "a&b=c%d+e:f/g (h) ü_-.", {"x/y z": 1}]], ensure_ascii=False)) == "ok"
    assert inputs(server, "abcdefg h ü_-.") == inputs(server, "a&b=c%d+e:f/g (h) ü_-.") == {"xy z": (T, 1)}
    assert bulk(server, f'[[{T},"",1],[{T},"n\\u00fc",1]]') == "ok"
    assert inputs(server, "0") == inputs(server, "nu00fc") == {"1": (T, 1)}
    assert inputs(server, "nü") == "Node does not exist"


def test_inputs_that_are_numbered_from_0_are_listed_without_their_names(server: Server) -> None:
    assert bulk(server, f'[[{T},"n",{{"0":5,"1":6.5}}]]') == "ok"
    assert inputs(server, "n") == [
        {"time": T, "value": 5, "processList": ""},
        {"time": T, "value": 6.5, "processList": ""},
    ]


def test_the_newest_time_is_that_which_came_last(server: Server) -> None:
    for moment in (T + 5, T):
        assert bulk(server, f'[[{moment},"n",{{"a":1}}]]') == "ok"
    assert inputs(server, "n") == {"a": (T, 1)}


@pytest.mark.parametrize(
    ("query", "first", "last"),
    [("time=100", 100, 110), ("sentat=30", -30, -20), ("offset=30", -30, -20), ("a=b", -10, 0), ("sentat=x", 0, 10)],
)
def test_times_count_from_what_is_given(server: Server, query: str, first: int, last: int) -> None:
    server.record("a", "1")
    began = 0 if query.startswith("time") else int(time())
    assert bulk(server, '[[0,"a",1],[10,"a",2]]', query) == "ok"
    passed = 0 if query.startswith("time") else int(time()) - began
    moments = [moment - began for moment in server.points("a", "1")]
    assert first <= moments[0] <= first + passed
    assert last <= moments[1] <= last + passed


def test_keys(server: Server) -> None:
    body, kind = form(data="[[1,2,3]]")
    url = f"{server.url}/input/bulk"
    assert ask("POST", url, body, kind) == (200, b"")
    assert ask("POST", url, body, {**kind, "Authorization": f"Bearer {'f' * 32}"}) == (401, b"Invalid API key")
    assert ask("GET", f"{server.url}/input/get?node=n")[1].startswith(b"<!doctype html>")
    sealed = Encryption(server.key, server.user).seal(b"time=0&data=[[1,2,3]]")
    assert ask("POST", url, sealed.body, sealed.headers) == (200, sealed.expected)
    user, _, signature = sealed.headers["Authorization"].partition(":")
    stranger = {**sealed.headers, "Authorization": f"99999:{signature}"}
    forged = {**sealed.headers, "Authorization": f"{user}:{signature[::-1]}"}
    assert ask("POST", url, sealed.body, stranger) == (200, b"User not found")
    assert ask("POST", url, sealed.body, forged) == (200, b"invalid data")


def test_what_is_encrypted_is_not_decoded(server: Server) -> None:
    sealed = Encryption(server.key, server.user).seal(b'time=0&data=[[1,"a%20b",{"c+d":3}]]')
    assert ask("POST", f"{server.url}/input/bulk", sealed.body, sealed.headers) == (200, sealed.expected)
    assert inputs(server, "a20b") == {"cd": (1, 3)}
    cut = Encryption(server.key, server.user).seal(b'time=0&data=[[1,"a=b",3]]')
    assert ask("POST", f"{server.url}/input/bulk", cut.body, cut.headers) == (200, NOT_JSON.encode())


def test_a_compressed_bulk_may_have_any_sign(server: Server) -> None:
    data = zlib.compress(json.dumps([[T, 'a"b\\ü', {"c&d": 1}]]).encode())
    assert ask("POST", f"{server.url}/input/bulk?time=0&cb=1", data, bearer(server)) == (200, b"ok")
    assert inputs(server, "abü") == {"cd": (T, 1)}


def test_rows_arrive_with_their_times(server: Server, opened: Opened) -> None:
    server.record("meter", "power", "volts")
    rows = [row(T + 5 * n + 0.7, (POWER, VOLTS), 400.5 + n, 230) for n in range(3)]
    assert opened().upload(rows).response == "ok"
    assert server.points("meter", "power") == {T: 400.5, T + 5: 401.5, T + 10: 402.5}
    assert set(server.points("meter", "volts").values()) == {230}


def test_a_value_that_is_missing_is_never_a_zero_at_a_real_emoncms(server: Server, opened: Opened) -> None:
    server.record("20", "1", "2", "3")
    positions = tuple(mapped(name) for name in ("1", "2", "3"))
    rows = [
        row(T + n, (positions[0], positions[2]), 5, 7) if n % 7 == 6 else row(T + n, positions, 5, 230, 7)
        for n in range(21)
    ]
    opened(node="20").upload(rows)
    assert list(server.points("20", "2").values()) == [230] * 18
    assert len(server.points("20", "1")) == len(server.points("20", "3")) == 21


@pytest.mark.parametrize("way", ["plain", "compress", "userid"])
def test_any_name_arrives_as_emoncms_keeps_it(server: Server, opened: Opened, way: str) -> None:
    ways: dict[str, dict[str, object]] = {"compress": {"compress": True}, "userid": {"userid": server.user}}
    node, name = 'Haus: "Süd"/1 & 2 = (A) %20+\\', 'mppt/load: "Leistung" (kW) ü = 100 % & mehr + \\n'
    server.record("Haus Süd1  2  A 20", "mpptload Leistung kW ü  100   mehr  n")
    target = opened(mapped(name), node=node, **ways.get(way, {}))
    target.upload([row(T + n, (mapped(name),), n) for n in range(200)])
    assert server.points("Haus Süd1  2  A 20", "mpptload Leistung kW ü  100   mehr  n") == {
        T + n: n for n in range(200)
    }
    assert target.newest() == (None if way == "userid" else T + 199)


def test_a_name_of_which_nothing_is_left_is_refused(server: Server, opened: Opened) -> None:
    with pytest.raises(Refused, match="keeps alphanumeric"):
        opened(node="(%)").upload([row(T, (POWER,), 1)])
    assert inputs(server, "0") == "Node does not exist"


def test_the_newest_row_of_inputs_with_any_numbers_is_found(server: Server, opened: Opened) -> None:
    numbered = (mapped("0"), mapped("1"))
    target = opened(*numbered, node="n")
    assert target.newest() is None
    target.upload([row(T, numbered, 1, 2), row(T + 7, numbered[1:], 3)])
    assert target.newest() == T + 7
    assert opened(numbered[0], node="n").newest() == T


@pytest.mark.parametrize("more", [{}, {"compress": True}, {"userid": "-"}, {"times": "sentat"}])
def test_a_thousand_rows_arrive_in_one_request(server: Server, opened: Opened, more: dict[str, object]) -> None:
    server.record("meter", "power")
    options = {name: server.user if name == "userid" else value for name, value in more.items()}
    start = int(time()) - 2000 if "times" in more else T
    values = [math.floor(1e6 * math.sin(n)) / 64 for n in range(1000)]
    opened(**options).upload([row(start + n, (POWER,), value) for n, value in enumerate(values)])
    stored = server.points("meter", "power")
    assert [stored[moment] for moment in sorted(stored)] == values
    assert abs(min(stored) - start) <= (5 if "times" in more else 0)


def test_a_limit_that_a_person_can_raise_is_waited_for(server: Server, opened: Opened) -> None:
    both = (POWER, VOLTS)
    target = opened(*both, node="lim_$channel")
    target.upload([row(T, (POWER,), 1)])
    server.allow_nodes(1)
    try:
        with pytest.raises(TryLater, match="Reached the maximal allowed number") as caught:
            target.upload([row(T + 1, both, 1, 230)])
        assert caught.value.after == 300
    finally:
        server.allow_nodes(32)
    target.upload([row(T + 1, both, 1, 230)])
    assert inputs(server, "lim_volts") == {"volts": (T + 1, 230)}


def test_a_wrong_key_keeps_the_rows(server: Server, opened: Opened) -> None:
    for options in ({"key": "f" * 32}, {"userid": "99999"}, {"userid": server.user, "key": "f" * 32}):
        with pytest.raises(TryLater):
            opened(**options).upload([row(T, (POWER,), 1)])
    assert inputs(server, "meter") == "Node does not exist"


def test_oemgateways_requests_are_answered_ok_or_with_the_reason(server: Server, open_targets: OpenTargets) -> None:
    server.record("10", "1", "2", "3")
    three = tuple(mapped(name, device="10") for name in ("1", "2", "3"))
    options = {"kind": "http", "name": "h", "url": server.url, "preset": "oemgateway"}
    target = open_targets.add(HttpTarget, {**options, "variables": {"key": server.key}})
    target.upload([row(T + 0.08, three, 1, 2.5, -1), row(T + 5, three[:2], -32768, 32767)])
    assert server.points("10", "1") == {T: 1, T + 5: -32768}
    assert server.points("10", "2") == {T: 2.5, T + 5: 32767}
    assert server.points("10", "3") == {T: -1}
    post = f"{server.url}/input/post.json?node=10&time={T}&apikey="
    for given, answer in {
        "{a:b}": '{"success": false, "message": "Format error, json value is not numeric"}',
        "x": '{"success": false, "message": "Format error: csv value is not numeric"}',
        "null": "ok",
    }.items():
        assert ask("GET", f"{post}{server.key}&json={given}") == (200, answer.encode())
    assert ask("GET", f"{post}{'f' * 32}&json=1") == (401, b"Invalid API key")
