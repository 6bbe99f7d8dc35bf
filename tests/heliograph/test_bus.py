"""The bus against a real Mosquitto that is killed, comes back, refuses, and asks for certificates."""

import contextlib
import logging
import queue
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli import programs
from heliograph.bus import Bus, Message
from heliograph.config import Broker
from tests.conftest import LocalBroker, free_port, mosquitto_command

Eventually = Callable[[Callable[[], object]], object]
PATIENCE = 30.0


@contextlib.contextmanager
def connected(
    port: int,
    service: str = "a",
    *,
    will: tuple[str, bytes] | None = None,
    persistent: bool = False,
    manual_ack: bool = False,
) -> Iterator[Bus]:
    with Bus(Broker(port=port), "n", service, will=will, persistent=persistent, manual_ack=manual_ack) as bus:
        assert bus.wait_connected(PATIENCE)
        yield bus


def subscribed(bus: Bus, topic: str, **options: int) -> "queue.SimpleQueue[Message]":
    inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
    bus.subscribe(topic, inbox.put, **options)
    return inbox


def connection(bus: Bus) -> socket.socket:
    assert bus._link
    client_socket = bus._link.client.socket()
    assert isinstance(client_socket, socket.socket)
    return client_socket


def payload(inbox: "queue.SimpleQueue[Message]") -> bytes:
    return inbox.get(timeout=PATIENCE).payload


def test_a_message_arrives_with_its_topic_and_payload(broker: LocalBroker) -> None:
    with connected(broker.port) as bus, connected(broker.port, "b") as other:
        inbox = subscribed(other, "x/+")
        assert other.publish("x/ready", b"")
        assert payload(inbox) == b""
        assert bus.publish("x/y", b"\x00\xff", qos=1)
        message = inbox.get(timeout=PATIENCE)
        assert (message.topic, message.payload, message.retained) == ("x/y", b"\x00\xff", False)


def test_a_subscriber_with_several_filters_that_match_is_called_once_for_a_message(broker: LocalBroker) -> None:
    received: list[Message] = []
    with connected(broker.port) as bus, connected(broker.port, "b") as other:
        for topic_filter in ("x/+", "+/y", "#"):
            other.subscribe(topic_filter, received.append)
        end = subscribed(other, "end")
        assert other.publish("end", b"subscribed")
        assert payload(end) == b"subscribed"
        assert bus.publish("x/y", b"1", qos=1)
        assert bus.publish("end", b"done", qos=1)
        while payload(end) != b"done":
            pass
    matching = [message for message in received if message.topic == "x/y"]
    assert matching
    assert len({id(message) for message in matching}) == len(matching)  # a broker may send a copy for each filter


def test_a_broker_without_retained_messages_takes_what_others_would_retain(
    broker: LocalBroker, caplog: pytest.LogCaptureFixture, eventually: Eventually
) -> None:
    broker.kill()
    broker.set("retain_available", "false")
    broker.start()
    with connected(broker.port, "b") as other:
        inbox = subscribed(other, "#")
        assert other.publish("ready", b"")
        assert payload(inbox) == b""
        with connected(broker.port, will=("status", b"offline")) as bus:
            assert bus.publish("fact", b"1", qos=1, retain=True)
            assert payload(inbox) == b"1"
            connection(bus).shutdown(socket.SHUT_RDWR)
            assert payload(inbox) == b"offline"
            eventually(lambda: bus.connects == 2)
    assert [record.message for record in caplog.records].count(
        "the broker keeps no retained messages: descriptions come when somebody asks for them"
    ) == 2  # once for each client


def test_a_retained_message_is_marked_as_retained(broker: LocalBroker) -> None:
    with connected(broker.port) as bus:
        bus.publish("fact", b"1", qos=1, retain=True)
        message = subscribed(bus, "fact").get(timeout=PATIENCE)
        assert (message.payload, message.retained) == (b"1", True)


def test_starting_and_stopping_never_wait_for_a_broker_that_is_away() -> None:
    with Bus(Broker(port=free_port()), "n", "a") as bus:
        assert not bus.connected
        assert not bus.publish("x", b"dropped", qos=1)
        bus.subscribe("x", lambda _: None)
        bus.on_connect(lambda: None)


def test_the_bus_comes_back_with_its_subscriptions_whenever_the_broker_does(
    broker: LocalBroker, eventually: Eventually
) -> None:
    calls: list[int] = []
    broker.kill()
    with Bus(Broker(port=broker.port), "n", "a") as bus:
        bus.on_connect(lambda: calls.append(bus.connects))
        inbox = subscribed(bus, "x")
        for life in range(1, 4):
            assert not bus.connected
            broker.start()
            assert bus.wait_connected(PATIENCE)
            assert bus.publish("x", str(life).encode(), qos=1)
            assert payload(inbox) == str(life).encode()
            late = subscribed(bus, f"late/{life}")
            bus.publish(f"late/{life}", b"", qos=1)
            assert payload(late) == b""
            broker.kill()
            eventually(lambda: not bus.connected)
        assert calls == [1, 2, 3]


