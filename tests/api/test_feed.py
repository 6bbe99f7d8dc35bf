import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.api.conftest import START, Running

PV = "roof/tracer/pv_power"
NOW = START + 36000


@pytest.fixture
def socket_to(running: Running) -> Iterator[ClientConnection]:
    with connect(f"ws://127.0.0.1:{running.port}/api/v1/live") as websocket:
        yield websocket


def subscribe(websocket: ClientConnection, *series: str) -> None:
    websocket.send(json.dumps({"subscribe": series}))


def receive(websocket: ClientConnection) -> Any:
    return json.loads(websocket.recv(timeout=20))


def test_the_newest_values_come_at_once_and_then_what_arrives(running: Running, socket_to: ClientConnection) -> None:
    running.state("tracer", pv_power=1, load=True)
    subscribe(socket_to, "roof/*/pv_power")
    assert receive(socket_to) == [{"series": PV, "time": NOW, "value": 1}]
    running.state("tracer", pv_power=2, load=False)
    assert receive(socket_to) == [{"series": PV, "time": NOW, "value": 2}]


def test_a_device_that_appears_later_is_in_the_feed(running: Running, socket_to: ClientConnection) -> None:
    subscribe(socket_to, "*/*/*")
    running.state("newcomer", x="on")
    while (batch := receive(socket_to)) == []:
        pass
    assert batch == [{"series": "roof/newcomer/x", "time": NOW, "value": "on"}]


def test_another_subscription_replaces_the_first(running: Running, socket_to: ClientConnection) -> None:
    running.state("tracer", pv_power=1, load=True)
    subscribe(socket_to, "*/*/pv_power")
    assert [item["series"] for item in receive(socket_to)] == [PV]
    subscribe(socket_to, "*/*/load")
    assert [item["series"] for item in receive(socket_to)] == ["roof/tracer/load"]
    running.state("tracer", pv_power=2, load=False)
    assert [item["series"] for item in receive(socket_to)] == ["roof/tracer/load"]


@pytest.mark.parametrize(
    "message",
    [
        "",
        "nonsense",
        "[]",
        '{"subscribe": "a/b/c"}',
        '{"subscribe": []}',
        '{"subscribe": ["a"]}',
        '{"subscribe": [1]}',
        '{"subscribe": ["a/b/c"], "extra": 1}',
        b"\xff\xfe",
        "[" * 5000,
        json.dumps({"subscribe": [f"a/b/c{n}" for n in range(1000)]}),
    ],
)
def test_a_bad_subscription_is_answered_and_a_good_one_may_follow(
    running: Running, socket_to: ClientConnection, message: str | bytes
) -> None:
    running.state("tracer", pv_power=1)
    socket_to.send(message)
    assert list(receive(socket_to)) == ["detail"]
    subscribe(socket_to, PV)
    assert receive(socket_to)[0]["value"] == 1


def test_a_client_that_does_not_read_gets_the_newest_and_not_all(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.api.feed.GATHER_SECONDS", 0)
    plain = socket.create_connection(("127.0.0.1", running.port))
    names = [f"text{number}" for number in range(200)]
    last = 1000  # 60 MB of texts: more than a connection holds
    with connect(
        f"ws://127.0.0.1:{running.port}/api/v1/live", sock=plain, max_queue=1, ping_interval=None
    ) as websocket:
        subscribe(websocket, "*/*/*")
        for number in range(last + 1):
            running.state("tracer", **dict.fromkeys(names, f"{number:0250}"))
        running.state("tracer", end=True)
        batches: list[dict[str, object]] = []
        while not batches or batches[-1].get("roof/tracer/end") is not True:
            batches.append({item["series"]: item["value"] for item in receive(websocket)})
    newest = {series: value for batch in batches for series, value in batch.items() if series != "roof/tracer/end"}
    assert newest == {f"roof/tracer/{name}": f"{last:0250}" for name in names}
    assert len(batches) < last / 2


def test_a_client_that_leaves_is_forgotten(
    running: Running, eventually: Callable[[Callable[[], bool]], object]
) -> None:
    with connect(f"ws://127.0.0.1:{running.port}/api/v1/live") as websocket:
        subscribe(websocket, "*/*/*")
        eventually(lambda: running.live.listeners == 1)
    eventually(lambda: running.live.listeners == 0)


def test_a_client_that_is_cut_off_is_forgotten(
    running: Running, eventually: Callable[[Callable[[], bool]], object]
) -> None:
    with connect(f"ws://127.0.0.1:{running.port}/api/v1/live") as websocket:
        eventually(lambda: running.live.listeners == 1)
        websocket.socket.shutdown(socket.SHUT_RDWR)
    eventually(lambda: running.live.listeners == 0)


def test_a_page_of_another_site_may_not_listen(running: Running) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        connect(f"ws://127.0.0.1:{running.port}/api/v1/live", additional_headers={"Origin": "https://evil.example"})


def test_a_page_of_this_node_may_listen(running: Running) -> None:
    origin = f"http://127.0.0.1:{running.port}"
    with connect(f"ws://127.0.0.1:{running.port}/api/v1/live", additional_headers={"Origin": origin}) as websocket:
        running.state("tracer", pv_power=1)
        subscribe(websocket, PV)
        assert receive(websocket)[0]["value"] == 1
