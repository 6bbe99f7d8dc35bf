from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.uploader.target import TryLater
from services.uploader.targets.shared.http_client import HttpClient, HttpResponse
from tests.uploader.servers.web_server import Request, Response, WebServer


class Echo(WebServer):
    def answer(self, request: Request) -> Response:
        return Response(200, f"{request.method} {request.target} {len(request.body)}", {"X-One": "1"})


@pytest.fixture
def server() -> Iterator[Echo]:
    running = Echo()
    yield running
    running.close()


@pytest.fixture
def web() -> Iterator[HttpClient]:
    made = HttpClient(10.0)
    yield made
    made.close()


def test_of_an_answer_only_words_are_shown() -> None:
    php = (
        b"<br />\n<b>Fatal error</b>:  Uncaught mysqli_sql_exception: Connection refused in /var/www/core.php:31\n"
        b"Stack trace:\n#0 /var/www/core.php(31): mysqli->__construct()\n#1 {main}\n  thrown in <b>core.php</b>"
    )
    shown = "HTTP 200: Fatal error : Uncaught mysqli_sql_exception: Connection refused in /var/www/core.php:31"
    assert HttpResponse(200, {}, php).summary() == shown
    assert HttpResponse(400, {}, b"a < b, and c > d").summary() == "HTTP 400: a < b, and c > d"
    assert HttpResponse(502, {}, b"<html><style>p {x: y}</style><p>Bad gateway").summary() == "HTTP 502: Bad gateway"


def test_a_request_is_answered(server: Echo, web: HttpClient) -> None:
    response = web.request("PUT", f"{server.url}/a?b=c%20d", b"body", {"X-Two": "2"})
    assert (response.status, response.ok, response.body, response.headers["x-one"]) == (
        200,
        True,
        b"PUT /a?b=c%20d 4",
        "1",
    )
    assert server.requests[0].headers["x-two"] == "2"
    assert server.requests[0].headers["user-agent"].startswith("Heliograph/")


def test_a_connection_is_used_again_and_renewed_when_the_server_closed_it(
    server: Echo, web: HttpClient, eventually: Callable[..., object]
) -> None:
    web.request("GET", server.url)
    first = web._connection
    web.request("GET", server.url)
    assert web._connection is first
    server.instead = [Response(200, "", {"Connection": "close"})]
    web.request("GET", server.url)
    eventually(lambda: web._connection is None or web._connection.sock is None or web._is_stale())
    assert web.request("GET", server.url).ok


def test_an_answer_that_never_comes_is_reported_without_the_request(server: Echo, web: HttpClient) -> None:
    server.instead = [Response(lost=True)]
    with pytest.raises(TryLater, match=r"127\.0\.0\.1") as later:
        web.request("POST", f"{server.url}/?key=s3cret", b"s3cret", {"X-Key": "s3cret"})
    assert "s3cret" not in str(later.value)


def test_a_port_without_a_server(free_ports: Callable[[], int], web: HttpClient) -> None:
    with pytest.raises(TryLater, match="refused"):
        web.request("GET", f"http://127.0.0.1:{free_ports()}")


def test_a_server_that_does_not_speak_tls_is_waited_for(server: Echo, web: HttpClient) -> None:
    with pytest.raises(TryLater):
        web.request("GET", server.url.replace("http:", "https:"))


def test_certificates_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    web = HttpClient(10.0, str(tmp_path / "none.pem"))
    with pytest.raises(TryLater, match=r"none\.pem"):
        web.request("GET", "https://127.0.0.1:1")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", None), ("17", 17.0), ("-5", 0.0), ("1e9", 3600.0), ("soon", 10.0), ("nan", 10.0)],
)
def test_retry_after_in_seconds(text: str, seconds: float | None) -> None:
    assert HttpResponse(429, {"retry-after": text}, b"").after == seconds


def test_retry_after_as_a_date_that_is_over() -> None:
    assert HttpResponse(429, {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, b"").after == 0.0


def test_words_of_an_answer_are_one_short_line() -> None:
    assert HttpResponse(400, {}, b"a\r\n  b \xff").summary() == "HTTP 400: a b \ufffd"
    assert len(HttpResponse(400, {}, b"x" * 10_000).summary()) < 400
    assert HttpResponse(204, {}, b"").summary() == "HTTP 204"
