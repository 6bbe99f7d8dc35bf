import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPResponse

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from services.api import connections, feed
from services.api.connections import raise_file_limit
from tests.api.conftest import Running

BEGUN = b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\nX-a: "  # and the rest of the headers does not come


@contextmanager
def sending(running: Running, address: str, data: bytes = BEGUN) -> Iterator[socket.socket]:
    with socket.socket() as client:
        client.settimeout(30)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # so that one that does not read is full soon
        client.bind((address, 0))
        client.connect(("127.0.0.1", running.port))
        client.sendall(data)
        yield client


def is_closed(client: socket.socket) -> bool:
    """Whether the server has closed a connection on which nothing has come."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_client_whose_headers_do_not_come_is_cut_off(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    with sending(running, "127.0.0.2", BEGUN + b"1\r\n\r\n") as second:
        with HTTPResponse(second) as first:
            first.begin()
            assert (first.status, bool(first.read())) == (200, True)
        monkeypatch.setattr(connections, "HEADER_SECONDS", 0.05)
        second.sendall(BEGUN)
        with sending(running, "127.0.0.2") as slow, sending(running, "127.0.0.2", b"") as silent:
            assert is_closed(slow)
            assert is_closed(silent)
        assert is_closed(second)


def test_a_client_that_reads_nothing_is_cut_off(
    running: Running, monkeypatch: pytest.MonkeyPatch, eventually: Callable[[Callable[[], object]], object]
) -> None:
    monkeypatch.setattr(connections, "STUCK_SECONDS", 0.1)
    with sending(running, "127.0.0.2", b"GET /api/v1/export?series=*/*/*&from=0&bucket=1s HTTP/1.1\r\nHost: x\r\n\r\n"):
        with httpx.Client(base_url=f"http://127.0.0.1:{running.port}/api/v1", verify=False) as other:
            assert other.get("/health").status_code == 200
        eventually(lambda: not len(running.config.slots))


def test_more_slow_connections_than_there_are_slots_keep_no_other_client_out(running: Running) -> None:
    running.config.slots = running.config.limited(most=20)
    with ExitStack() as opened, httpx.Client(verify=False) as good:
        address = f"http://127.0.0.1:{running.port}/api/v1/health"
        for number in range(60):
            opened.enter_context(sending(running, f"127.0.0.{2 + number % 6}"))
            if number % 10 == 0:
                assert good.get(address).status_code == 200
        assert httpx.get(address, verify=False).status_code == 200
        assert 10 < len(running.config.slots) <= 20


def test_the_oldest_connection_of_an_address_that_waits_makes_room_for_its_next(running: Running) -> None:
    running.config.slots = running.config.limited(most=100, each=3)
    with ExitStack() as opened:
        clients = [opened.enter_context(sending(running, "127.0.0.2")) for _ in range(4)]
        assert is_closed(clients[0])
        clients[1].sendall(b"1\r\n\r\n")
        assert clients[1].recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_listener_that_does_not_subscribe_loses_its_slot(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "SILENT_SECONDS", 0.05)
    with (
        connect(f"ws://127.0.0.1:{running.port}/api/v1/live") as silent,
        pytest.raises(ConnectionClosed, match="no subscription within"),
    ):
        silent.recv(timeout=30)


@pytest.fixture
def _few_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "LISTENER_LIMIT", 9)
    monkeypatch.setattr(feed, "EACH_LIMIT", 3)


@pytest.mark.usefixtures("_few_slots")
def test_listeners_of_one_address_do_not_take_all_slots(
    running: Running, eventually: Callable[[Callable[[], object]], object]
) -> None:
    running.state("tracer", pv_power=1)

    def listen(opened: ExitStack, address: str) -> str:
        plain = socket.create_connection(("127.0.0.1", running.port), timeout=30, source_address=(address, 0))
        websocket = opened.enter_context(connect(f"ws://127.0.0.1:{running.port}/api/v1/live", sock=plain))
        try:
            websocket.send('{"subscribe": ["roof/tracer/pv_power"]}')
            return str(websocket.recv(timeout=30))
        except ConnectionClosed as error:
            return str(error)

    with ExitStack() as opened:
        for number in range(feed.LISTENER_LIMIT):
            assert "pv_power" in listen(opened, f"127.0.0.{2 + number // feed.EACH_LIMIT}")
        assert "try again later" in listen(opened, "127.0.0.2")
        assert "pv_power" in listen(opened, "127.0.0.9")  # it gets the slot of one of the others
        eventually(lambda: running.live.listeners == feed.LISTENER_LIMIT)  # the one that lost it is on its way out


def test_the_limit_of_files_is_raised_and_connections_leave_some(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [256, 600]
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: limits.__setitem__(slice(None), wanted))
    assert raise_file_limit() == 600 - 256
    assert limits == [600, 600]
    limits[:] = [1024, resource.RLIM_INFINITY]
    assert raise_file_limit() == connections.MOST
    assert limits == [connections.FILES, resource.RLIM_INFINITY]


def test_the_service_stops_while_a_client_closes_its_websocket(running: Running) -> None:
    with connect(f"ws://127.0.0.1:{running.port}/api/v1/live"):
        (connection,) = running.connections

        def close_and_stop() -> None:
            connection.data_received(b"\x88\x80\0\0\0\0")  # a masked close frame: RFC 6455, section 5.2
            connection.shutdown()

        running.do(close_and_stop)
