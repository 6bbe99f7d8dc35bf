import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.api.receiver import NOW, Receiver, receiver_at

Eventually = Callable[[Callable[[], Any]], Any]
EXACT = (
    b"POST /data HTTP/1.1\nHost: craplab.local\nConnection: close\nContent-Type: application/json\n"
    b'Content-Length: 32\n\n{"id": "0xb00bf0cc", "value": 1}'
)
REPORT = {"id": "0xb00bf0cc", "value": 1}


@pytest.fixture
def receiver(tmp_path: Path, data: Path) -> Iterator[Receiver]:
    with receiver_at(tmp_path) as made:
        yield made


def exchange(port: int, sent: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(sent)
        answer = b""
        while part := connection.recv(4096):
            answer += part
    return answer


def asks(receiver: Receiver, plug: str = "0xb00bf0cc") -> Any:
    with connect(f"ws://127.0.0.1:{receiver.running.port}/smartplug") as client:
        client.send(json.dumps({"status": "unknown"}))
        client.send(json.dumps({"status": 7}))
        client.send("[1]")
        client.send(json.dumps({"status": plug}))
        return client.recv(timeout=20)


def test_the_bytes_of_the_firmware_are_understood(receiver: Receiver) -> None:
    head, _, body = exchange(receiver.running.port, EXACT).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"content-type: application/json" in head.lower()
    assert body == b"{}"
    assert receiver.producer.readings == [("kettle", {"plugged": True}, None)]
    assert receiver.producer.infos["kettle"].channels["plugged"].kind == "state"


def test_a_report_keeps_what_it_carries(receiver: Receiver) -> None:
    about = {"time": "2025-11-20T10:20:00Z", "rssi": -60, "battery": {"voltage": 3.1, "low": False}, "fw": "1.2"}
    odd = {"list": [1], "gone": None, "plugged": 7, "Rssi": -61, "nan": float("nan"), "": 3}
    answer = receiver.post("/data", key="", content=json.dumps({**REPORT, **about, **odd}))
    assert (answer.status_code, answer.json()) == (200, {})
    values = {"plugged": True, "rssi": -60, "battery_voltage": 3.1, "battery_low": False, "fw": "1.2"}
    assert receiver.producer.readings == [("kettle", values, NOW)]
    assert receiver.intake.counters()["no_value"] == 2
    assert (receiver.counted["refused_parts"], len(receiver.aside)) == (4, 4)
    receiver.post("/data", key="", json={**REPORT, "fw": 1.3, "rssi": -62})  # a text before: the rest is kept
    assert receiver.producer.readings[-1] == ("kettle", {"plugged": True, "rssi": -62}, None)


@pytest.mark.parametrize("unset", [[1], True, "soon", "12:00", 0, 17, 1e300, 4e9])
def test_a_plug_whose_clock_is_not_set_still_reports_its_state(receiver: Receiver, unset: object) -> None:
    assert receiver.post("/data", key="", json={**REPORT, "time": unset, "rssi": -60}).status_code == 200
    assert receiver.producer.readings == [("kettle", {"plugged": True, "rssi": -60}, None)]
    assert receiver.counted["refused_parts"] == 1
    assert "time" in receiver.aside[0][1]


def test_every_report_is_forwarded_unchanged_to_every_client(receiver: Receiver) -> None:
    address = f"ws://127.0.0.1:{receiver.running.port}/smartplug"
    with connect(address) as one, connect(address) as other:
        for client in (one, other):  # the answer says that it is listening
            receiver.post("/data", key="", json={**REPORT, "value": 0})
            client.send('{"status": "0xb00bf0cc"}')
            while json.loads(client.recv(timeout=20)) != {"id": "0xb00bf0cc", "value": 0}:
                pass
        receiver.post("/data", key="", json={**REPORT, "rssi": -60})
        expected = '{"id": "0xb00bf0cc", "value": 1, "rssi": -60}'
        for client in (one, other):
            while (text := client.recv(timeout=20)) != expected:
                assert json.loads(text)["value"] == 0


def test_a_client_that_asks_gets_the_last_state(receiver: Receiver) -> None:
    receiver.post("/data", key="", json=REPORT)
    assert asks(receiver) == '{"id": "0xb00bf0cc", "value": 1}'


def test_a_client_that_asks_gets_a_state_from_before_the_start(receiver: Receiver) -> None:
    receiver.running.tell("heliograph/roof/devices/kettle/state", {"time": NOW, "values": {"plugged": False}})
    assert asks(receiver) == '{"id": "0xb00bf0cc", "value": 0}'


def test_what_is_not_json_ends_the_connection(receiver: Receiver) -> None:
    with connect(f"ws://127.0.0.1:{receiver.running.port}/smartplug") as client:
        client.send("hello")
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=20)


def test_a_page_of_another_site_hears_nothing_and_says_nothing(receiver: Receiver) -> None:
    assert receiver.post("/data", key="", json=REPORT, headers={"origin": receiver.url}).status_code == 403
    assert receiver.post("/data", key="", json=REPORT, headers={"origin": "https://evil.example"}).status_code == 403
    assert receiver.producer.readings == []
    address = f"ws://127.0.0.1:{receiver.running.port}/smartplug"
    with pytest.raises(InvalidStatus, match="403"):
        connect(address, additional_headers={"Origin": "https://evil.example"})


def test_what_is_no_report_of_a_known_plug_is_refused(receiver: Receiver) -> None:
    for body, status in [
        (b"", 422),
        (b"{", 422),
        (b"[]", 422),
        (b"\xff", 422),
        (b'{"id": "0xb00bf0cc"}', 422),
        (b'{"value": 1}', 422),
        (b'{"id": "0xb00bf0cc", "value": 2}', 422),
        (b'{"id": "0xb00bf0cc", "value": [1]}', 422),
        (b'{"id": 7, "value": 1}', 422),
        (b'{"id": "0xffffffff", "value": 1}', 403),
        (b" " * 5000 + b'{"id": "0xb00bf0cc", "value": 1}', 413),
    ]:
        answer = receiver.post("/data", key="", content=body)
        assert (answer.status_code, list(answer.json())) == (status, ["detail"])
    assert receiver.producer.readings == []


@pytest.mark.slow
def test_a_client_that_does_not_read_disturbs_no_other(receiver: Receiver, eventually: Eventually) -> None:
    address = f"ws://127.0.0.1:{receiver.running.port}/smartplug"
    with connect(address, max_queue=1, close_timeout=0.1) as slow, connect(address) as quick:
        for client in (slow, quick):
            receiver.post("/data", key="", json=REPORT)
            client.send('{"status": "0xb00bf0cc"}')
            client.recv(timeout=20)
        filler = "x" * 4000
        for number in range(150):
            assert (
                receiver.post("/data", key="", json={**REPORT, "n": number, "filler": filler[:3000]}).status_code == 200
            )
        while json.loads(quick.recv(timeout=20)).get("n") != 149:
            pass
