import json
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from heliograph.messages import Channel, Info
from services.api.ingest import bodies
from services.api.ingest.keys import hashed
from tests.api.receiver import KEY, LIMIT, NOW, Receiver, receiver_at

READINGS = "/api/v1/readings"
GOOD = {"device": "attic", "values": {"temperature": 21.4}, "time": NOW}


@pytest.fixture
def receiver(tmp_path: Path, data: Path) -> Iterator[Receiver]:
    with receiver_at(tmp_path) as made:
        yield made


def refused(answer: httpx.Response, status: int = 422) -> str:
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["detail"]
    return str(answer.json()["detail"])


def test_a_reading_is_accepted_once_it_is_in_the_outbox(receiver: Receiver) -> None:
    answer = receiver.post(READINGS, json=GOOD)
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1})
    assert receiver.producer.readings == [("attic", {"temperature": 21.4}, NOW)]
    assert receiver.producer.flushes == 1
    assert receiver.producer.states == {"attic": "online"}
    assert receiver.counted["requests_readings"] == 1
    assert receiver.intake.counters() == {"readings_http": 1, "devices_http": 1, "no_value": 0}


def test_a_sender_may_wait_for_the_disk(receiver: Receiver) -> None:
    for durable, waits in (("1", 1), ("true", 1), ("0", 0), ("false", 0), ("", 0)):
        before = receiver.producer.forced
        answer = receiver.post(f"{READINGS}?durable={durable}", json=GOOD)
        assert (answer.status_code, answer.json()) == (202, {"accepted": 1})
        assert receiver.producer.forced - before == waits
    assert "durable='yes' is neither 1 nor 0" in refused(receiver.post(f"{READINGS}?durable=yes", json=GOOD))
    receiver.producer.disk_is_full = True
    answer = receiver.post(f"{READINGS}?durable=1", json=GOOD)
    assert "the disk of this node refuses the readings" in refused(answer, 503)
    assert "retry-after" in answer.headers


def test_readings_are_posted_and_not_got(receiver: Receiver) -> None:
    """The files of the page are looked for under any path, so that there was none of this one."""
    answer = receiver.get(READINGS)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.json()["detail"].startswith("GET is not for /api/v1/readings")


def test_nothing_is_answered_before_the_outbox_has_it(receiver: Receiver, eventually: Callable[..., Any]) -> None:
    receiver.producer.may_flush.clear()
    answers: list[int] = []
    sender = threading.Thread(target=lambda: answers.append(receiver.post(READINGS, json=GOOD).status_code))
    sender.start()
    eventually(lambda: receiver.producer.flushes, what="a flush of the outbox")
    assert receiver.get("/api/v1/nodes").status_code == 200  # the event loop continues
    assert answers == []
    receiver.producer.may_flush.set()
    sender.join()
    assert answers == [202]


def test_requests_that_come_during_a_flush_share_the_next(
    receiver: Receiver, eventually: Callable[[Callable[[], Any]], Any]
) -> None:
    receiver.producer.may_flush.clear()
    answers: list[int] = []

    def send(number: int) -> None:
        reading = {"device": f"d{number}", "values": {"a": number}}
        headers = {"authorization": f"Bearer {KEY}"}
        answers.append(
            httpx.post(f"{receiver.url}{READINGS}", json=reading, headers=headers, timeout=30, verify=False).status_code
        )

    senders = [threading.Thread(target=send, args=(number,)) for number in range(9)]
    for sender in senders:
        sender.start()
    eventually(lambda: len(receiver.producer.readings) == 9)
    receiver.producer.may_flush.set()
    for sender in senders:
        sender.join()
    assert answers == [202] * 9
    assert receiver.producer.flushes <= 3


def test_the_time_is_now_unless_given_and_may_be_iso_8601(receiver: Receiver) -> None:
    readings = [
        {"device": "attic", "values": {"temperature": 1}},
        {"device": "attic", "values": {"temperature": 2}, "time": "2025-11-20T11:20:00+01:00"},
    ]
    assert receiver.post(READINGS, json=readings).json() == {"accepted": 2}
    assert [at for _, _, at in receiver.producer.readings] == [None, NOW]


