"""Version 2, through InfluxData's client: against the documented API, and for real against VictoriaMetrics."""

import gzip
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from services.uploader import targets
from services.uploader.target import MappedChannel, Refused, Row, TryLater
from services.uploader.targets.influxdb import Influxdb
from tests.conftest import ROOT
from tests.databases import Victoria
from tests.uploader.conftest import OpenTargets
from tests.uploader.servers.influxdb2_server import BUCKET, ORG, TOKEN, Influxdb2Server
from tests.uploader.servers.rows import context
from tests.uploader.servers.web_server import Request, Response

START = 1_763_640_000.0
POWER = MappedChannel("pi", "meter", "power", "W", "gauge", "power")

Opened = Callable[..., Influxdb]


@pytest.fixture
def server() -> Iterator[Influxdb2Server]:
    running = Influxdb2Server()
    yield running
    running.close()


@pytest.fixture
def opened(open_targets: OpenTargets, server: Influxdb2Server) -> Opened:
    def make(**options: object) -> Influxdb:
        defaults = {
            "kind": "influxdb",
            "name": "cloud",
            "url": server.url,
            "bucket": BUCKET,
            "org": ORG,
            "token": TOKEN,
        }
        return open_targets.add(Influxdb, {**defaults, **options}, POWER)

    return make


def rows(count: int, start: float = START) -> list[Row]:
    return [Row(start + index, (POWER,), (1.5 * index,)) for index in range(count)]


@pytest.mark.parametrize("compression", ["always", "never"])
def test_rows_arrive_whole_and_with_their_times(server: Influxdb2Server, opened: Opened, compression: str) -> None:
    assert opened(gzip=compression).upload(rows(3)).response == "HTTP 204"
    assert server.points == {("meter", "power", START + index): repr(1.5 * index) for index in range(3)}
    (request,) = server.requests
    assert request.headers.get("content-encoding", "never") == {"always": "gzip", "never": "never"}[compression]
    assert request.headers["user-agent"].startswith("Heliograph/")


def test_a_server_that_speaks_version_2_for_real_gets_the_same_points(victoria: Victoria, opened: Opened) -> None:
    for compression in ("always", "never"):
        opened(url=victoria.url, gzip=compression).upload(rows(5))
    assert victoria.points("meter_power") == {round((START + index) * 1000): 1.5 * index for index in range(5)}
    target = opened(url=victoria.url)
    assert target.newest() is None
    assert "bucket 'site'" in target.check()


def test_a_text_with_a_line_feed_costs_no_value_of_its_row(victoria: Victoria, opened: Opened) -> None:
    mode = MappedChannel("house", "meter", "mode", "", "text", "mode")
    text = 'half\nnew\r\n"line" \\'
    opened(url=victoria.url).upload([Row(START, (POWER, mode), (1.5, text)), Row(START + 1, (POWER,), (2.5,))])
    assert victoria.points("meter_power") == {START * 1000: 1.5, (START + 1) * 1000: 2.5}


def test_the_newest_point_is_found_further_and_further_back(server: Influxdb2Server, opened: Opened) -> None:
    target = opened()
    assert target.newest() is None
    server.queries.clear()
    target.upload(rows(3))
    assert target.newest() == START + 2
    assert "range(start: -1h)" in server.queries[0]
    assert len(server.queries) > 1


def test_a_bucket_with_quotes_in_its_name_stays_one_text_in_flux(server: Influxdb2Server, opened: Opened) -> None:
    assert opened(bucket='si"te').newest() is None
    assert 'from(bucket: "si\\"te")' in server.queries[0]


def test_a_token_that_may_only_write_finds_no_newest_point_and_says_so_in_a_check(
    server: Influxdb2Server, opened: Opened
) -> None:
    server.may_read = False
    target = opened()
    assert target.newest() is None
    assert target.check() == "InfluxDB v2.7.12, bucket 'site' is missing, or this token may not look it up"


def test_a_check_pings_the_server_and_looks_the_bucket_up_without_writing(
    server: Influxdb2Server, opened: Opened
) -> None:
    assert opened().check() == "InfluxDB v2.7.12, bucket 'site' exists"
    assert [request.path for request in server.requests] == ["/ping", "/api/v2/buckets"]
    assert "is missing" in opened(bucket="other").check()
    assert "is missing" in opened(token="wrong").check()


def test_a_wrong_token_and_a_missing_bucket_say_what_to_do(server: Influxdb2Server, opened: Opened) -> None:
    with pytest.raises(TryLater, match=r"HTTP 401.*check token"):
        opened(token="wrong").upload(rows(1))
    with pytest.raises(TryLater, match="HTTP 401"):
        opened(token="wrong").newest()
    with pytest.raises(TryLater, match=r"bucket \W+other\W+ not found.*create bucket and org"):
        opened(bucket="other").upload(rows(1))


