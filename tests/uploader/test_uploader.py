import contextlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from heliograph.bus import Bus
from heliograph.commands import NoAnswer, Requests
from heliograph.config import Broker
from heliograph.messages import Block, Channel, Info, Watermark, encode
from heliograph.store import open_writer
from heliograph.store.interface import Writer
from tests.conftest import ROOT, LocalBroker, Processes
from tests.databases import Influx
from tests.uploader.servers.web_server import Request, Response, WebServer

START = 1_763_596_800.0
INFO = Info("meter", {"power": Channel("W"), "voltage": Channel("V"), "energy": Channel("Wh", "counter")})
Eventually = Callable[..., Any]


class Node:
    """A node whose store the test writes, and whose uploader it runs and asks."""

    def __init__(self, folder: Path, broker: LocalBroker, processes: Processes) -> None:
        self.folder = folder
        self._broker = broker
        self._processes = processes
        self.writer: Writer = open_writer(folder / "data")
        self.writer.declare("pi", "meter", INFO)
        self.bus = Bus(Broker(port=broker.port), "pi", "api")
        self.requests = Requests(self.bus, "pi", "api")
        self.written = 0

    def configure(self, *targets: str) -> None:
        tables = "".join(f"[[uploader.targets]]\n{target}\n" for target in targets)
        (self.folder / "config.toml").write_text(
            f'[node]\nname = "pi"\ndata = "{self.folder}/data"\nclock = "trust"\n'
            f"[broker]\nport = {self._broker.port}\n{tables}"
        )

    def start(self) -> subprocess.Popen[bytes]:
        return self._processes.start("services.uploader", str(self.folder / "config.toml"))

    def log(self) -> str:
        return self._processes.output()

    def write(self, count: int) -> None:
        """Have so many more readings arrive, a second apart."""
        rows = [
            [START + second, float(second), 230.5, 1000.0 + second]
            for second in range(self.written, self.written + count)
        ]
        self.writer.write("pi", [Block("meter", ("power", "voltage", "energy"), rows)])
        self.writer.commit({})
        self.written += count

    def commit(self) -> None:
        """Tell what storage tells when it has committed."""
        topic = "heliograph/pi/services/modbus_poller/committed"
        self.bus.publish(topic, encode(Watermark("e", 1, 2, "s", 10.0)), qos=1, retain=True)

    def sent(self, name: str) -> int:
        """Return how many rows a target has taken, as far as the uploader has kept it."""
        file = self.folder / "data/uploader/uploader.db"
        if not file.exists():
            return 0
        with contextlib.closing(sqlite3.connect(file)) as db:
            try:
                row = db.execute("SELECT state FROM target WHERE name = ?", (name,)).fetchone()
            except sqlite3.OperationalError:
                return 0
        return int(json.loads(row[0])["sent"]) if row and row[0] else 0

    def ask(self, command: str, *, seconds: float = 30.0, **payload: object) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(
            self.requests.ask("pi", "uploader", command, json.dumps(payload).encode(), timeout=seconds)
        )
        return answer

    def answers(self) -> dict[str, Any] | None:
        """Return what there is, None while there is no answer."""
        try:
            return self.ask("list", seconds=1.0)
        except NoAnswer:
            return None


@pytest.fixture
def node(tmp_path: Path, broker: LocalBroker, processes: Processes) -> Iterator[Node]:
    made = Node(tmp_path, broker, processes)
    with made.bus:
        assert made.bus.wait_connected(30)
        yield made
    made.writer.close()


def to_influx(influx: Influx, more: str = "") -> str:
    return (
        f'kind = "influxdb"\nname = "influx"\nurl = "{influx.url}"\nversion = 1\ndatabase = "site"\n'
        f'from = "beginning"\n{more}'
    )


def expected(count: int) -> dict[int, float]:
    return {round((START + second) * 1000): float(second) for second in range(count)}