def test_a_reading_that_is_ahead_of_the_clock_is_refused_with_a_sentence(receiver: Receiver) -> None:
    ahead = {**GOOD, "time": time.time() + 3600}  # an ESP with local time for UTC
    assert "3600 s in the future by the clock of this node, at most 600 s are accepted; set the" in refused(
        receiver.post(READINGS, json=ahead)
    )
    assert receiver.producer.readings == []
    assert receiver.post(READINGS, json={**GOOD, "time": time.time() + 500}).status_code == 202
    assert receiver.intake.newest("attic") == {}  # a client does not continue from there
    receiver.clock_is_right = False
    assert receiver.post(READINGS, json=ahead).status_code == 202


def test_the_info_of_a_device_is_remembered_over_a_restart(tmp_path: Path, data: Path) -> None:
    about = {"model": "ESP32", "interval": 60, "channels": {"temperature": {"unit": "degC", "label": "Attic"}}}
    with receiver_at(tmp_path) as first:
        assert first.post(READINGS, json={**GOOD, "info": about}).status_code == 202
    with receiver_at(tmp_path) as second:
        reading = {"device": "attic", "values": {"temperature": 2, "open": True, "mode": "heat"}}
        assert second.post(READINGS, json=reading).status_code == 202
        channels = {
            "temperature": Channel("°C", label="Attic"),
            "open": Channel(kind="state"),
            "mode": Channel(kind="text"),
        }
        assert second.producer.infos == {"attic": Info("ESP32", channels, 60.0, "api")}


def test_without_any_info_a_device_has_a_model_and_no_units(receiver: Receiver) -> None:
    receiver.post(READINGS, json=GOOD)
    assert receiver.producer.infos == {"attic": Info("HTTP", {"temperature": Channel()}, 0.0, "api")}


def test_a_bad_item_is_named_and_nothing_is_accepted(receiver: Receiver) -> None:
    for item, words in [
        ({"values": {"a": 1}}, "[1]: missing: device"),
        ({"device": "Attic 1", "values": {"a": 1}}, "device: 'Attic 1' is not the name of a device"),
        ({"device": "a" * 64, "values": {"a": 1}}, "is not the name of a device"),
        ({"device": 7, "values": {"a": 1}}, "[1].device: expected str, found 7"),
        ({"device": "attic"}, "missing: values"),
        ({"device": "attic", "values": {}}, "values: is empty"),
        ({"device": "attic", "values": [1]}, "values: expected object, found [1]"),
        ({"device": "attic", "values": {"A b": 1}}, "values: 'A b' is not the name of a channel"),
        ({"device": "attic", "values": {"a": {"b": 1}}}, "[1].values.a: expected"),
        ({"device": "attic", "values": {"a": "x" * 256}}, "values.a: 'xxx"),
        ({"device": "attic", "values": {"a": 1}, "time": "noon"}, "time='noon' is not a time"),
        ({"device": "attic", "values": {"a": 1}, "time": NOW * 1000}, "expected seconds, not milliseconds"),
        ({"device": "attic", "values": {"a": 1}, "time": 1}, "time: 1 is before 2000"),
        ({"device": "attic", "values": {"a": 1}, "time": [1]}, "time: expected"),
        ({"device": "attic", "values": {"a": 1}, "tiem": 1}, "no such option: tiem"),
        ({"device": "attic", "values": {"a": 1}, "info": {"channels": {"a": {"unit": "parsec"}}}}, "unknown unit"),
        ({"device": "attic", "values": {"a": 1}, "info": {"channels": {"a": {"kind": "text"}}}}, "kind text"),
        ({"device": "attic", "values": {"a": 1}, "info": {"interval": -1}}, "info.interval"),
        ({"device": "attic", "values": {f"c{n}": 1 for n in range(300)}}, "at most 256 channels"),
        ({"device": "\ud800", "values": {"a": 1}}, "device: expected str, found None"),
        ({"device": "attic", "values": {"\ud800": 1}}, "is not the name of a channel"),
        (7, "expected object"),
    ]:
        body = json.dumps([GOOD, item])
        detail = refused(receiver.post(READINGS, content=body))
        assert words in detail
        assert detail.startswith("[1]")
    assert receiver.producer.readings == []
    assert receiver.counted["refused_content"] == 22
    assert [where for _, _, where in receiver.aside] == ["readings"] * 22


