from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from heliograph.messages import Kind, Value
from services.uploader import targets
from services.uploader.target import MappedChannel, Refused, Row, TryLater
from services.uploader.targets.influxdb import target as influxdb
from tests.databases import Influx, start_influx
from tests.uploader.conftest import OpenTargets
from tests.uploader.servers.influxdb3_server import TOKEN, Influxdb3Server
from tests.uploader.servers.web_server import Request, Response, WebServer

START = 1_763_640_000.0


Opened = Callable[..., influxdb.Influxdb]


@pytest.fixture
def opened(open_targets: OpenTargets) -> Opened:
    def make(*channels: MappedChannel, **options: object) -> influxdb.Influxdb:
        return open_targets.add(influxdb.Influxdb, {"kind": "influxdb", "name": "influx", **options}, *channels)

    return make


@pytest.fixture
def server() -> Iterator[Influxdb3Server]:
    running = Influxdb3Server()
    yield running
    running.close()


def mapped(channel: str, kind: Kind = "gauge", device: str = "meter", unit: str = "W") -> MappedChannel:
    return MappedChannel("pi", device, channel, unit, kind, channel)


def row(second: float, *pairs: tuple[MappedChannel, Value]) -> Row:
    return Row(START + second, tuple(mapped for mapped, _ in pairs), tuple(value for _, value in pairs))


POWER, VOLTAGE = mapped("power"), mapped("voltage", unit="V")


def version_1(influx: Influx) -> dict[str, object]:
    return {"url": influx.url, "version": 1, "database": "site"}


def version_3(server: WebServer) -> dict[str, object]:
    return {"url": server.url, "version": 3, "database": "site", "token": TOKEN}


def test_rows_arrive_with_their_times_and_the_same_row_twice_is_once(influx: Influx, opened: Opened) -> None:
    target = opened(POWER, VOLTAGE, **version_1(influx))
    rows = [row(second + 0.123, (POWER, 1.5 * second), (VOLTAGE, 230.0)) for second in range(10)]
    assert target.upload(rows).response == "HTTP 204"
    target.upload(rows)
    expected = {round((START + second) * 1000) + 123: 1.5 * second for second in range(10)}
    assert influx.points("power", "meter") == expected
    assert target.newest() == START + 9.123


def test_whole_numbers_states_and_booleans_are_floats_like_what_came_before(influx: Influx, opened: Opened) -> None:
    relay = mapped("relay", "state", unit="")
    target = opened(**version_1(influx))
    target.upload([row(0, (POWER, 20.5), (relay, 0.5)), row(1, (POWER, 20), (relay, True)), row(2, (relay, False))])
    assert list(influx.points("power", "meter").values()) == [20.5, 20.0]
    assert list(influx.points("relay", "meter").values()) == [0.5, 1.0, 0.0]


def test_channels_that_are_declared_to_be_whole_stay_so(influx: Influx, opened: Opened) -> None:
    target = opened(**version_1(influx), integers=["*/*/power"])
    target.upload([row(0, (POWER, 20.0)), row(1, (POWER, 20.6))])
    (series,) = influx.query("SHOW FIELD KEYS FROM meter")
    assert series["values"] == [["power", "integer"]]
    assert list(influx.points("power", "meter").values()) == [20, 21]


def test_names_and_texts_with_every_kind_of_special_character_arrive_as_they_are(
    influx: Influx, opened: Opened
) -> None:
    odd = MappedChannel("pi", "meter", "mode", "%", "text", r"a b,c=d%s\e")
    target = opened(
        odd, **version_1(influx), measurement="$device of, =$node", tags={"un it": "$unit =,x", "empty": ""}
    )
    target.upload([row(0, (odd, 'say "hi" \\ there, a=b')), row(1, (odd, "ä\nö"))])
    (series,) = influx.query('SELECT * FROM "meter of, =pi"')
    assert set(series["columns"]) == {"time", r"a b,c=d%s\e", "un it"}
    columns = dict(zip(series["columns"], zip(*series["values"], strict=True), strict=True))
    assert columns[r"a b,c=d%s\e"] == ('say "hi" \\ there, a=b', "ä ö")
    assert columns["un it"] == ("% =,x",) * 2
    assert target.newest() == START + 1


def test_as_iotawatt_wrote_it_a_measurement_of_each_output(influx: Influx, opened: Opened) -> None:
    solar, mains = mapped("solar"), mapped("mains")
    target = opened(solar, mains, **version_1(influx), measurement="$name", field="value", tags={}, precision="s")
    target.upload([row(0, (solar, 2944.6), (mains, 1005.0))])
    assert influx.points("value", "solar") == {round(START * 1000): 2944.6}
    assert influx.points("value", "mains") == {round(START * 1000): 1005.0}
    assert target.newest() == START


