import json
import signal
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from heliograph.bus import Bus
from heliograph.config import Broker
from heliograph.messages import Block, Channel, Info, encode
from heliograph.store import open_writer
from tests.api.conftest import START
from tests.conftest import LocalBroker, Processes, free_port

Eventually = Callable[[Callable[[], Any]], Any]
STATE = "heliograph/roof/devices/tracer/state"


def configure(folder: Path, broker: int, port: int, data: Path) -> Path:
    file = folder / "config.toml"
    file.write_text(f'[node]\nname = "roof"\ndata = "{data}"\n[broker]\nport = {broker}\n[api]\nport = {port}\n')
    return file


def answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health", verify=False).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def api(
    tmp_path: Path, data: Path, broker: LocalBroker, processes: Processes, eventually: Eventually
) -> tuple[subprocess.Popen[bytes], int]:
    port = free_port()
    process = processes.start("services.api", str(configure(tmp_path, broker.port, port, data)))
    eventually(lambda: answers(f"http://127.0.0.1:{port}/api/v1"))
    return process, port


def test_what_is_published_arrives_at_a_web_socket(
    api: tuple[subprocess.Popen[bytes], int], broker: LocalBroker, eventually: Eventually
) -> None:
    _, port = api
    with (
        Bus(Broker(port=broker.port), "roof", "test") as bus,
        connect(f"ws://127.0.0.1:{port}/api/v1/live") as websocket,
    ):
        assert bus.wait_connected(20)
        websocket.send('{"subscribe": ["roof/tracer/fresh"]}')
        eventually(lambda: bus.publish(STATE, json.dumps({"time": START, "values": {"fresh": 42}}).encode()))
        assert json.loads(websocket.recv(timeout=20)) == [{"series": "roof/tracer/fresh", "time": START, "value": 42}]


def test_after_a_start_the_newest_values_are_those_of_the_store(
    api: tuple[subprocess.Popen[bytes], int], eventually: Eventually
) -> None:
    _, port = api

    def newest() -> Any:
        answer = httpx.get(f"http://127.0.0.1:{port}/api/v1/latest?series=roof/tracer/pv_power", verify=False)
        return answer.json() if answer.status_code == 200 else None

    assert eventually(newest) == {"roof/tracer/pv_power": {"time": START + 599 * 60, "value": 599, "unit": "W"}}


def test_a_reading_that_the_bus_did_not_deliver_is_shown_once_it_is_stored(
    api: tuple[subprocess.Popen[bytes], int], data: Path, broker: LocalBroker, eventually: Eventually
) -> None:
    _, port = api

    def value() -> Any:
        devices = httpx.get(f"http://127.0.0.1:{port}/api/v1/devices", verify=False).json()
        return next((one["channels"][0]["value"] for one in devices if one["device"] == "door"), "no door")

    def store(count: int) -> None:
        with closing(open_writer(data)) as writer:
            writer.declare("roof", "door", door)
            writer.write("roof", [Block("door", ("opened",), [[START + count, count]])])
            writer.commit({})

    door = Info("door", {"opened": Channel(kind="counter")})
    with Bus(Broker(port=broker.port), "roof", "test") as bus:
        assert bus.wait_connected(20)
        bus.publish("heliograph/roof/devices/door/info", encode(door), qos=1, retain=True)
        eventually(lambda: value() is None)
    store(1)  # after the api has read the store
    eventually(lambda: value() == 1)
    store(2)
    broker.kill()
    broker.start()
    eventually(lambda: value() == 2)  # read again with the connection: there is no later value on the bus
    store(3)
    with Bus(Broker(port=broker.port), "roof", "test") as bus:
        assert bus.wait_connected(20)
        bus.publish("heliograph/roof/services/door/committed", b"{}")
        eventually(lambda: value() == 3)  # and with the commit


def test_a_bad_payload_is_set_aside_and_shown_in_the_status(
    api: tuple[subprocess.Popen[bytes], int], broker: LocalBroker, processes: Processes, eventually: Eventually
) -> None:
    _, port = api
    with Bus(Broker(port=broker.port), "roof", "test") as bus:
        assert bus.wait_connected(20)
        bus.publish(STATE, b"nonsense", qos=1)
        bus.publish(STATE, json.dumps({"time": START, "values": {"fresh": 1}}).encode(), qos=1)
        address = f"http://127.0.0.1:{port}/api/v1/latest?series=roof/tracer/fresh"
        eventually(lambda: httpx.get(address, verify=False).status_code == 200)
    assert f"{STATE}: set aside" in processes.output()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_although_a_web_socket_is_open(
    api: tuple[subprocess.Popen[bytes], int], processes: Processes, number: int
) -> None:
    process, port = api
    with connect(f"ws://127.0.0.1:{port}/api/v1/live") as websocket:
        websocket.send('{"subscribe": ["*/*/*"]}')
        websocket.recv(timeout=20)
        process.send_signal(number)
        assert process.wait(20) == 0
    assert "Traceback" not in processes.output()


def test_it_stops_although_a_file_is_being_sent(api: tuple[subprocess.Popen[bytes], int], processes: Processes) -> None:
    process, port = api
    query = "series=roof/tracer/pv_power&from=0&bucket=1s"  # a billion rows
    with httpx.stream("GET", f"http://127.0.0.1:{port}/api/v1/export?{query}") as answer:
        parts = answer.iter_bytes()
        next(parts)
        process.send_signal(signal.SIGTERM)
        with pytest.raises(httpx.RemoteProtocolError):  # broken off, not at its end
            for _ in parts:
                pass
    assert process.wait(20) == 0
    assert "Traceback" not in processes.output()


def test_without_the_broker_it_answers_503_and_recovers(
    api: tuple[subprocess.Popen[bytes], int], broker: LocalBroker, eventually: Eventually
) -> None:
    _, port = api
    address = f"http://127.0.0.1:{port}/api/v1"
    broker.kill()
    eventually(lambda: httpx.get(f"{address}/health", verify=False).status_code == 503)
    assert httpx.get(f"{address}/series?series=roof/tracer/pv_power", verify=False).status_code == 200
    broker.start()
    eventually(lambda: answers(address))


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("port = 0", "port: 0 is not between"),
        ('port = "http"', "[api] port"),
        ("prot = 8000", "no such option: prot"),
        ('origins = ["example.org"]', "is not an origin"),
        ('store = "mysql://u:hidden@h/d"', "[api]: no such option: store; it is now [node] store"),
        ('[node]\nstore = "mysql://u:hidden@h/d"', "[node] store: expected postgresql://"),
    ],
)
def test_a_wrong_option_is_one_line_and_the_end(tmp_path: Path, processes: Processes, lines: str, words: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f"[api]\n{lines}\n")
    assert processes.start("services.api", str(file)).wait(30) == 1
    assert words in processes.output()
    assert "hidden" not in processes.output()
    assert processes.output().count("\n") == 1


def test_a_port_that_is_accepted_is_one_line_and_the_end(
    tmp_path: Path, broker: LocalBroker, processes: Processes
) -> None:
    file = configure(tmp_path, broker.port, broker.port, tmp_path)
    assert processes.start("services.api", str(file)).wait(30) == 1
    assert f"[api] cannot listen on 127.0.0.1 port {broker.port}: Address already in use" in processes.output()
    assert "Traceback" not in processes.output()