def test_what_is_no_reading_is_refused(receiver: Receiver) -> None:
    for body in [b"", b"x", b"[]", b"null", b"{", b"\xff", b"[" * 50_000, b"1" * 5000, b'{"a":1e999}']:
        refused(receiver.post(READINGS, content=body))


def test_what_a_sender_has_no_value_for_is_counted_and_the_others_are_accepted(receiver: Receiver) -> None:
    body = (
        b'[{"device":"a","values":{"b":nan,"c":1e400,"d":null}},{"device":"nodered","values":{"power":3,"temp":-NAN}}]'
    )
    answer = receiver.post(READINGS, content=body)
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "no_value": 4})
    assert receiver.producer.readings == [("nodered", {"power": 3}, None)]
    assert receiver.intake.counters() == {"readings_http": 1, "devices_http": 1, "no_value": 4}


def test_a_key_that_comes_twice_is_refused_with_a_sentence(receiver: Receiver) -> None:
    for body in [
        '{"device":"a","values":{"b":1,"b":2}}',
        f'{{"device":"a","time":{NOW},"values":{{"b":1}},"time":{NOW - 60}}}',
        '[{"device":"a","values":{"b":1}},{"device":"c","values":{"b":1},"values":{"d":1}}]',
    ]:
        assert "comes twice" in refused(receiver.post(READINGS, content=body))
    assert receiver.producer.readings == []


def test_an_integer_that_no_store_holds_is_refused(receiver: Receiver) -> None:
    refused(receiver.post(READINGS, content=b'{"device":"a","values":{"b":' + b"9" * 400 + b"}}"))


def test_a_device_of_another_service_is_refused(receiver: Receiver) -> None:
    info = {"model": "SDM120", "channels": {}, "service": "modbus_poller"}
    receiver.running.tell("heliograph/roof/devices/attic/info", info)
    assert "is published by modbus_poller" in refused(receiver.post(READINGS, json=GOOD), 409)
    receiver.running.tell("heliograph/roof/devices/attic/info", {**info, "service": "api"})
    assert receiver.post(READINGS, json=GOOD).status_code == 202


def test_while_the_disk_refuses_the_answer_is_503_with_retry_after(receiver: Receiver) -> None:
    receiver.producer.disk_is_full = True
    answer = receiver.post(READINGS, json=GOOD)
    assert "send them again" in refused(answer, 503)
    assert int(answer.headers["retry-after"]) > 0
    assert receiver.counted["refused_unavailable"] == 1
    assert receiver.intake.readings == 0


def test_a_body_that_is_too_long_is_refused_however_it_comes(receiver: Receiver) -> None:
    long = b" " * (LIMIT + 1)
    assert "longer than" in refused(receiver.post(READINGS, content=long), 413)
    assert "longer than" in refused(receiver.post(READINGS, content=iter([long[:-9], long[:9]])), 413)
    packed = zlib.compress(b" " * 10_000_000)
    assert len(packed) < LIMIT
    answer = receiver.post(READINGS, content=packed, headers={"content-encoding": "deflate"})
    assert "longer than" in refused(answer, 413)
    assert receiver.counted["refused_body"] == 3