def test_of_rows_with_a_type_conflict_only_the_values_in_conflict_are_refused(influx: Influx, opened: Opened) -> None:
    influx.ask("POST", "/write?db=site&precision=s", f'meter,node=pi power="on",voltage="high" {int(START)}'.encode())
    target = opened(**version_1(influx))
    current = mapped("current", unit="A")
    rows = [row(second + 10, (POWER, 1.0), (current, 2.0)) for second in range(3)] + [row(20, (VOLTAGE, 1.0))]
    rows.append(row(30, (current, 3.0)))
    with pytest.raises(Refused, match="field type conflict") as refused:
        target.upload(rows)
    assert set(refused.value.rows) == {0, 1, 2, 3}
    assert refused.value.values == {0: (0,), 1: (0,), 2: (0,)}
    assert list(influx.points("current", "meter").values()) == [2.0, 2.0, 2.0, 3.0]


def test_a_database_that_is_not_there_is_waited_for_and_the_error_says_what_to_do(
    influx: Influx, opened: Opened
) -> None:
    target = opened(**{**version_1(influx), "database": "other"})
    with pytest.raises(TryLater, match=r"database not found: \W+other\W+; create the database") as away:
        target.upload([row(0, (POWER, 1.0))])
    assert away.value.after
    influx.query("CREATE DATABASE other")
    target.upload([row(0, (POWER, 1.0))])
    assert influx.points("power", "meter", "other")


def test_a_body_that_is_too_large_asks_for_smaller_ones(tmp_path: Path, opened: Opened) -> None:
    influx = start_influx(tmp_path / "small", most=100)
    try:
        influx.query("CREATE DATABASE site")
        target = opened(**version_1(influx))
        with pytest.raises(TryLater) as large:
            target.upload([row(second, (POWER, 1.0)) for second in range(10)])
        assert large.value.smaller
        target.upload([row(0, (POWER, 1.0))])
    finally:
        influx.stop()


def test_without_the_right_password_rows_are_kept_and_no_word_has_the_password(tmp_path: Path, opened: Opened) -> None:
    influx = start_influx(tmp_path / "closed", auth=True)
    try:
        influx.query("CREATE USER helio WITH PASSWORD 'sun+shine/1' WITH ALL PRIVILEGES")
        target = opened(**version_1(influx), user="helio", password="rain")
        with pytest.raises(TryLater, match=r"HTTP 401.*check user and password") as refused:
            target.upload([row(0, (POWER, 1.0))])
        assert refused.value.after
        assert refused.value.after >= 60
        assert "rain" not in str(refused.value)
        right = opened(POWER, **version_1(influx), user="helio", password="sun+shine/1")
        with pytest.raises(TryLater, match="database not found"):
            right.upload([row(0, (POWER, 1.0))])
    finally:
        influx.stop()


def test_points_beyond_the_retention_policy_do_not_hold_up_the_others(influx: Influx, opened: Opened) -> None:
    influx.query("CREATE DATABASE short WITH DURATION 1d SHARD DURATION 1h")
    target = opened(**{**version_1(influx), "database": "short"})
    assert "retention policy" in target.upload([row(-86_400 * 700, (POWER, 1.0))]).response


def test_a_server_that_is_away_is_waited_for(influx: Influx, opened: Opened) -> None:
    target = opened(POWER, **version_1(influx))
    target.upload([row(0, (POWER, 1.0))])
    influx.stop()
    for ask in (target.newest, lambda: target.upload([row(1, (POWER, 1.0))])):
        with pytest.raises(TryLater, match=r"127\.0\.0\.1"):
            ask()
    influx.start()
    target.upload([row(1, (POWER, 1.0))])
    assert len(influx.points("power", "meter")) == 2


def test_a_target_without_data_says_so(influx: Influx, opened: Opened) -> None:
    assert opened(POWER, **version_1(influx)).newest() is None
    assert opened(**version_1(influx)).newest() is None


def test_version_3_takes_rows(server: Influxdb3Server, opened: Opened) -> None:
    target = opened(POWER, VOLTAGE, **version_3(server), gzip="always")
    target.upload([row(second, (POWER, 1.0), (VOLTAGE, 230.0)) for second in range(3)])
    assert server.points[("meter", "power", START + 2)] == 1.0
    assert target.newest() == START + 2
    assert server.requests[0].query["precision"] == "millisecond"


def test_version_3_names_the_lines_that_it_does_not_take(server: Influxdb3Server, opened: Opened) -> None:
    other = mapped("power", device="other")
    server.types[("other", "power")] = str
    target = opened(**version_3(server))
    with pytest.raises(Refused, match="partial write") as refused:
        target.upload([row(0, (POWER, 1.0)), row(1, (POWER, 2.0), (other, 3.0)), row(2, (other, 4.0))])
    assert set(refused.value.rows) == {1, 2}
    assert "invalid column type" in refused.value.rows[1]
    assert refused.value.values == {1: (1,)}
    assert set(server.points) == {("meter", "power", START), ("meter", "power", START + 1)}


