import json
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from heliograph.bus import Bus, Message
from heliograph.config import Broker
from heliograph.errors import StoreAway
from heliograph.store import open_reader
from heliograph.store.interface import Arrival
from services.api.ingest.keys import hashed
from tests.conftest import ROOT, LocalBroker, Processes, free_port
from tests.stored import arrivals

Eventually = Callable[[Callable[[], Any]], Any]
KEY = "00112233445566778899aabbccddeeff"
HEADERS = {"authorization": f"Bearer {KEY}"}
START = 1763600000.0
ROUNDS = 2


class Node:
    """A broker, a storage and an api in a folder; the api can be killed."""

    def __init__(self, folder: Path, broker: LocalBroker, processes: Processes, eventually: Eventually) -> None:
        self.data = folder / "data"
        self.port, self.plug_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._processes = processes
        self._eventually = eventually
        self._config = folder / "config.toml"
        self._config.write_text(
            f'[node]\nname = "roof"\ndata = "{self.data}"\nclock = "trust"\n[broker]\nport = {broker.port}\n'
            f'[storage]\ncommit_seconds = 0.2\n[api]\nport = {self.port}\n[api.keys]\ngarden = "{hashed(KEY)}"\n'
            f'[api.smartplug]\nport = {self.plug_port}\nplugs = {{ "0xb00bf0cc" = "kettle" }}\n'
        )
        self.api: subprocess.Popen[bytes]

    def start_storage(self) -> None:
        self._processes.start("services.storage", str(self._config))

    def start_api(self) -> None:
        self.api = self._processes.start("services.api", str(self._config))
        self._eventually(self._answers)

    def kill_api(self) -> None:
        self.api.kill()
        self.api.wait()

    def post(self, number: int, query: str = "") -> None:
        reading = {"device": "attic", "values": {"number": number}, "time": START + number}
        answer = httpx.post(
            f"{self.url}/api/v1/readings{query}", json=reading, headers=HEADERS, timeout=30, verify=False
        )
        assert (answer.status_code, answer.json()) == (202, {"accepted": 1})

    def arrived(self) -> list[Arrival]:
        return arrivals(self.data) if (self.data / "store" / "hot.db").exists() else []

    def stored(self) -> list[float]:
        matching = [arrival for arrival in self.arrived() if "number" in arrival.values]
        assert all(arrival.time == START + float(arrival.values["number"]) for arrival in matching)
        return [float(arrival.values["number"]) for arrival in matching]

    def points(self) -> list[float]:
        """What the store has of the series, where readings of one time are one."""
        reader = open_reader(self.data)
        try:
            series = {one.name: one.id for one in reader.series()}.get("roof/attic/number")
            return [] if series is None else list(map(float, reader.raw(series, 0, 1e10, limit=10_000).values))
        except StoreAway:
            return []
        finally:
            reader.close()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/api/v1/nodes", verify=False).status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture
def node(tmp_path: Path, broker: LocalBroker, processes: Processes, eventually: Eventually) -> Node:
    return Node(tmp_path, broker, processes, eventually)


def test_what_was_taken_is_stored_once_though_the_api_is_killed_at_once(node: Node, eventually: Eventually) -> None:
    node.start_storage()
    for number in range(ROUNDS):
        node.start_api()
        node.post(number, "?durable=1")
        node.kill_api()
    node.start_api()
    node.post(ROUNDS)
    eventually(lambda: ROUNDS in node.stored())
    eventually(lambda: sorted(node.stored()) == list(range(ROUNDS + 1)))


def test_what_was_taken_without_a_broker_is_stored_once_there_is_one(
    node: Node, broker: LocalBroker, eventually: Eventually
) -> None:
    broker.kill()
    node.start_api()
    node.post(0)
    node.kill_api()
    node.start_api()
    broker.start()
    node.start_storage()
    node.post(1)
    eventually(lambda: sorted(node.stored()) == [0, 1])


@pytest.mark.parametrize(("is_old", "channel"), [(False, "kuche"), (True, "k_che")])
def test_a_data_folder_from_before_keeps_the_former_spelling(
    node: Node, eventually: Eventually, *, is_old: bool, channel: str
) -> None:
    if is_old:
        (node.data / "outbox" / "api").mkdir(parents=True)
    node.start_storage()
    node.start_api()
    sent = httpx.post(
        f"{node.url}/input/post", params={"node": "15", "json": "{Küche:1}"}, headers=HEADERS, timeout=30, verify=False
    )
    assert (sent.status_code, sent.text) == (200, "ok")
    eventually(lambda: [arrival.values for arrival in node.arrived()] == [{channel: 1}])


