import json
from collections.abc import Callable, Iterator
from typing import Literal

import msgspec
import pytest

from services.uploader.target import Refused, TryLater
from services.uploader.targets.webhook import Options, Webhook
from tests.uploader.conftest import OpenTargets
from tests.uploader.servers.rows import START, delivered, mapped, row
from tests.uploader.servers.web_server import Request, Response, WebServer

TOKEN = "3141592653"
POWER, MODE = mapped("meter/power"), mapped("meter/mode", "", kind="text")
Opened = Callable[..., Webhook]


class Hook(WebServer):
    """Takes what has the token, but no negative power."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: list[dict[str, object]] = []

    def answer(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return Response(401, "who are you?")
        rows = json.loads(request.body)
        if any(row["values"].get("meter/power", 0) < 0 for row in rows):
            return Response(422, "negative power")
        self.stored += rows
        return Response(204)


@pytest.fixture
def server() -> Iterator[Hook]:
    running = Hook()
    yield running
    running.close()


@pytest.fixture
def opened(server: Hook, open_targets: OpenTargets) -> Opened:
    def make(**options: object) -> Webhook:
        return open_targets.add(Webhook, {"kind": "webhook", "name": "w", "url": server.url, "token": TOKEN, **options})

    return make


def test_a_batch_is_one_request(opened: Opened, server: Hook) -> None:
    rows = [row(START + 0.5, (POWER, MODE), 1.5, "eco"), row(START + 1, (MODE,), "off")]
    assert opened().upload(rows).response == "HTTP 204"
    assert server.stored == [
        {"time": START + 0.5, "values": {"meter/power": 1.5, "meter/mode": "eco"}},
        {"time": START + 1, "values": {"meter/mode": "off"}},
    ]
    assert server.requests[0].headers["content-type"] == "application/json"


def test_a_row_that_is_refused_is_found_and_its_neighbours_arrive(opened: Opened, server: Hook) -> None:
    rows = [row(START + n, (POWER,), -1 if n == 7 else n) for n in range(20)]
    with pytest.raises(Refused, match="negative power"):
        opened().upload(rows)
    assert list(delivered(opened(), rows)) == [START + 7]
    assert [stored["time"] for stored in server.stored] == [START + n for n in range(20) if n != 7]


def test_a_wrong_token_keeps_the_rows_and_is_not_shown(opened: Opened, server: Hook) -> None:
    with pytest.raises(TryLater, match="check the key") as error:
        opened(token="2718281828").upload([row(START, (POWER,), 1)])
    assert "2718281828" not in str(error.value)
    assert server.stored == []


@pytest.mark.parametrize("cut", ["chunk", "length"])
def test_rows_are_taken_though_the_body_of_the_answer_breaks_off(
    cut: Literal["chunk", "length"], opened: Opened, server: Hook
) -> None:
    """They would be there twice: the status reports that they are taken."""
    server.instead = [Response(200, "thank y", cut=cut)]
    assert opened().upload([row(START, (POWER,), 1)]).response == "HTTP 200"
    server.instead = [Response(503, "not n", cut=cut)]
    with pytest.raises(TryLater, match="HTTP 503"):
        opened().upload([row(START, (POWER,), 1)])


def test_a_url_is_needed() -> None:
    with pytest.raises(msgspec.ValidationError, match="url: expected http"):
        msgspec.convert({"name": "w", "url": "server.example"}, Options)