def test_a_connect_callback_is_called_at_once_while_the_broker_is_there(broker: LocalBroker) -> None:
    with connected(broker.port) as bus:
        calls: list[None] = []
        bus.on_connect(lambda: calls.append(None))
        assert calls == [None]


def test_the_loss_of_the_broker_is_one_warning_however_often_it_is_tried(
    broker: LocalBroker, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), connected(broker.port) as bus:
        broker.kill()
        eventually(lambda: not bus.connected)
        eventually(lambda: any("is away" in text for text in caplog.messages))
        tried = threading.Event()
        tried.wait(2.0)  # several attempts
        broker.start()
        assert bus.wait_connected(PATIENCE)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len([text for text in warnings if text.startswith("lost the broker")]) == 1
    assert len([text for text in warnings if "is away" in text]) == 1
    assert len(warnings) == 2


def test_two_clients_of_one_name_are_suspected_after_a_while(
    broker: LocalBroker, caplog: pytest.LogCaptureFixture, eventually: Eventually
) -> None:
    with connected(broker.port), connected(broker.port):
        eventually(lambda: "another machine on it may be called n, too" in caplog.text)


def test_the_last_will_is_sent_when_the_connection_is_cut_and_not_after_a_goodbye(broker: LocalBroker) -> None:
    with connected(broker.port, "watcher") as watcher:
        wills = subscribed(watcher, "will/#")
        watcher.publish("will/ready", b"ready")
        assert payload(wills) == b"ready"
        with connected(broker.port, "polite", will=("will/polite", b"offline")):
            pass
        with connected(broker.port, "cut", will=("will/cut", b"offline")) as cut:
            connection(cut).shutdown(socket.SHUT_RDWR)
            message = wills.get(timeout=PATIENCE)
        assert (message.topic, message.payload) == ("will/cut", b"offline")
        assert wills.empty()


def test_messages_that_were_not_acknowledged_come_again_in_order(broker: LocalBroker) -> None:
    with connected(broker.port, "b") as other:
        with connected(broker.port, persistent=True, manual_ack=True) as bus:
            inbox = subscribed(bus, "journal")
            bus.publish("journal", b"subscribed", qos=1)
            inbox.get(timeout=PATIENCE).ack()
            for number in range(5):
                other.publish("journal", str(number).encode(), qos=1)
            taken = [inbox.get(timeout=PATIENCE) for _ in range(5)]
            assert [message.payload for message in taken] == [b"0", b"1", b"2", b"3", b"4"]
            taken[0].ack()
            taken[1].ack()
            # the acknowledgements have arrived when a message that was sent later comes back
            echo = subscribed(bus, "echo", qos=0)
            bus.publish("echo", b"")
            assert payload(echo) == b""
        for number in range(5, 8):
            other.publish("journal", str(number).encode(), qos=1)
        bus = Bus(Broker(port=broker.port), "n", "a", persistent=True, manual_ack=True)
        again = subscribed(bus, "journal")
        with bus:
            redelivered = [again.get(timeout=PATIENCE) for _ in range(6)]
            assert [message.payload for message in redelivered] == [b"2", b"3", b"4", b"5", b"6", b"7"]
            for message in redelivered:
                message.ack()


def test_messages_without_a_subscription_do_not_block_a_persistent_session(broker: LocalBroker) -> None:
    with connected(broker.port, persistent=True, manual_ack=True) as bus:
        inbox = subscribed(bus, "old/#")
        bus.publish("old/x", b"", qos=1)
        inbox.get(timeout=PATIENCE).ack()
    with connected(broker.port, "b") as other:
        for _ in range(20):
            other.publish("old/x", b"for no subscription", qos=1)
        echo = subscribed(other, "echo")
        other.publish("echo", b"", qos=1)  # after the others: once it is back, the broker has queued them
        assert payload(echo) == b""
        with connected(broker.port, persistent=True, manual_ack=True) as bus:
            mine = subscribed(bus, "new")
            bus.publish("new", b"", qos=1)
            mine.get(timeout=PATIENCE).ack()
        with connected(broker.port, persistent=True, manual_ack=True) as bus:
            everything = subscribed(bus, "#")
            bus.publish("end", b"", qos=1)
            assert everything.get(timeout=PATIENCE).topic == "end"


def test_an_acknowledgement_for_a_connection_that_is_gone_does_no_harm(
    broker: LocalBroker, eventually: Eventually
) -> None:
    with connected(broker.port, manual_ack=True) as bus:
        inbox = subscribed(bus, "x")
        bus.publish("x", b"", qos=1)
        message = inbox.get(timeout=PATIENCE)
        broker.kill()
        eventually(lambda: not bus.connected)
        message.ack()
        broker.start()
        assert bus.wait_connected(PATIENCE)
        message.ack()
        bus.publish("x", b"next", qos=1)
        assert payload(inbox) == b"next"


