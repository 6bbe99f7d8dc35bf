import getpass
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from cli import programs
from services.uploader.options import secrets
from services.uploader.redacted_options import shown
from services.uploader.target import Refused, Row, TryLater, newest_of
from services.uploader.targets.mqtt.session import BrokerSession, PublishResult, RetryVerdict
from services.uploader.targets.mqtt.target import MqttTarget, Options
from tests.conftest import LocalBroker
from tests.uploader.conftest import OpenTargets
from tests.uploader.servers.rows import START, mapped, row

PASSWORD = "a-word-hard-to-guess"
POWER, MODE = mapped("power"), mapped("mode", "", kind="text")
Opened = Callable[..., MqttTarget]
Eventually = Callable[[Callable[[], object]], Any]


class Subscriber:
    """Receives everything on a broker, from when the broker has granted that."""

    def __init__(self, port: int, user: str = "", password: str = "") -> None:
        self.received: list[tuple[str, str, bool]] = []
        self._granted = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        if user:
            self._client.username_pw_set(user, password)
        self._client.on_message = self._receive
        self._client.on_subscribe = lambda *_: self._granted.set()
        self._client.on_connect = lambda client, *_: client.subscribe("#", 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._granted.wait(30)

    def _receive(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self.received.append((message.topic, message.payload.decode(), message.retain))

    def topics(self) -> dict[str, str]:
        return {topic: payload for topic, payload, _ in self.received}

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        self._client.reinitialise()


@pytest.fixture
def subscribers() -> Iterator[Callable[..., Subscriber]]:
    made: list[Subscriber] = []

    def make(*arguments: Any) -> Subscriber:
        made.append(Subscriber(*arguments))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def opened(open_targets: OpenTargets) -> Opened:
    def make(port: int, **options: object) -> MqttTarget:
        return open_targets.add(MqttTarget, {"kind": "mqtt", "name": "m", "host": "127.0.0.1", "port": port, **options})

    return make


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[LocalBroker]:
    """A broker that knows one user, and lets it write below site/ only, up to 2000 bytes."""
    broker = LocalBroker(tmp_path)
    passwords, acl = tmp_path / "passwords", tmp_path / "acl"
    command = [programs.find("mosquitto_passwd"), "-b", "-c", str(passwords)]
    subprocess.run([*command, "writer", PASSWORD], check=True, capture_output=True)
    acl.write_text("user writer\ntopic write site/#\ntopic read #\n")
    acl.chmod(0o600)
    (tmp_path / "mosquitto.conf").write_text(
        f"listener {broker.port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\nacl_file {acl}\n"
        f"max_packet_size 2000\nlog_dest stderr\nlog_type none\nuser {getpass.getuser()}\n"
    )
    broker.start()
    yield broker
    broker.kill()


def rows(count: int) -> list[Row]:
    return [row(START + n, (POWER,), 0.5 + n) for n in range(count)]


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_every_value_is_a_message_that_was_acknowledged(
    version: str, broker: LocalBroker, opened: Opened, subscribers: Callable[..., Subscriber], eventually: Eventually
) -> None:
    subscriber = subscribers(broker.port)
    target = opened(broker.port, version=version)
    assert target.upload(rows(300)).response == "300 messages acknowledged"
    assert (
        target.upload([row(START, (POWER, MODE, mapped("on")), 7.0, "eco", True)]).response == "3 messages acknowledged"
    )
    eventually(lambda: len(subscriber.received) == 303)
    assert subscriber.received[:300] == [("house/meter/power", str(0.5 + n), False) for n in range(300)]
    assert subscriber.topics() == {"house/meter/power": "7", "house/meter/mode": "eco", "house/meter/on": "1"}


def test_a_row_is_one_json_message(
    broker: LocalBroker, opened: Opened, subscribers: Callable[..., Subscriber], eventually: Eventually
) -> None:
    subscriber = subscribers(broker.port)
    both = (POWER, MODE, mapped("power", device="pump"))
    opened(broker.port, format="json", topic="emon/JSON/$device").upload([row(START + 0.7, both, 100, "eco", 2.5)])
    eventually(lambda: len(subscriber.received) == 2)
    assert subscriber.topics() == {
        "emon/JSON/meter": '{"time":1763632800.7,"power":100,"mode":"eco"}',
        "emon/JSON/pump": '{"time":1763632800.7,"power":2.5}',
    }


def test_emonhubs_frames_are_published_as_emonhub_did(
    broker: LocalBroker, opened: Opened, subscribers: Callable[..., Subscriber], eventually: Eventually
) -> None:
    subscriber = subscribers(broker.port)
    frame = tuple(mapped(name, device="emontx") for name in ("power1", "power2", "rssi"))
    rows = [row(1_399_980_731.7, frame, 100.0, 200.5, -67.0)]
    opened(broker.port, topic="emon/$device/$name").upload(rows)
    opened(broker.port, topic="emonhub/rx/10/values", format="values").upload(rows)
    opened(broker.port, topic="emon/JSON/$device", format="json").upload(rows)
    eventually(lambda: len(subscriber.received) == 5)
    assert subscriber.topics() == {
        "emon/emontx/power1": "100",
        "emon/emontx/power2": "200.5",
        "emon/emontx/rssi": "-67",
        "emonhub/rx/10/values": "100,200.5,-67",
        "emon/JSON/emontx": '{"time":1399980731.7,"power1":100,"power2":200.5,"rssi":-67}',
    }


def test_of_values_with_commas_each_has_its_place_whatever_is_missing(open_targets: OpenTargets) -> None:
    frame = tuple(mapped(name, device="emontx") for name in ("power2", "power1", "rssi"))
    options = {"kind": "mqtt", "name": "m", "host": "127.0.0.1", "topic": "rx/$device", "format": "values"}
    target = open_targets.add(MqttTarget, options, *frame, mapped("power", device="other"), mapped("x", device="a/#"))
    target._empty = target._empty_messages()
    payloads = [
        [message.payload for message in target._messages(row(START, [frame[index] for index in indexes], *values))]
        for indexes, values in (
            ((0, 1, 2), (1.0, 2.0, 3.0)),
            ((0, 2), (1.0, 3.0)),
            ((2, 1), (3.0, 2.0)),
            ((1,), (2.0,)),
        )
    ]
    assert payloads == [[b"1,2,3"], [b"1,,3"], [b",2,3"], [b",2,"]]


def test_topic_and_payload_are_templates_and_messages_can_be_retained(
    broker: LocalBroker, opened: Opened, subscribers: Callable[..., Subscriber], eventually: Eventually
) -> None:
    target = opened(broker.port, topic="a/$channel/$name", payload="$value $unit at $time", retain=True)
    target.upload([row(START + 0.5, (mapped("p1", channel="power"),), 12.5)])
    subscriber = subscribers(broker.port)
    eventually(lambda: subscriber.received == [("a/power/p1", "12.5 W at 1763632800.5", True)])


def test_the_broker_may_come_back(
    broker: LocalBroker, opened: Opened, subscribers: Callable[..., Subscriber], eventually: Eventually
) -> None:
    target = opened(broker.port)
    target.upload(rows(1))
    broker.kill()
    with pytest.raises(TryLater):
        target.upload(rows(3))
    with pytest.raises(TryLater, match="127"):
        target.upload(rows(3))
    broker.start()
    subscriber = subscribers(broker.port)
    target.upload(rows(3))
    eventually(lambda: len(subscriber.received) == 3)


def test_a_user_a_password_and_a_right_are_needed(
    guarded: LocalBroker, opened: Opened, subscribers: Callable[..., Subscriber], eventually: Eventually
) -> None:
    with pytest.raises(TryLater, match="refuses the client") as caught:
        opened(guarded.port, user="writer", password="wrong-password", topic="site/$name").upload(rows(1))
    assert "wrong-password" not in str(caught.value)
    subscriber = subscribers(guarded.port, "writer", PASSWORD)
    writer = {"user": "writer", "password": PASSWORD}
    opened(guarded.port, **writer, topic="site/$name").upload(rows(1))
    with pytest.raises(TryLater, match="other/power: ") as caught:
        opened(guarded.port, **writer, topic="other/$name").upload(rows(2))
    assert caught.value.done == 0
    mixed = [
        row(START, (mapped("site/a"),), 1),
        row(START, (mapped("other/a"),), 2),
        row(START, (mapped("site/b"),), 3),
    ]
    with pytest.raises(TryLater) as caught:
        opened(guarded.port, **writer, topic="$name").upload(mixed)
    assert caught.value.done == 1
    eventually(lambda: set(subscriber.topics()) == {"site/power", "site/a", "site/b"})


def test_what_is_too_large_for_the_broker_is_refused_and_its_neighbours_arrive(
    guarded: LocalBroker, opened: Opened, subscribers: Callable[..., Subscriber], eventually: Eventually
) -> None:
    subscriber = subscribers(guarded.port, "writer", PASSWORD)
    many = tuple(mapped(f"channel_{n}") for n in range(200))
    target = opened(guarded.port, user="writer", password=PASSWORD, format="json", topic="site/$device")
    with pytest.raises(Refused, match="the broker takes 2000") as caught:
        target.upload([*rows(2), row(START + 2, many, *range(200)), row(START + 3, (POWER,), 9)])
    assert list(caught.value.rows) == [2]
    eventually(lambda: len(subscriber.received) == 3)


def test_what_is_not_a_number_or_no_topic_is_refused_and_its_neighbours_arrive(
    broker: LocalBroker, opened: Opened, subscribers: Callable[..., Subscriber], eventually: Eventually
) -> None:
    subscriber = subscribers(broker.port)
    bad = [row(START, (POWER,), float("nan")), row(START, (mapped("a+b"),), 1), row(START, (mapped("a#"),), 1)]
    for options in ({}, {"format": "json", "topic": "x/$device"}):
        batch = [*rows(1), *bad[: 1 if options else 3], *rows(1)]
        with pytest.raises(Refused) as caught:
            opened(broker.port, **options).upload(batch)
        assert list(caught.value.rows) == list(range(1, len(batch) - 1))
    eventually(lambda: len(subscriber.received) == 4)


class Half:
    """A broker that lets everyone in, acknowledges so many messages, and then does what `after` says."""

    def __init__(self, acknowledged: int, after: str) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._left = acknowledged
        self._after = after
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection, connection.makefile("rb") as stream:
            while head := stream.read(1):
                size = self._size(stream)
                body = stream.read(size)
                if head[0] >> 4 == 1:
                    connection.sendall(b"\x20\x03\x00\x00\x00")
                elif head[0] >> 4 == 3:
                    length = int.from_bytes(body[:2])
                    if not self._left:
                        if self._after == "break":
                            connection.shutdown(socket.SHUT_WR)  # a reset would take the acknowledgements with it
                            stream.read()
                        self._over.wait(60)
                        return
                    self._left -= 1
                    connection.sendall(b"\x40\x02" + body[2 + length : 4 + length])

    def _size(self, stream: BufferedReader) -> int:
        size = shift = 0
        while True:
            byte = stream.read(1)[0]
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return size

    def close(self) -> None:
        self._over.set()
        self._listener.close()
        self._thread.join()


def test_only_acknowledged_rows_count_as_accepted(opened: Opened) -> None:
    server = Half(3, "break")
    try:
        with pytest.raises(TryLater, match="the connection broke") as caught:
            opened(server.port).upload(rows(10))
        assert caught.value.done == 3
    finally:
        server.close()


def test_a_broker_that_falls_silent_has_not_accepted_the_rest() -> None:
    server = Half(3, "silence")
    session = BrokerSession(("127.0.0.1", server.port), "client", "5", None, timeout=30.0, acknowledgement_timeout=0.2)
    try:
        result = session.entered("", "").publish([("a", b"1")] * 10, retain=False)
        assert result.broken == "no acknowledgement in time"
        assert set(result.bad) >= set(range(3, 10))
        assert {verdict for verdict, _ in result.bad.values()} == {RetryVerdict.LATER}
    finally:
        session.close()
        server.close()


def test_someone_who_never_answers_is_tried_again(opened: Opened) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TryLater, match="no answer in time"):
        opened(silent.getsockname()[1], timeout=0.3).upload(rows(1))


def test_a_reason_that_the_broker_gave_explains_a_connection_that_broke(opened: Opened) -> None:
    class Broken:
        def is_up(self) -> bool:
            return True

        def publish(self, messages: object, *, retain: bool) -> PublishResult:
            lost = "the connection broke: Unspecified error"
            bad = {1: (RetryVerdict.LATER, "nope/power: Not authorized"), 2: (RetryVerdict.LATER, lost)}
            return PublishResult({0: (RetryVerdict.LATER, lost), **bad}, lost)

        def close(self) -> None:
            pass

    target = opened(1)
    target._session = cast("BrokerSession", Broken())
    with pytest.raises(TryLater, match="nope/power: Not authorized"):
        target.upload(rows(3))


def test_it_cannot_say_what_the_broker_has(opened: Opened) -> None:
    assert newest_of(opened(1)) is None
    assert not opened(1).limits.overwrites


def test_the_password_is_a_secret() -> None:
    options = Options(name="m", host="h", user="u", password=PASSWORD)
    assert secrets(options) == {PASSWORD}
    assert PASSWORD not in str(shown(options))


def test_tls_is_used_with_the_certificate_of_the_broker(
    tmp_path: Path, opened: Opened, subscribers: Callable[..., Subscriber]
) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl on this machine")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *[openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
            *["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=localhost"],
            *["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"],
        ],
        check=True,
        capture_output=True,
    )
    broker = LocalBroker(tmp_path)
    (tmp_path / "mosquitto.conf").write_text(
        f"listener {broker.port} 127.0.0.1\nallow_anonymous true\ncertfile {certificate}\nkeyfile {key}\n"
        f"log_dest stderr\nlog_type none\nuser {getpass.getuser()}\n"
    )
    broker.start()
    try:
        assert opened(broker.port, ca=str(certificate)).upload(rows(2)).response == "2 messages acknowledged"
        with pytest.raises(TryLater, match="TLS"):
            opened(broker.port, tls=True).upload(rows(2))
        with pytest.raises(TryLater):
            opened(broker.port).upload(rows(2))
    finally:
        broker.kill()


@pytest.mark.parametrize(
    "wrong",
    [
        {"host": "mqtt://h"},
        {"port": 70_000},
        {"user": "", "password": "x"},
        {"certificate": "/nonexistent"},
        {"ca": "/nonexistent"},
        {"topic": "a/#"},
        {"topic": "a/$who"},
        {"topic": "a/$name", "format": "json"},
        {"payload": "$"},
        {"order": "sometimes"},
    ],
)
def test_options_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError, match=next(iter(wrong))):
        msgspec.convert({"name": "m", "host": "h", **wrong}, Options)
