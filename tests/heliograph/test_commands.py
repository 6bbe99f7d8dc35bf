import queue
import threading
from collections.abc import Callable, Iterator

import pytest

from heliograph import topics
from heliograph.bus import Bus, Message
from heliograph.commands import NoAnswer, Requests, serve
from heliograph.config import Broker
from tests.conftest import LocalBroker, free_port

Eventually = Callable[[Callable[[], object]], object]


@pytest.fixture
def server(broker: LocalBroker) -> Iterator[Bus]:
    with Bus(Broker(port=broker.port), "n", "server") as bus:
        assert bus.wait_connected(30)
        yield bus


@pytest.fixture
def client(broker: LocalBroker) -> Iterator[Bus]:
    with Bus(Broker(port=broker.port), "n", "client") as bus:
        assert bus.wait_connected(30)
        yield bus


def noting(requests: "queue.SimpleQueue[bytes]") -> Callable[[bytes], bytes]:
    def handler(payload: bytes) -> bytes:
        requests.put(payload)
        return payload

    return handler


def ready(server: Bus) -> None:
    """Wait until the broker knows every subscription of a bus: a message to itself comes back."""
    arrived = threading.Event()
    server.subscribe("ready", lambda _: arrived.set())
    server.publish("ready", b"")
    assert arrived.wait(30)


def test_a_command_is_answered(server: Bus, client: Bus) -> None:
    serve(server, "n", "server", "double", lambda payload: payload * 2)
    serve(server, "n", "server", "empty", lambda _: b"")
    ready(server)
    requests = Requests(client, "n", "client")
    assert requests.ask("n", "server", "double", b"ab", 30) == b"abab"
    assert requests.ask("n", "server", "double", b"", 30) == b""
    assert requests.ask("n", "server", "empty", b"x", 30) == b""


def test_concurrent_requests_get_their_own_answers(server: Bus, client: Bus) -> None:
    serve(server, "n", "server", "echo", lambda payload: payload)
    ready(server)
    requests = Requests(client, "n", "client")
    answers: dict[int, bytes] = {}

    def ask(number: int) -> None:
        answers[number] = requests.ask("n", "server", "echo", str(number).encode(), 30)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: str(number).encode() for number in range(20)}


def test_a_request_without_a_server_is_no_answer(client: Bus) -> None:
    with pytest.raises(NoAnswer, match="server on n did not answer reboot within"):
        Requests(client, "n", "client").ask("n", "server", "reboot", timeout=0.05)


def test_a_broker_that_is_away_is_no_answer_at_once() -> None:
    with Bus(Broker(port=free_port()), "n", "client") as bus, pytest.raises(NoAnswer, match="the broker is away"):
        Requests(bus, "n", "client").ask("n", "server", "echo", timeout=1e9)


def test_answers_come_after_the_broker_was_away(
    broker: LocalBroker, server: Bus, client: Bus, eventually: Eventually
) -> None:
    serve(server, "n", "server", "echo", lambda payload: payload)
    ready(server)
    requests = Requests(client, "n", "client")
    assert requests.ask("n", "server", "echo", b"1", 30) == b"1"
    broker.kill()
    eventually(lambda: not server.connected and not client.connected)
    broker.start()
    assert server.wait_connected(30)
    assert client.wait_connected(30)
    ready(server)
    ready(client)
    assert requests.ask("n", "server", "echo", b"2", 30) == b"2"


def test_an_answer_that_no_request_waits_for_does_no_harm(server: Bus, client: Bus) -> None:
    serve(server, "n", "server", "echo", lambda payload: payload)
    ready(server)
    requests = Requests(client, "n", "client")
    requests.ask("n", "server", "echo", b"", 30)
    server.publish(topics.response("n", "client", "echo"), b"late", correlation=b"forgotten")
    server.publish(topics.response("n", "client", "echo"), b"no correlation")
    assert requests.ask("n", "server", "echo", b"still", 30) == b"still"


def test_a_request_without_a_response_topic_is_carried_out(server: Bus, client: Bus) -> None:
    done: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    serve(server, "n", "server", "do", noting(done))
    ready(server)
    client.publish(topics.request("n", "server", "do"), b"it", qos=1)
    assert done.get(timeout=30) == b"it"


def test_a_retained_request_is_not_carried_out_again_at_every_connect(server: Bus, client: Bus) -> None:
    done: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    client.publish(topics.request("n", "server", "do"), b"old", qos=1, retain=True)
    ready(client)
    serve(server, "n", "server", "do", noting(done))
    ready(server)
    client.publish(topics.request("n", "server", "do"), b"new", qos=1)
    assert done.get(timeout=30) == b"new"


@pytest.mark.parametrize("where", [topics.service("n", "server", "status"), "elsewhere"])
def test_no_response_is_published_outside_of_response_topics(server: Bus, client: Bus, where: str) -> None:
    served: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    seen: queue.SimpleQueue[Message] = queue.SimpleQueue()
    serve(server, "n", "server", "echo", noting(served))
    ready(server)
    client.subscribe(where, seen.put)
    ready(client)
    client.publish(topics.request("n", "server", "echo"), b"x", qos=1, response_topic=where, correlation=b"c")
    served.get(timeout=30)
    ready(server)
    ready(client)
    assert seen.empty()
    assert Requests(client, "n", "client").ask("n", "server", "echo", b"y", 30) == b"y"


@pytest.mark.parametrize("where", ["a/#", "+"])
def test_a_response_topic_with_wildcards_harms_only_its_sender(
    server: Bus, client: Bus, where: str, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    served: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    serve(server, "n", "server", "echo", noting(served))
    ready(server)
    client.publish(topics.request("n", "server", "echo"), b"x", response_topic=where, correlation=b"c")
    # Mosquitto 2.0.11 passes it on; 2.0.21 disconnects the sender.
    eventually(lambda: not served.empty() or "Protocol error" in caplog.text)
    assert client.wait_connected(30)
    assert Requests(client, "n", "client").ask("n", "server", "echo", b"y", 30) == b"y"