def test_small_messages_do_not_wait_for_one_another(broker: LocalBroker) -> None:
    with connected(broker.port) as bus:
        assert connection(bus).getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_subscriptions_from_many_threads_while_the_bus_connects_are_all_there(
    broker: LocalBroker, eventually: Eventually
) -> None:
    broker.kill()
    got: set[str] = set()
    with Bus(Broker(port=broker.port), "n", "a") as bus:

        def subscribe(first: int) -> None:
            for number in range(first, first + 50):
                bus.subscribe(f"t/{number}", lambda message: got.add(message.topic))

        threads = [threading.Thread(target=subscribe, args=(first,)) for first in (0, 50, 100)]
        broker.start()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert bus.wait_connected(PATIENCE)
        for number in range(150):
            bus.publish(f"t/{number}", b"", qos=1)
        eventually(lambda: len(got) == 150)


@pytest.fixture
def other_broker(tmp_path: Path, eventually: Eventually) -> Iterator[Callable[[str], int]]:
    """Start Mosquitto with other settings; return its port."""
    with contextlib.ExitStack() as running:

        def start(settings: str) -> int:
            port = free_port()
            file = tmp_path / f"{port}.conf"
            file.write_text(f"listener {port} 127.0.0.1\n{settings}\nlog_dest none\nuser root\n")
            process = running.enter_context(subprocess.Popen([mosquitto_command(), "-c", str(file)]))
            running.callback(process.kill)
            eventually(lambda: listens(port))
            return port

        yield start


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_wrong_password_is_reported_once_and_never_shown(
    tmp_path: Path, other_broker: Callable[[str], int], eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(
        [programs.find("mosquitto_passwd"), "-b", "-c", str(passwords), "a", "right"], check=True, capture_output=True
    )
    passwords.chmod(0o644)
    port = other_broker(f"allow_anonymous false\npassword_file {passwords}")
    with Bus(Broker(port=port, password="right"), "n", "a") as bus:
        assert bus.wait_connected(PATIENCE)
    with Bus(Broker(port=port, password="hunter2"), "n", "a") as bus:
        eventually(lambda: any("refuses a" in text for text in caplog.messages))
        assert not bus.wait_connected(2.0)
    assert len(caplog.messages) == 1
    assert "ot authori" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_refusal_by_a_broker_that_comes_back_is_logged(
    tmp_path: Path,
    broker: LocalBroker,
    other_broker: Callable[[str], int],
    eventually: Eventually,
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker.kill()
    with Bus(Broker(port=broker.port), "n", "a"):
        eventually(lambda: any("is away" in text for text in caplog.messages))
        config = Path(tmp_path / "refuse.conf")
        config.write_text(f"listener {broker.port} 127.0.0.1\nallow_anonymous false\nlog_dest none\nuser root\n")
        with subprocess.Popen([mosquitto_command(), "-c", str(config)]) as process:
            eventually(lambda: any("refuses a" in text for text in caplog.messages))
            process.kill()


# paho leaves the socket of a failed handshake to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_takes_the_authority_that_is_configured_and_no_other(
    tmp_path: Path, other_broker: Callable[[str], int], eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl on this machine")
    for name in ("mine", "foreign"):
        new = f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name} -addext subjectAltName=IP:127.0.0.1"
        files = ["-keyout", str(tmp_path / f"{name}.key"), "-out", str(tmp_path / f"{name}.pem")]
        subprocess.run([openssl, *new.split(), *files], check=True, capture_output=True)
        (tmp_path / f"{name}.key").chmod(0o644)
    certificate = f"certfile {tmp_path / 'mine.pem'}\nkeyfile {tmp_path / 'mine.key'}\nallow_anonymous true"
    port = other_broker(certificate)
    with Bus(Broker(port=port, ca=str(tmp_path / "mine.pem")), "n", "a") as bus:
        assert bus.wait_connected(PATIENCE)
        inbox = subscribed(bus, "x")
        bus.publish("x", b"sealed", qos=1)
        assert payload(inbox) == b"sealed"
        assert connection(bus).getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    with Bus(Broker(port=port, ca=str(tmp_path / "foreign.pem")), "n", "a") as bus:
        eventually(lambda: any("certificate verify failed" in text for text in caplog.messages))
        assert not bus.connected


class Stopping(threading.Event):
    """Is set by the twelfth wait, and does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.pauses.append(timeout or 0.0)
        if len(self.pauses) == 12:
            self.set()
        return self.is_set()


def test_the_pause_between_attempts_to_connect_stays_short() -> None:
    """Case K10: half a minute after the broker was back values were not live yet."""
    bus, stopping = Bus(Broker(port=free_port()), "n", "a"), Stopping()
    bus._stop = stopping
    bus._keep_connected()
    assert len(stopping.pauses) == 12
    assert max(stopping.pauses) <= 3.0