def test_the_client_of_the_documentation_loses_nothing_while_the_api_dies_again_and_again(
    node: Node, tmp_path: Path, eventually: Eventually
) -> None:
    node.start_storage()
    count = 3000
    lines = tmp_path / "readings.jsonl"
    with lines.open("w") as file:
        for number in range(count):
            reading = {"device": "attic", "values": {"number": number}, "time": START + number}
            file.write(json.dumps(reading) + "\n")
    with lines.open() as file:
        client = subprocess.Popen(
            [sys.executable, ROOT / "docs/clients/heliograph_client.py", node.url, "--queue", tmp_path / "queue.db"],
            stdin=file,
            env={"HELIOGRAPH_KEY": KEY},
        )

    def has_more(least: int) -> bool:
        return len(node.points()) >= least or client.poll() is not None

    try:
        for least in (1, count // 2):
            node.start_api()
            eventually(partial(has_more, least))
            node.kill_api()
        node.start_api()
        assert client.wait(100) == 0
    finally:
        client.kill()
        client.wait()
    eventually(lambda: node.points() == list(range(count)))


def test_a_device_is_described_on_the_bus_and_shown_by_the_api(
    node: Node, broker: LocalBroker, eventually: Eventually
) -> None:
    node.start_api()
    reading = {
        "device": "attic",
        "values": {"temperature": 21.4},
        "info": {"channels": {"temperature": {"unit": "°C"}}, "interval": 60},
    }
    infos: list[dict[str, Any]] = []

    def hear(message: Message) -> None:
        infos.append(json.loads(message.payload))

    with Bus(Broker(port=broker.port), "roof", "test") as bus:
        assert bus.wait_connected(20)
        bus.subscribe("heliograph/roof/devices/attic/info", hear)

        def shown() -> Any:
            answer = httpx.post(f"{node.url}/api/v1/readings", json=reading, headers=HEADERS, verify=False)
            assert answer.status_code == 202
            devices = httpx.get(f"{node.url}/api/v1/devices", verify=False).json()
            return devices and devices[0]["availability"] == "online" and devices[0]["channels"][0]["value"] == 21.4

        eventually(shown)
        eventually(lambda: infos)
    channels = {"temperature": {"unit": "°C"}}
    assert infos[0] == {"model": "HTTP", "channels": channels, "interval": 60.0, "service": "api"}


def test_the_status_counts_what_came_and_shows_what_was_wrong(
    node: Node, broker: LocalBroker, eventually: Eventually
) -> None:
    node.start_api()
    node.post(1)
    assert httpx.post(f"{node.url}/api/v1/readings", content=b"[7]", headers=HEADERS, verify=False).status_code == 422
    assert httpx.post(f"{node.url}/input/post?csv=1", verify=False).status_code == 401

    def status() -> Any:
        own = httpx.get(f"{node.url}/api/v1/health", verify=False).json()["services"].get("api", {})
        return own if "requests_emoncms" in own.get("counters", {}) else None

    broker.kill()
    broker.start()  # the status is published again on every connect
    reported = eventually(status)
    counted = {
        name: count for name, count in reported["counters"].items() if name.split("_")[0] in ("requests", "refused")
    }
    assert counted == {"requests_readings": 2, "requests_emoncms": 1, "refused_content": 1, "refused_key": 1}
    assert reported["counters"]["readings_http"] == 1
    assert [(item["where"], item["what"]) for item in reported["set_aside"]] == [("readings", "[7]")]


def test_the_plugs_may_have_a_port_of_their_own(node: Node) -> None:
    node.start_api()
    report = b'{"id": "0xb00bf0cc", "value": 1}'
    head = "POST /data HTTP/1.1\nHost: craplab.local\nConnection: close\nContent-Type: application/json\n"
    with connect(f"ws://127.0.0.1:{node.plug_port}/anything") as client:
        client.send('{"status": "0xb00bf0cc"}')
        with socket.create_connection(("127.0.0.1", node.plug_port), timeout=30) as plug:
            plug.sendall(head.encode() + b"Content-Length: 32\n\n" + report)
            assert b"200" in plug.recv(4096)
        assert client.recv(timeout=20) == report.decode()
    for path in ("/", "/api/v1/nodes", "/data"):
        assert httpx.get(f"http://127.0.0.1:{node.plug_port}{path}", verify=False).status_code in (404, 405)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('[api.keys]\ngarden = "hunter2"', "keys.garden: it is not the hash of a key"),
        ('[api]\nmanagers = ["me"]', "managers: there is no key 'me' in [api.keys]"),
        ('[api.pimonitor]\ntz = "Mars/Base"', "'Mars/Base' is not a time zone"),
        ('[api.smartplug]\nplugs = { a = "A b" }', "'A b' is not a name"),
        ('[api.smartplug]\nplugs = { a = "x", b = "x" }', "two are the same device"),
        ("[api.smartplug]\nport = 8000", "is the port of the dashboard"),
        ('[api.emoncms.nodes.10]\nnames = ["A"]', "names: 'A' is not the name of a channel"),
        ('[api.emoncms.nodes.10]\nnames = ["a"]\nunits = ["parsec"]', "unknown unit"),
        ('[api.emoncms.devices.1]\nkey = "hunter2"', "not 32 lower-case hexadecimal"),
        ("[api]\nbody_limit = 1", "body_limit: 1 is not between"),
        ("[api]\nwrites_per_second = 0", "writes_per_second: 0.0 is not between"),
    ],
)
def test_a_wrong_option_of_an_ingest_section_is_one_line(
    tmp_path: Path, processes: Processes, lines: str, words: str
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(lines + "\n")
    assert processes.start("services.api", "--check", str(file)).wait(30) == 1
    assert words in processes.output()
    assert "hunter2" not in processes.output()
    assert processes.output().count("\n") == 1
