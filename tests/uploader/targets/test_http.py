import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Literal

import msgspec
import pytest

from services.uploader.options import secrets
from services.uploader.redacted_options import shown
from services.uploader.target import Refused, Row, TryLater
from services.uploader.targets.http.target import HttpTarget, Options
from tests.uploader.conftest import OpenTargets
from tests.uploader.servers import emoncms_server
from tests.uploader.servers.emoncms_server import EmoncmsServer
from tests.uploader.servers.presets_server import (
    KEY,
    Collector,
    PimonitorServer,
    SolarProtocolServer,
)
from tests.uploader.servers.rows import START, delivered, mapped, row
from tests.uploader.servers.web_server import Response, WebServer

POWER, VOLTS, MODE = mapped("power"), mapped("volts", "V"), mapped("mode", "", kind="text")
Opened = Callable[..., HttpTarget]


@pytest.fixture
def servers() -> Iterator[list[WebServer]]:
    running: list[WebServer] = []
    yield running
    for server in running:
        server.close()


@pytest.fixture
def server(servers: list[WebServer]) -> Collector:
    servers.append(made := Collector())
    return made


@pytest.fixture
def opened(open_targets: OpenTargets) -> Opened:
    def make(url: str, **options: object) -> HttpTarget:
        return open_targets.add(HttpTarget, {"kind": "http", "name": "h", "url": url, **options})

    return make


def rows(count: int) -> list[Row]:
    return [row(START + n, (POWER, VOLTS), n + 0.5, 230.0) for n in range(count)]


def test_json_has_values_of_their_own_type(opened: Opened, server: Collector) -> None:
    target = opened(
        f"{server.url}/${{node}}/data",
        json={
            "at": "${time}",
            "when": "$iso",
            "what": "${values}",
            "p": ["${value_power}", 1],
            "text": "at $time: $values",
        },
    )
    target.upload([row(START + 0.25, (POWER, MODE, mapped("on")), 1.5, 'e"c', True)])
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/house/data")
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == {
        "at": START + 0.25,
        "when": "2025-11-20T10:00:00.250000Z",
        "what": {"power": 1.5, "mode": 'e"c', "on": True},
        "p": [1.5, 1],
        "text": f'at {START + 0.25:.2f}: {{"power":1.5,"mode":"e\\"c","on":true}}',
    }


def test_a_form_is_escaped_and_leaves_out_what_has_no_value(opened: Opened, server: Collector) -> None:
    form = {"key": "$key", "power": "${value_power}", "mode": "is ${value_mode}"}
    target = opened(server.url, form=form, variables={"key": "a&b=c"}, method="PUT")
    target.upload([row(START, (POWER, MODE), 7.0, "50 % & more"), row(START, (POWER,), 8)])
    assert [request.form() for request in server.requests] == [
        {"key": "a&b=c", "power": "7", "mode": "is 50 % & more"},
        {"key": "a&b=c", "power": "8"},
    ]
    assert [request.method for request in server.requests] == ["PUT", "PUT"]
    assert target.limits.overwrites


def test_a_text_goes_out_as_it_is_in_one_request_for_each_channel(opened: Opened, server: Collector) -> None:
    options = {
        "body": "$device.$name=$value$unit;",
        "send": "channel",
        "headers": {"X-Channel": "$channel", "X-Mode": "$value", "Content-Type": "text/plain"},
        "query": {"u": "$unit"},
    }
    opened(f"{server.url}/a?b=c", **options).upload([row(START, (POWER, MODE), 7.5, "ö\r\nX-Evil: 1")])
    first, second = server.requests
    assert (first.body, first.target) == (b"meter.power=7.5W;", "/a?b=c&u=W")
    assert first.headers["x-channel"] == "power"
    assert first.headers["content-type"] == "text/plain"
    assert second.body.decode() == "meter.mode=ö\r\nX-Evil: 1;"
    assert "x-evil" not in second.headers


def test_devices_and_batches(opened: Opened, server: Collector) -> None:
    both = (POWER, mapped("power", device="pump"))
    opened(server.url, send="device", json={"$device": "${values}", "d": "$device"}).upload([row(START, both, 1, 2)])
    assert [json.loads(request.body)["d"] for request in server.requests] == ["meter", "pump"]
    server.requests.clear()
    target = opened(
        server.url, send="batch", item=["${time}", "${value_power}"], json={"rows": "${items}", "last": "${time}"}
    )
    target.upload(rows(3))
    (request,) = server.requests
    assert json.loads(request.body) == {
        "rows": [[START, 0.5], [START + 1, 1.5], [START + 2, 2.5]],
        "last": START + 2,
    }


def test_user_and_password_are_sent_as_such(opened: Opened, server: Collector) -> None:
    opened(server.url, user="me", password="pässword", body="x").upload(rows(1))
    assert server.requests[0].headers["authorization"] == "Basic bWU6cMOkc3N3b3Jk"