def test_what_storage_commits_is_uploaded(node: Node, influx: Influx, eventually: Eventually) -> None:
    node.configure(to_influx(influx))
    node.write(100)
    node.start()
    eventually(lambda: influx.points("power", "meter") == expected(100))
    node.write(50)
    node.commit()
    eventually(lambda: influx.points("power", "meter") == expected(150))


@pytest.mark.timeout(1800)  # its long form
def test_killed_again_and_again_during_a_backlog_it_skips_nothing_and_changes_nothing(
    node: Node, influx: Influx, eventually: Eventually, request: pytest.FixtureRequest
) -> None:
    kills = 100 if request.config.getoption("--full") else 4
    node.configure(to_influx(influx, "batch_size = 20"))
    node.write(kills * 2000 + 1000)
    node.writer.settle()
    node.write(1000)  # some of it sealed, some hot
    for _ in range(kills):
        before = node.sent("influx")
        process = node.start()
        eventually(lambda before=before: node.sent("influx") > before, 60)
        process.kill()
        process.wait()
    assert len(influx.points("power", "meter")) < node.written, "the kills came too late to mean anything"
    node.configure(to_influx(influx))
    node.start()
    eventually(
        lambda: node.sent("influx") >= node.written and len(influx.points("power", "meter")) == node.written, 120
    )
    assert influx.points("power", "meter") == expected(node.written)
    assert set(influx.points("voltage", "meter").values()) == {230.5}


def test_a_target_that_is_dead_or_slow_does_not_hold_up_another(
    node: Node, influx: Influx, free_ports: Callable[[], int], eventually: Eventually
) -> None:
    dead = (
        f'kind = "influxdb"\nname = "dead"\nurl = "http://127.0.0.1:{free_ports()}"\nbucket = "b"\nfrom = "beginning"\n'
    )
    node.configure(dead, to_influx(influx))
    node.write(100)
    node.start()
    eventually(lambda: influx.points("power", "meter") == expected(100))

    def last_error() -> str:
        targets = (node.answers() or {"targets": []})["targets"]
        return next((target["last_error"] for target in targets if target["state"] == "waiting"), "")

    assert "refused" in eventually(last_error)