@pytest.mark.parametrize(
    "response",
    [
        Response(503, "busy", {"Retry-After": "7"}),
        Response(302, "", {"Location": "http://127.0.0.1:1/elsewhere"}),
        Response(lost=True),
    ],
    ids=["busy", "moved", "lost"],
)
def test_a_request_is_sent_once_because_retries_are_the_engine_s(
    server: Influxdb2Server, opened: Opened, response: Response
) -> None:
    target = opened()
    for ask in (lambda: target.upload(rows(1)), target.check):
        server.requests.clear()
        server.instead = [response]
        with pytest.raises(TryLater) as later:
            ask()
        assert len(server.requests) == 1
        assert response.status != 200 or "127.0.0.1: Remote end closed connection" in str(later.value)
        assert TOKEN not in str(later.value)
        assert later.value.after == (7.0 if response.status == 503 else None)


def test_rows_that_the_server_cannot_read_are_refused(server: Influxdb2Server, opened: Opened) -> None:
    server.instead = [Response(400, '{"code": "invalid", "message": "unable to parse"}')]
    with pytest.raises(Refused, match="unable to parse"):
        opened().upload(rows(1))


def test_the_status_holds_whatever_the_body_is(server: Influxdb2Server, opened: Opened) -> None:
    target = opened()
    for status, expected in ((502, TryLater), (400, Refused)):
        for answer in (Response(status, "\udcff"), Response(status, "no gzip", {"Content-Encoding": "gzip"})):
            server.instead = [answer]
            with pytest.raises(expected, match=f"HTTP {status}"):
                target.upload(rows(1))


def test_an_answer_without_end_is_cut(opened: Opened, server: Influxdb2Server) -> None:
    target = opened()
    for body, headers in (
        ("x" * 30_000_000, {}),
        (gzip.compress(bytes(30_000_000)).decode("utf-8", "surrogateescape"), {"Content-Encoding": "gzip"}),
    ):
        server.instead = [Response(500, body, headers)]
        tracemalloc.start()
        try:
            with pytest.raises(TryLater, match="HTTP 500"):
                target.check()
            assert tracemalloc.get_traced_memory()[1] < 120_000_000  # the server's own copies included
        finally:
            tracemalloc.stop()


def test_one_connection_serves_all_requests(server: Influxdb2Server, opened: Opened) -> None:
    target = opened()
    for _ in range(3):
        target.upload(rows(1))
    assert len(server.connections) == 1


def test_a_certificate_that_is_not_there_is_waited_for(opened: Opened, server: Influxdb2Server) -> None:
    target = opened(url="https://127.0.0.1:1", ca="/nonexistent.pem")
    for ask in (lambda: target.upload(rows(1)), target.newest, target.check):
        with pytest.raises(TryLater, match="cannot use '/nonexistent"):
            ask()


def test_a_server_that_is_away_is_waited_for(opened: Opened, server: Influxdb2Server) -> None:
    target = opened(url="http://127.0.0.1:1")
    for ask in (lambda: target.upload(rows(1)), target.newest, target.check):
        with pytest.raises(TryLater, match=r"127\.0\.0\.1: .*[Cc]onnection refused"):
            ask()


def test_the_engine_works_while_the_server_answers(server: Influxdb2Server) -> None:
    prefetched = threading.Event()

    def answer(_: Request) -> None:
        assert prefetched.wait(30)

    server.instead = [answer]
    options = {"kind": "influxdb", "name": "cloud", "url": server.url, "bucket": BUCKET, "org": ORG, "token": TOKEN}
    with closing(targets.parse_options(options).open(context(POWER)._replace(while_waiting=prefetched.set))) as target:
        target.upload(rows(1))
    assert server.points


def test_the_client_library_is_loaded_for_version_2_alone() -> None:
    script = (
        "import sys; from services.uploader import targets; from services.uploader.target import TargetContext; "
        "from pathlib import Path; context = TargetContext('pi', Path('x'), tuple); "
        "options = {'kind': 'influxdb', 'name': 'x', 'url': 'http://127.0.0.1:1', 'database': 'd', 'bucket': 'b'}; "
        "loaded = lambda version: (targets.parse_options({**options, 'version': version}).open(context),"
        " 'influxdb_client' in sys.modules)[1]; print(loaded(1), loaded(3), loaded(2))"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "False", "True"]


def test_a_server_that_does_not_answer_in_time_is_asked_again_later(server: Influxdb2Server, opened: Opened) -> None:
    stop = threading.Event()

    def silence(_: Request) -> Response:
        stop.wait(30)
        return Response(lost=True)

    server.instead = [silence]
    with pytest.raises(TryLater, match="no answer in time"):
        opened(timeout=0.2).upload(rows(1))
    stop.set()