@pytest.mark.parametrize(
    ("answer", "after"),
    [
        (Response(401, "who?"), None),
        (Response(429, "", {"Retry-After": "7"}), 7),
        (Response(200, "", lost=True), None),
    ],
)
def test_rows_before_the_failure_count_as_taken(
    answer: Response, after: float | None, opened: Opened, server: Collector
) -> None:
    server.instead = [lambda request: None, lambda request: None, answer]
    with pytest.raises(TryLater) as caught:
        opened(server.url, json="${time}").upload(rows(5))
    assert (caught.value.done, caught.value.after) == (2, after)


def test_a_refused_row_does_not_stop_its_neighbours(opened: Opened, server: Collector) -> None:
    server.instead = [lambda request: None, Response(400, "bad row"), lambda request: None]
    with pytest.raises(Refused, match="bad row") as caught:
        opened(server.url, json="${time}").upload(rows(4))
    assert caught.value.rows == {1: "HTTP 400: bad row"}
    assert [json.loads(request.body) - START for request in server.requests] == [0, 1, 2, 3]


def test_a_refused_row_is_not_forgotten_when_a_later_one_fails(opened: Opened, server: Collector) -> None:
    """And those that were accepted between the two do not come twice."""
    server.instead = [Response(422, "bad row"), lambda request: None, Response(503, "busy", {"Retry-After": "7"})]
    with pytest.raises(Refused) as caught:
        opened(server.url, json="${time}").upload(rows(4))
    assert caught.value.rows == {0: "HTTP 422: bad row"}
    assert caught.value.later is not None
    assert (caught.value.later.done, caught.value.later.after) == (2, 7)


@pytest.mark.parametrize("cut", ["chunk", "length"])
def test_a_body_that_breaks_off_matters_only_where_it_counts(
    cut: Literal["chunk", "length"], opened: Opened, server: Collector
) -> None:
    server.instead = [Response(201, "all is w", cut=cut)]
    assert opened(server.url, json="${time}").upload(rows(1)).response == "HTTP 201"
    server.instead = [Response(200, "all is w", cut=cut)]
    with pytest.raises(TryLater, match="IncompleteRead") as caught:
        opened(server.url, json="${time}", success_pattern="all is w").upload(rows(1))
    assert caught.value.done == 0


def test_a_batch_that_is_refused_is_bisected(opened: Opened, server: Collector) -> None:
    def poison(request: object) -> Response | None:
        server.instead.append(poison)
        assert server.requests
        return Response(400, "13.5 is bad") if b"13.5" in server.requests[-1].body else None

    server.instead = [poison]
    assert list(delivered(opened(server.url, send="batch", item="${value_power}", json="${items}"), rows(20))) == [
        START + 13
    ]
    server.instead = [Response(413, "large")]
    with pytest.raises(TryLater) as caught:
        opened(server.url, send="batch", item="${value_power}", json="${items}").upload(rows(2))
    assert caught.value.smaller


def test_status_and_body_decide_what_is_a_success(opened: Opened, server: Collector) -> None:
    server.instead = [Response(201, "stored"), Response(200, "stored"), Response(201, "no"), Response(200, "duplicate")]
    target = opened(
        server.url, body="x", success_codes=[201, 409], success_pattern="^stored", reject_pattern="duplicate"
    )
    target.upload(rows(1))
    with pytest.raises(TryLater, match="none of 201, 409"):
        target.upload(rows(1))
    with pytest.raises(TryLater, match="not the answer of a success"):
        target.upload(rows(1))
    with pytest.raises(Refused, match="duplicate"):
        target.upload(rows(1))
    server.instead = [Response(409, "stored")]
    target.upload(rows(1))


def test_what_is_not_a_number_is_not_sent(opened: Opened, server: Collector) -> None:
    batch = [*rows(1), row(START + 1, (POWER,), float("nan")), *rows(1), row(1e300, (POWER,), 1)]
    for options in ({"body": "$time"}, {"send": "batch", "item": "${time}", "json": "${items}"}):
        with pytest.raises(Refused) as caught:
            opened(server.url, **options).upload(batch)
        assert sorted(caught.value.rows) == [1, 3]
        assert caught.value.rows[1] == "nan is not a number"
    assert [request.body for request in server.requests[2:]] == [b"[1763632800,1763632800]"]


def test_a_peer_of_solar_protocol_learns_that_this_one_is_there(opened: Opened, servers: list[WebServer]) -> None:
    servers.append(server := SolarProtocolServer())
    given = {"key": KEY, "mac": "b8:27:eb:00:00:01", "ip": "203.0.113.7:8080", "title": "Hof & Garten"}
    target = opened(
        f"{server.url}/api/v1/api.php", preset="solar_protocol", variables=given, timezone="America/New_York"
    )
    assert target.upload(rows(2)).response == "HTTP 200"
    assert target.upload([row(START + 60.5, (POWER,), 1)]).response.startswith('HTTP 200: [{"mac"')
    assert server.devices == [
        {
            "mac": "b8:27:eb:00:00:01",
            "ip": "203.0.113.7:8080",
            "time stamp": "1763632860.5",
            "name": "Hof &amp; Garten",
            "tz": "America/New_York",
            "log": "",
        }
    ]
    wrong = opened(f"{server.url}/api/v1/api.php", preset="solar_protocol", variables={**given, "key": "guessed-key"})
    with pytest.raises(TryLater, match="Wrong API Key"):
        wrong.upload(rows(1))


