import json
import re
import shlex
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from heliograph.messages import Block, Channel, Info
from heliograph.store import open_writer
from services.api.ingest.keys import hashed
from tests.conftest import ROOT, LocalBroker, Processes, free_port

Eventually = Callable[..., Any]
KEY = "00112233445566778899aabbccddeeff"
HEADERS = {"authorization": f"Bearer {KEY}"}
SECRET = "3141592653"
START = 1763596800.0
INFO = Info("meter", {"power": Channel("W"), "voltage": Channel("V")})
POWERS = (5.0, -7.0, 9.0, -8.0, 4.0)
SECTION = (ROOT / "docs/api.md").read_text().partition("\n# Uploads\n")[2].partition("\n# ")[0]
EXAMPLES = re.findall(r"```sh\n(curl .*?)\n```(?:\n\n```json\n(.*?)\n```)?", SECTION, re.DOTALL)
CHANGING = {
    "added",
    "backlog",
    "error_time",
    "eta",
    "last_success",
    "oldest",
    "rate",
    "sent",
    "last_response",
    "response",
    "state",
    "url",
}


class Server(ThreadingHTTPServer):
    """Accepts everything but power below zero; `received` is all that arrived."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[tuple[str, dict[str, float]]] = []
        self.url = f"http://127.0.0.1:{self.server_port}/readings"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_PUT(self) -> None:
        payload = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.received.append((self.headers["x-token"], payload["values"]))
        refused = payload["values"]["power"] < 0
        answer = b"power is below zero" if refused else b"taken"
        self.send_response(422 if refused else 200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


class Node:
    """A broker, a store with five readings, an api and an uploader."""

    def __init__(self, folder: Path, broker: LocalBroker, processes: Processes, eventually: Eventually) -> None:
        self.processes = processes
        self._eventually = eventually
        data = folder / "data"
        writer = open_writer(data)
        writer.declare("roof", "meter", INFO)
        rows: list[list[object]] = [[START + index, power, 230.5] for index, power in enumerate(POWERS)]
        writer.write("roof", [Block("meter", ("power", "voltage"), rows)])
        writer.commit({})
        writer.close()
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._config = folder / "config.toml"
        self._config.write_text(
            f'[node]\nname = "roof"\ndata = "{data}"\nclock = "trust"\n[broker]\nport = {broker.port}\n'
            f'[api]\nport = {port}\nmanagers = ["garden"]\n[api.keys]\ngarden = "{hashed(KEY)}"\n'
            f'[[uploader.targets]]\nname = "card"\nkind = "file"\nfolder = "{folder}/card"\n'
        )
        self.api: subprocess.Popen[bytes]
        self.uploader: subprocess.Popen[bytes]

    def start(self) -> None:
        self.api = self.processes.start("services.api", str(self._config))
        self.start_uploader()

    def start_uploader(self) -> None:
        self.uploader = self.processes.start("services.uploader", str(self._config))
        self._eventually(lambda: self.status("GET", "/uploads") == 200, 60)

    def send(self, method: str, path: str, **body: Any) -> httpx.Response:
        return httpx.request(method, f"{self.url}/api/v1{path}", headers=HEADERS, timeout=90, **body, verify=False)

    def status(self, method: str, path: str) -> int:
        """Return the status of an answer, 0 while the connection is refused."""
        try:
            return self.send(method, path).status_code
        except httpx.TransportError:
            return 0


@pytest.fixture
def node(tmp_path: Path, broker: LocalBroker, processes: Processes, eventually: Eventually) -> Node:
    made = Node(tmp_path, broker, processes, eventually)
    made.start()
    return made


def words(curl: str, node: Node, server: Server) -> tuple[str, str, dict[str, str], bytes | None]:
    """Return method, address, headers and body of a command in the documentation, for these servers."""
    assert "http://roof.local:8000" in curl
    command = curl.replace("http://roof.local:8000", node.url).replace("$HELIOGRAPH_KEY", KEY)
    parts = shlex.split(command.replace("https://server.example/readings", server.url).replace("\\\n", " "))[1:]
    method, url, headers, body = "GET", "", {}, None
    while parts:
        part = parts.pop(0)
        if part == "-X":
            method = parts.pop(0)
        elif part == "-H":
            name, _, value = parts.pop(0).partition(": ")
            headers[name] = value
        elif part == "-d":
            body = parts.pop(0).encode()
        else:
            url = part
    return method, url, headers, body


def differences(documented: Any, actual: Any, where: str = "") -> list[str]:
    """Say where an answer is not what is documented; but for what changes with the moment, and options that are left out."""
    if where.rpartition(".")[2] in CHANGING:
        return []
    if isinstance(documented, dict) and isinstance(actual, dict):
        both = documented.keys() & actual.keys()
        left = actual.keys() - both if where.endswith(".options") else set()
        wrong = [f"{where}.{key}: here or there" for key in documented.keys() ^ actual.keys() - left]
        return wrong + [line for key in both for line in differences(documented[key], actual[key], f"{where}.{key}")]
    if isinstance(documented, list) and isinstance(actual, list) and len(documented) == len(actual):
        return [line for one, other in zip(documented, actual, strict=True) for line in differences(one, other, where)]
    return [] if documented == actual else [f"{where}: {documented!r} is {actual!r}"]


def test_there_is_an_example_of_almost_everything() -> None:
    assert len(EXAMPLES) == 8


def test_the_examples_of_the_documentation_work(node: Node, server: Server, eventually: Eventually) -> None:
    wrong: list[str] = []

    def works(method: str, url: str, headers: dict[str, str], body: bytes | None, documented: str) -> bool:
        answer = httpx.request(method, url, headers=headers, content=body, timeout=90, verify=False)
        assert answer.status_code in (200, 204), answer.text
        wrong[:] = differences(json.loads(documented), answer.json()) if documented else []
        return not wrong

    def is_retried() -> bool:
        return {"power": 0} in [values for _, values in server.received]

    for curl, documented in EXAMPLES:
        parts = words(curl, node, server)
        if parts[:2] == ("DELETE", f"{node.url}/api/v1/uploads/cloud"):
            eventually(is_retried)
        if parts[0] == "GET":  # until it has come that far
            eventually(partial(works, *parts, documented))
        else:
            assert works(*parts, documented), wrong
    assert node.status("GET", "/uploads/cloud") == 404
    assert {token for token, _ in server.received} == {SECRET}
    assert is_retried()
    assert SECRET not in node.processes.output()


def test_what_is_in_the_configuration_is_shown_and_not_changed(node: Node) -> None:
    content = node.send("GET", "/uploads").json()
    assert [(target["name"], target["configured"]) for target in content["targets"]] == [("card", True)]
    assert {"file", "http", "influxdb"} <= set(content["kinds"])
    for method, body in (("PUT", {"kind": "file"}), ("DELETE", None)):
        answer = node.send(method, "/uploads/card", json=body)
        assert (answer.status_code, answer.json()["detail"].split(":")[0]) == (409, "card is defined in config.toml")


def test_a_target_is_paused_and_continues(node: Node) -> None:
    assert node.send("POST", "/uploads/card/pause").status_code == 200
    assert node.send("POST", "/uploads/card/resume").json()["name"] == "card"
    assert node.send("POST", "/uploads/nothing/pause").status_code == 404


def test_wrong_options_are_refused_in_the_words_of_the_uploader(node: Node) -> None:
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("cloud", {"kind": "http", "url": 7}, "url: expected str, found 7"),
        ("cloud", {"kind": "http"}, "url"),
        ("cloud", {"kind": "nothing"}, "kind"),
        ("cloud", {}, "kind"),
        ("Not%20a%20name", {"kind": "file"}, "name"),
        ("cloud", {"kind": "file", "folder": "/etc"}, "folder: "),
    ]
    for name, options, words in cases:
        answer = node.send("PUT", f"/uploads/{name}", json=options)
        assert answer.status_code == 422
        assert words in answer.json()["detail"]
        assert [target["name"] for target in node.send("GET", "/uploads").json()["targets"]] == ["card"]


def test_a_secret_is_never_returned_and_stays_unless_it_is_replaced(
    node: Node, server: Server, eventually: Eventually
) -> None:
    options = {
        "kind": "http",
        "url": server.url,
        "method": "PUT",
        "headers": {"X-Token": SECRET},
        "json": {"values": "${values}"},
    }
    assert SECRET not in node.send("PUT", "/uploads/cloud", json=options).text
    assert SECRET not in node.send("GET", "/uploads").text
    assert SECRET not in node.send("PUT", "/uploads/cloud", json={**options, "headers": "…"}).text
    shown = node.send("GET", "/uploads/cloud").json()["options"]
    assert shown["headers"] == {"X-Token": "…"}
    assert node.send("PUT", "/uploads/cloud", json=shown).status_code == 200
    eventually(lambda: node.send("POST", "/uploads/cloud/test").json()["ok"])
    assert [token for token, _ in server.received] == [SECRET]
    assert SECRET not in httpx.get(f"{node.url}/metrics", verify=False).text
    assert SECRET not in node.processes.output()


def test_without_an_uploader_it_says_so_until_there_is_one_again(node: Node, eventually: Eventually) -> None:
    node.uploader.send_signal(signal.SIGTERM)
    assert node.uploader.wait(30) == 0
    eventually(lambda: node.status("GET", "/uploads") == 503)
    assert "no uploader is running on roof" in node.send("GET", "/uploads").json()["detail"]
    node.start_uploader()


def test_the_metrics_show_how_targets_stand(node: Node, broker: LocalBroker, eventually: Eventually) -> None:
    wanted = 'heliograph_upload_state{node="roof",state="running",target="card"} 1.0\n'

    def shown() -> bool:
        broker.kill()
        broker.start()  # every service says its status again when it connects
        eventually(lambda: node.status("GET", "/health") == 200)
        eventually(lambda: node.status("GET", "/uploads") == 200)
        return wanted in httpx.get(f"{node.url}/metrics", verify=False).text

    eventually(shown, 60)
    assert (
        'heliograph_upload_info{kind="file",node="roof",target="card"} 1.0\n'
        in httpx.get(f"{node.url}/metrics", verify=False).text
    )


def test_it_stops_although_a_target_lets_a_test_wait(node: Node, eventually: Eventually) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        options = {"kind": "http", "url": f"http://127.0.0.1:{silent.getsockname()[1]}", "method": "PUT", "body": "x"}
        assert node.send("PUT", "/uploads/slow", json=options).status_code == 200
        ended: list[str] = []

        def test_it() -> None:
            try:
                ended.append(str(node.send("POST", "/uploads/slow/test").status_code))
            except httpx.TransportError:
                ended.append("broken off")

        tester = Thread(target=test_it)
        tester.start()
        with silent.accept()[0]:  # the uploader waits for an answer, and the api for the uploader
            node.api.send_signal(signal.SIGTERM)
            assert node.api.wait(30) == 0
            tester.join()
    assert ended[0] in ("503", "broken off")
    assert "Traceback" not in node.processes.output()