def test_a_packed_body_is_unpacked(receiver: Receiver) -> None:
    for encoding, wbits in (("gzip", 31), ("deflate", 15)):
        machine = zlib.compressobj(wbits=wbits)
        packed = machine.compress(json.dumps(GOOD).encode()) + machine.flush()
        headers = {"content-encoding": encoding}
        assert receiver.post(READINGS, content=packed, headers=headers).status_code == 202
        assert "cut off" in refused(receiver.post(READINGS, content=packed[:-4], headers=headers), 400)
        assert "cut off" in refused(receiver.post(READINGS, content=packed + b"x", headers=headers), 400)
    refused(receiver.post(READINGS, content=b"x", headers={"content-encoding": "br"}), 415)
    refused(receiver.post(READINGS, content=b"x", headers={"content-encoding": "gzip"}), 400)


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Basic eDp5"}, {"authorization": "Bearer"}, {"x-api-key": ""}]
)
def test_without_a_key_nothing_is_accepted(receiver: Receiver, headers: dict[str, str]) -> None:
    answer = receiver.post(READINGS, key="", json=GOOD, headers=headers)
    assert "a key is missing" in refused(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"
    assert receiver.producer.readings == []


def _begun(key: str = "", path: str = READINGS, length: int = 9, body: bytes = b"[") -> bytes:
    """A request of which the rest does not come."""
    header = f"X-Api-Key: {key}\r\n" if key else ""
    return f"POST {path} HTTP/1.1\r\nHost: roof\r\n{header}Content-Length: {length}\r\n\r\n".encode() + body


@contextmanager
def _sending(receiver: Receiver, address: str, request: bytes) -> Iterator[socket.socket]:
    """A client at an address of the loopback network that has sent the beginning of a request."""
    source = (address, 0)
    with socket.create_connection(("127.0.0.1", receiver.running.port), timeout=30, source_address=source) as client:
        client.sendall(request)
        yield client


@pytest.mark.parametrize("path", [READINGS, "/input/post"])  # where the key may be in the body, too
def test_bodies_without_a_key_that_do_not_end_keep_no_sender_waiting(
    receiver: Receiver, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "DISCARD_SECONDS", 0.05)
    whole, rest = divmod(bodies.HELD_BYTES - 10, LIMIT - 1)
    with ExitStack() as opened:
        for number, length in enumerate([*[LIMIT - 1] * whole, rest]):  # all the memory that there is for bodies
            request = _begun("", path, length + 1, bytes(length))
            opened.enter_context(_sending(receiver, f"127.0.0.{2 + number % 100}", request))
        for _ in range(20):
            assert receiver.post(READINGS, json=GOOD).status_code == 202
            answer = receiver.post("/input/post", key="", data={"apikey": KEY, "node": "1", "csv": "1,2"})
            assert (answer.status_code, answer.text) == (200, "ok")


def test_of_bodies_that_do_not_end_the_one_that_waits_longest_gives_up(receiver: Receiver) -> None:
    begun = _begun("", "/input/post", LIMIT, bytes(LIMIT - 1))
    with ExitStack() as opened:
        clients = [opened.enter_context(_sending(receiver, "127.0.0.2", begun)) for _ in range(3)]
        assert clients[0].recv(4096).startswith(b"HTTP/1.1 503 ")
        clients[2].sendall(b"x")
        assert clients[2].recv(4096).startswith(b"HTTP/1.1 401 ")  # the whole body came: there is no key in it


def test_the_key_is_looked_at_before_the_body(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "DISCARD_SECONDS", 0.05)
    for path in (READINGS, "/input/bulk?apikey=wrong", "/input/post?apikey=wrong"):
        with _sending(receiver, "127.0.0.2", _begun("", path)) as client:
            assert client.recv(4096).startswith(b"HTTP/1.1 401 ")
    monkeypatch.setattr(bodies, "DISCARD_SECONDS", 30)
    waits = _begun(path=READINGS, body=b"").replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
    with _sending(receiver, "127.0.0.2", waits) as client:
        assert client.recv(4096).startswith(b"HTTP/1.1 401 ")


def test_a_body_that_does_not_come_is_not_waited_for(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.1)
    with socket.create_connection(("127.0.0.1", receiver.running.port), timeout=30) as connection:
        connection.sendall(_begun(KEY))
        assert connection.recv(4096).startswith(b"HTTP/1.1 408 ")


def test_a_sender_that_hangs_up_is_nobodys_problem(
    receiver: Receiver, eventually: Callable[[Callable[[], Any]], Any]
) -> None:
    with socket.create_connection(("127.0.0.1", receiver.running.port), timeout=30) as connection:
        connection.sendall(_begun(KEY))
        eventually(lambda: receiver.counted["requests_readings"])
    eventually(lambda: receiver.counted["refused_content"])
    assert receiver.aside == []
    assert receiver.post(READINGS, json=GOOD).status_code == 202


def test_the_key_may_come_in_a_header_of_its_own(receiver: Receiver) -> None:
    assert receiver.post(READINGS, key="", json=GOOD, headers={"x-api-key": KEY}).status_code == 202


def test_wrong_keys_are_slowed_down_and_the_right_one_is_not(receiver: Receiver) -> None:
    assert receiver.post(READINGS, json=GOOD).status_code == 202
    statuses = [receiver.post(READINGS, key=f"{number:032x}", json=GOOD).status_code for number in range(12)]
    assert statuses[:10] == [401] * 10
    assert statuses[10:] == [429] * 2
    answer = receiver.post(READINGS, key="x", json=GOOD)
    assert int(answer.headers["retry-after"]) > 0
    assert receiver.post(READINGS, json=GOOD).status_code == 202
    assert receiver.aside == []


def test_a_repeated_wrong_key_blocks_no_other_client(receiver: Receiver) -> None:
    assert [receiver.post(READINGS, key="wrong", json=GOOD).status_code for _ in range(15)] == [401] * 15
    assert receiver.post(READINGS, json=GOOD).status_code == 202


def test_many_who_come_at_once_with_a_key_that_is_not_known_yet_get_in(tmp_path: Path, data: Path) -> None:
    with receiver_at(tmp_path, key_hash=hashed(KEY)) as receiver, ThreadPoolExecutor(20) as pool:

        def send(_: int) -> int:
            return httpx.post(
                f"{receiver.url}{READINGS}", json=GOOD, headers={"x-api-key": KEY}, timeout=30, verify=False
            ).status_code

        assert list(pool.map(send, range(20))) == [202] * 20


def test_a_key_that_is_used_too_often_has_to_wait(tmp_path: Path, data: Path) -> None:
    with receiver_at(tmp_path, per_second=0.001) as slow:
        assert slow.post(READINGS, json=GOOD).status_code == 202
        answer = slow.post(READINGS, json=GOOD)
        assert "several readings in one" in refused(answer, 429)
        assert int(answer.headers["retry-after"]) > 100
        assert slow.counted["refused_rate"] == 1


def test_a_page_of_another_site_cannot_write(receiver: Receiver) -> None:
    for origin in ["https://evil.example", "null", "http://[", "http://127.0.0.1:1"]:
        assert "another site" in refused(receiver.post(READINGS, json=GOOD, headers={"origin": origin}), 403)


def test_a_page_of_this_node_may_write_with_a_key(receiver: Receiver) -> None:
    assert receiver.post(READINGS, json=GOOD, headers={"origin": receiver.url}).status_code == 202
    assert receiver.post(READINGS, key="", json=GOOD, headers={"origin": receiver.url}).status_code == 401


def test_openapi_describes_what_takes_readings(receiver: Receiver) -> None:
    described = receiver.get("/api/v1/openapi.json").json()
    post = described["paths"][READINGS]["post"]
    assert {"202", "4XX", "503"} == set(post["responses"])
    schema = post["requestBody"]["content"]["application/json"]["schema"]
    assert schema["oneOf"][0] == {"$ref": "#/components/schemas/PostedReading"}
    assert {"device", "values"} == set(described["components"]["schemas"]["PostedReading"]["required"])
    assert post["security"] == [{"bearer": []}, {"header": []}]
    assert {"/", "/data", "/input/post", "/input/bulk", "/input/get"} <= set(described["paths"])
    assert set(described["components"]["securitySchemes"]) == {"bearer", "header", "parameter"}


def test_the_dashboard_stays_at_the_root(receiver: Receiver) -> None:
    assert receiver.client.get("/").headers["content-type"].startswith("text/html")