class OddServer(WebServer):
    """What ended the uploader of a node in the field: an InfluxDB that answers neither questions nor writes as it should."""

    def answer(self, request: Request) -> Response:
        if request.path == "/query":
            return Response(200, '{"results":[{"series":[{"values":[[]]}]}]}')
        return Response(503, "", {"Retry-After": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"})


def test_a_server_that_answers_strangely_hurts_no_other_target(node: Node, eventually: Eventually) -> None:
    with closing(OddServer()) as odd:
        influx = f'kind = "influxdb"\nname = "{{}}"\nurl = "{odd.url}"\nversion = 1\ndatabase = "site"\n'
        node.configure(
            influx.format("odd") + 'from = "beginning"\n',
            influx.format("asks"),
            'kind = "file"\nname = "card"\nfrom = "beginning"\n',
        )
        node.write(4500)
        process = node.start()
        eventually(lambda: node.sent("card") == 4500)
        eventually(lambda: {"/query", "/write"} <= {request.path for request in odd.requests})
        node.write(5)
        node.commit()

        def waiting() -> set[str]:
            listed = (node.answers() or {"targets": []})["targets"]
            return {one["name"] for one in listed if one["state"] == "waiting"}

        eventually(lambda: waiting() == {"odd", "asks"})
        eventually(lambda: node.sent("card") == 4505)
        assert process.poll() is None


def test_targets_are_managed_while_it_runs_and_their_secrets_never_shown(
    node: Node, influx: Influx, eventually: Eventually
) -> None:
    node.configure(to_influx(influx))
    node.write(10)
    process = node.start()
    eventually(node.answers)
    options = {
        "kind": "influxdb",
        "url": influx.url,
        "version": 1,
        "database": "site",
        "measurement": "again",
        "from": "beginning",
        "user": "me",
        "password": "s3cret-word",
        "enabled": False,
    }
    assert node.ask("put", name="added", options=options) == {"ok": True}
    listed = {target["name"]: target for target in node.ask("list")["targets"]}
    assert listed["added"]["options"]["password"] == "…"
    assert (listed["added"]["configured"], listed["influx"]["configured"]) == (False, True)
    assert node.ask("test", name="added") == {"ok": True, "response": "HTTP 204"}
    assert len(influx.points("power", "again")) == 1
    changed = {**listed["added"]["options"], "enabled": True}
    assert node.ask("put", name="added", options=changed) == {"ok": True}
    eventually(lambda: influx.points("power", "again") == expected(10))

    process.terminate()
    assert process.wait(30) == 0
    node.start()
    eventually(node.answers)
    node.write(5)
    node.commit()
    eventually(lambda: influx.points("power", "again") == expected(15))
    assert "s3cret-word" not in node.log()
    assert (
        b"s3cret-word"
        in (node.folder / "data/uploader/uploader.db").read_bytes()
        + (node.folder / "data/uploader/uploader.db-wal").read_bytes()
    )
    assert (node.folder / "data/uploader/uploader.db").stat().st_mode & 0o777 == 0o600

    assert node.ask("pause", name="added") == {"ok": True}
    assert node.ask("delete", name="added") == {"ok": True}
    assert [target["name"] for target in node.ask("list")["targets"]] == ["influx"]


def test_commands_that_cannot_be_carried_out_say_why(node: Node, influx: Influx, eventually: Eventually) -> None:
    node.configure(to_influx(influx))
    node.start()
    eventually(node.answers)
    refused = {"kind": "influxdb", "url": "h", "token": "t0p-secret", "bucket": "b"}
    for command, payload, code, words in (
        ("pause", {"name": "none"}, "missing", "there is no target 'none'; there are influx"),
        ("delete", {"name": "influx"}, "configured", "influx is defined in config.toml: change it there"),
        ("put", {"name": "new", "options": {"kind": "none"}}, "invalid", "kind: there is no 'none'"),
        ("put", {"name": "new", "options": refused}, "invalid", "url: expected http://host:port/…"),
        ("put", {"name": "new", "options": {**refused, "token": 5}}, "invalid", "token: expected str"),
        ("put", {"name": "New", "options": {**refused, "url": "http://h"}}, "invalid", "'New' is not a name"),
        (
            "put",
            {"name": "f", "options": {"kind": "file", "folder": "/"}},
            "invalid",
            "folder: only targets in config.toml",
        ),
        ("dead-letters-edit", {"name": "influx", "id": 7}, "missing", "influx has no dead letter 7"),
        ("dead-letters", {"name": "influx", "limit": 0}, "invalid", "limit"),
        ("dead-letters", {"name": "influx", "after": 10**30}, "invalid", "after"),
        ("dead-letters-drop", {"name": "influx", "ids": [1, 10**30]}, "invalid", "ids"),
        ("dead-letters-edit", {"name": "influx", "id": 10**30}, "invalid", "id"),
        ("dead-letters-edit", {"name": "influx", "id": 1, "time": 1e300}, "invalid", "time"),
        ("list", {"what": 1}, "invalid", "what"),
    ):
        answer = node.ask(command, **payload)
        assert (answer["ok"], answer["code"]) == (False, code), answer
        assert words in answer["error"]
        assert "t0p-secret" not in answer["error"]


def test_a_poisoned_value_is_shown_repaired_and_replayed(node: Node, influx: Influx, eventually: Eventually) -> None:
    influx.ask("POST", "/write?db=site&precision=s", f'meter,node=pi voltage="high" {int(START)}'.encode())
    node.configure(to_influx(influx))
    node.write(3)
    node.start()
    eventually(lambda: influx.points("power", "meter") == expected(3))
    listed = eventually(lambda: (got := node.ask("dead-letters", name="influx"))["count"] == 3 and got)
    assert [letter["values"] for letter in listed["dead_letters"]] == [{"pi/meter/voltage": 230.5}] * 3
    assert "field type conflict" in listed["dead_letters"][0]["reason"]
    influx.query("DROP MEASUREMENT meter")
    edited = node.ask("dead-letters-edit", name="influx", id=1, values={"pi/meter/voltage": 231.0})
    assert edited["dead_letter"]["values"] == {"pi/meter/voltage": 231.0}
    assert node.ask("dead-letters-retry", name="influx", ids=[1, 2]) == {"ok": True, "count": 2}
    eventually(lambda: list(influx.points("voltage", "meter").values()) == [231.0, 230.5])
    eventually(lambda: node.ask("dead-letters", name="influx")["count"] == 1)
    assert node.ask("dead-letters-drop", name="influx") == {"ok": True, "count": 1}


def test_a_wrong_target_is_one_line_and_exit_code_1(node: Node, processes: Processes) -> None:
    node.configure('kind = "influxdb"\nname = "influx"\nurl = "http://h"\nbucket = "b"\nrow = 5\n')
    assert node.start().wait(60) == 1
    assert "[uploader]: targets.influx: no such option: row" in processes.output()


def test_the_former_name_of_an_option_is_an_error_that_says_the_present_one(node: Node, processes: Processes) -> None:
    node.configure('kind = "file"\nname = "card"\nkeep = 5\n')
    assert node.start().wait(60) == 1
    assert "[uploader]: targets.card: no such option: keep; it is now max_files" in processes.output()


def test_the_same_from_the_command_line(node: Node, influx: Influx, eventually: Eventually) -> None:
    influx.ask("POST", "/write?db=site&precision=s", f'meter,node=pi voltage="high" {int(START)}'.encode())
    node.configure(to_influx(influx))
    node.write(2)
    node.start()
    eventually(lambda: (node.answers() or {"targets": [{}]})["targets"][0].get("dead_letters") == 2)

    def uploads(*arguments: str, stdin: str = "") -> tuple[int, str]:
        command = [sys.executable, "-m", "cli", "uploads", "--config"]
        done = subprocess.run(
            [*command, str(node.folder / "config.toml"), *arguments],
            cwd=ROOT, input=stdin, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    code, output = uploads("list")
    assert code == 0, output
    assert "influx (influxdb, config.toml): running" in output
    assert "dead letters: 2" in output
    assert json.loads(uploads("list", "--json")[1])[0]["name"] == "influx"
    code, output = uploads("dead-letters", "list", "influx")
    assert [json.loads(line)["values"] for line in output.splitlines()] == [{"pi/meter/voltage": 230.5}] * 2
    influx.query("DROP MEASUREMENT meter")
    assert uploads("dead-letters", "edit", "influx", "1", "pi/meter/voltage=231.5")[0] == 0
    assert uploads("dead-letters", "retry", "influx", "1") == (0, "dead letters to retry: 1\n")
    eventually(lambda: list(influx.points("voltage", "meter").values()) == [231.5])
    assert uploads("dead-letters", "drop", "influx")[0] == 2
    assert uploads("dead-letters", "drop", "influx", "--all") == (0, "dead letters deleted: 1\n")
    assert uploads("put", "files", stdin='{"kind": "file", "enabled": false}')[0] == 0
    assert uploads("put", "files", stdin="no JSON")[0] == 1
    assert uploads("pause", "files") == (0, "files is paused; its backlog is kept\n")
    assert uploads("resume", "files") == (0, "files continues\n")
    code, output = uploads("delete", "influx", "--yes")
    assert (code, output) == (1, "Error: influx is defined in config.toml: change it there\n")
    assert uploads("delete", "files", "--yes") == (0, "files is deleted\n")
    assert uploads("test", "influx") == (0, "HTTP 204\n")