def test_a_pimonitor_gets_fahrenheit_local_time_and_one_sensor_a_report(
    opened: Opened, servers: list[WebServer]
) -> None:
    servers.append(server := PimonitorServer())
    air = (mapped("temperature", "°C"), mapped("humidity", "%"))
    cellar = (mapped("temperature", "°F", device="cellar"), mapped("humidity", "%", device="cellar"))
    target = opened(
        server.url, preset="pimonitor", variables={"key": KEY, "location": "my-pimonitor"}, timezone="America/New_York"
    )
    moment = datetime.fromisoformat("2026-11-20T05:37:23-05:00").timestamp()
    target.upload(
        [row(moment, air, 21.4, 41.3), row(moment, air + cellar, 20, 40, 50.004, 60), row(moment, air[:1], 20)]
    )
    assert server.requests[0].body.decode() == (
        '{"api_hash":"4ac97645e8e58c6637d0511d16023a7e3087e17414c14a2abaa2217cbded204c","location":"my-pimonitor",'
        '"timestamp":"11/20/2026 05:37:23","sensors":[{"sensorType":"DHT22","temperature":70.52,"humidity":41.3}]}'
    )
    local = "2026-11-20 05:37:23"
    assert [stored[1:] for stored in server.stored] == [(local, 70.52, 41.3), (local, 68, 40), (local, 50, 60)]
    assert server.ignored == []
    server.instead = [Response(500, "Internal Server Error"), Response(200, "An unexpected error occured.  Try again.")]
    with pytest.raises(TryLater):
        target.upload([row(moment, air, 1, 2)])
    with pytest.raises(Refused):
        target.upload([row(moment, air, 1, 2)])


def test_an_emoncms_is_asked_as_oemgateway_asked_it(opened: Opened, servers: list[WebServer]) -> None:
    servers.append(server := EmoncmsServer())
    target = opened(server.url, preset="oemgateway", variables={"key": emoncms_server.KEY})
    three = tuple(mapped(name, "", device="10") for name in ("1", "2", "3"))
    target.upload([row(1_795_170_517.08, three, 1, 2.0, -1), row(START, three[:2], -32768, 32767)])
    assert [request.target for request in server.requests] == [
        f"/input/post.json?apikey={emoncms_server.KEY}&time=1795170517.08&node=10&json={{1:1,2:2,3:-1}}",
        f"/input/post.json?apikey={emoncms_server.KEY}&time=1763632800&node=10&json={{1:-32768,2:32767}}",
    ]
    assert server.accepted[0] == (1_795_170_517, "10", {"1": 1, "2": 2, "3": -1})
    for body in ("nope", "ok\n", '{"success": false, "message": "Invalid API key"}'):
        server.instead = [Response(200, body)]
        with pytest.raises(TryLater):
            target.upload([row(START, three[:1], 1)])


def test_nothing_secret_is_shown(opened: Opened) -> None:
    given = {"headers": {"X-Key": "header-secret"}, "variables": {"key": "variable-secret"}, "password": "pass-secret"}
    options = msgspec.convert({"name": "h", "url": "http://h", "user": "u", "body": "$key", **given}, Options)
    assert secrets(options) == {"header-secret", "variable-secret", "pass-secret"}
    assert "secret" not in str(shown(options))
    with pytest.raises(TryLater) as caught:
        opened("http://127.0.0.1:1/$key", user="u", query={"key": "$key"}, **given).upload(rows(1))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"url": "http://u:p@h/"}, "url"),
        ({"url": "http://h/$who"}, "url"),
        ({"json": {"a": ["$who"]}}, "json.a"),
        ({"json": "$value"}, "json"),
        ({"body": "100 $"}, "body"),
        ({"form": {"a": "b"}, "body": "c"}, "form"),
        ({"send": "batch"}, "item"),
        ({"send": "batch", "item": "$items"}, "item"),
        ({"headers": {"X": "$who"}}, "headers.X"),
        ({"headers": {"X": "a\r\nY: b"}}, "headers.X: a header is one line"),
        ({"headers": {"X: Y": "b"}}, "cannot be the name of a header"),
        ({"answer": "("}, "answer"),
        ({"password": "p"}, "user"),
        ({"variables": {"a b": "c"}}, "variables"),
        ({"preset": "pimonitor"}, "variables: pimonitor needs key"),
        ({"preset": "pimonitor", "variables": {"key": "k", "location": "x" * 31}}, "30 characters"),
        ({"preset": "oemgateway", "variables": {"key": "k", "kay": "k"}}, "has no kay"),
        ({"preset": "oemgateway", "body": "x", "variables": {"key": "k"}}, "body"),
    ],
)
def test_options_that_cannot_be_are_refused(wrong: dict[str, object], where: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=where):
        msgspec.convert({"name": "h", "url": "http://h", **wrong}, Options)