def test_version_3_without_its_token_keeps_the_rows(server: Influxdb3Server, opened: Opened) -> None:
    target = opened(POWER, **{**version_3(server), "token": "wrong"})
    with pytest.raises(TryLater, match="check token"):
        target.upload([row(0, (POWER, 1.0))])
    with pytest.raises(TryLater):
        target.newest()


CONFLICT = (
    '{"code":"unprocessable entity","message":"failure writing points to database: partial write: field type conflict:'
    ' input field \\"power\\" on measurement \\"meter\\" is type float, already exists as type integer dropped=1"}'
)


@pytest.mark.parametrize("status", [422, 500], ids=["as 2.x says it", "as early 2.0 says it"])
def test_a_type_conflict_of_version_2_is_distinguished_from_a_broken_server(
    server: Influxdb3Server, opened: Opened, status: int
) -> None:
    server.instead = [Response(status, CONFLICT), Response(204)]
    target = opened(url=server.url, bucket="site", token="t0ken")
    with pytest.raises(Refused) as refused:
        target.upload([row(0, (POWER, 1.0), (VOLTAGE, 2.0)), row(1, (VOLTAGE, 3.0))])
    assert (set(refused.value.rows), refused.value.values) == ({0}, {0: (0,)})
    assert b"power" not in server.requests[1].body
    assert server.requests[1].body.count(b"voltage") == 2


@pytest.mark.parametrize(
    ("response", "after"),
    [
        (Response(429, "slow down", {"Retry-After": "17"}), 17.0),
        (Response(503, "", {"Retry-After": "3"}), 3.0),
        (Response(503, "", {"Retry-After": "soon"}), 10.0),
        (Response(502, "bad gateway"), None),
        (Response(500, "internal error"), None),
        (Response(302, "", {"Location": "http://127.0.0.1/login"}), None),
        (Response(403, '{"message": "token has no rights"}'), 300.0),
        (Response(404, '{"message": "bucket \\"site\\" not found"}'), 60.0),
        (Response(lost=True), None),
    ],
    ids=str,
)
def test_answers_after_which_the_same_rows_are_sent_again(
    server: Influxdb3Server, opened: Opened, response: Response, after: float | None
) -> None:
    server.instead = [response]
    target = opened(url=server.url, bucket="site", token="t0ken")
    with pytest.raises(TryLater) as later:
        target.upload([row(0, (POWER, 1.0))])
    assert (later.value.after, later.value.smaller) == (after, False)


@pytest.mark.parametrize("status", [400, 406, 422])
def test_a_batch_that_is_refused_without_saying_which_row_is_looked_through(
    server: Influxdb3Server, opened: Opened, status: int
) -> None:
    server.instead = [Response(status, '{"error": "unable to parse"}')]
    target = opened(url=server.url, bucket="site")
    with pytest.raises(Refused, match="unable to parse") as refused:
        target.upload([row(0, (POWER, 1.0)), row(1, (POWER, 1.0))])
    assert refused.value.rows == {}


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"url": "http://h"}, "bucket: version 2 needs one"),
        ({"url": "http://h", "version": 1}, "database: version 1 needs one"),
        (
            {"url": "http://user:pass@h", "bucket": "b"},
            "url: use the options user and password; a URL is not kept secret",
        ),
        ({"url": "h:8086", "bucket": "b"}, "url: expected http://host:port/…"),
        ({"url": "http://h", "bucket": "b", "interval": 7}, "interval: 7 s does not divide a day into equal parts"),
        ({"url": "http://h", "bucket": "b", "channels": ["power"]}, "channels: 'power' is not node/device/channel"),
    ],
)
def test_options_that_do_not_go_together_are_refused_in_one_line(options: dict[str, object], wrong: str) -> None:
    with pytest.raises(ValueError, match="^" + wrong.replace("…", ".").replace("(", r"\(")):
        targets.parse_options({"kind": "influxdb", "name": "x", **options})


@pytest.mark.parametrize("version", [1, 3])
def test_a_page_of_something_else_with_status_200_is_no_success(version: int, opened: Opened) -> None:
    class Hotel(WebServer):
        def answer(self, request: Request) -> Response:
            return Response(200, "<html>Log in to the hotel's network</html>")

    with closing(Hotel()) as hotel:
        target = opened(POWER, url=hotel.url, version=version, database="site")
        with pytest.raises(TryLater, match="not the answer of an InfluxDB: HTTP 200: Log in to the hotel's network"):
            target.upload([row(0, (POWER, 1.0))])
