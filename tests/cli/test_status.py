"""`heliograph status` and `doctor`, of a node that answers as the test says, and of none."""

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import heliograph
from cli.doctor import machine
from cli.main import main
from tests.conftest import GuardedBroker, LocalBroker, free_port

NOON = 1_763_640_000.0  # 2025-11-20 12:00 UTC
HANGS = {
    "code": "service_hung",
    "summary": "storage hangs",
    "action": "restart it",
    "since": NOON,
    "service": "storage",
}


class Node:
    """Answers as the API of the node roof."""

    def __init__(self) -> None:
        self.problems: list[dict[str, Any]] = []
        self.version = heliograph.__version__
        self.store = True
        self.is_other = False
        self.other_devices: list[dict[str, Any]] = []
        self.other_nodes: list[dict[str, Any]] = []
        node = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answers = {"devices": node.devices, "nodes": node.nodes}
                body = json.dumps(answers.get(self.path.rpartition("/")[2], node.health)()).encode()
                self.send_response(503 if not node.store and "health" in self.path else 200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def health(self) -> dict[str, Any]:
        if self.is_other:
            return {"detail": "something else"}
        services = {
            name: {"state": "online", "version": self.version, "counters": {"frames_backlog": 2}, "facts": {}}
            for name in ("api", "storage", "uploader")
        }
        services["uploader"]["facts"] = {
            "targets": {"home": {"state": "waiting", "backlog": 7, "last_error": "no route to host"}}
        }
        return {
            "status": "degraded" if self.problems else "ok",
            "node": "roof",
            "bus": True,
            "store": self.store,
            "problems": self.problems,
            "services": services,
        }

    def devices(self) -> list[dict[str, Any]]:
        return [
            {"node": "roof", "device": "grid", "availability": "online", "why": ""},
            {"node": "roof", "device": "tracer", "availability": "offline", "why": "no response"},
            *self.other_devices,
        ]

    def nodes(self) -> list[dict[str, Any]]:
        return [{"node": "roof", "devices": 2, "services": {}}, *self.other_nodes]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def roof() -> Iterator[Node]:
    made = Node()
    yield made
    made.close()


def called(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_a_sound_node_is_a_short_table(roof: Node) -> None:
    result = called("status", "--url", roof.url)
    assert result.output.splitlines() == [
        f"roof: ok   {roof.url}/",
        "  services   3 online",
        "  devices    1 online, 1 offline",
        "               tracer: offline: no response",
        "  storage    answers, 6 messages wait to be stored",
        "  upload     home: waiting, 7 readings wait: no route to host",
    ]
    assert result.exit_code == 0


def test_a_problem_is_shown_with_what_to_do_and_the_exit_code_is_1(roof: Node) -> None:
    roof.problems, roof.store = [HANGS], False
    result = called("status", "--url", roof.url)
    assert result.output.splitlines()[-2:] == ["storage hangs (since 2025-11-20 12:00:00 UTC)", "  -> restart it"]
    assert "  storage    does not answer" in result.output
    assert result.exit_code == 1
    shown = json.loads(called("status", "--url", roof.url, "--json").output)
    assert (shown["status"], shown["problems"], shown["devices"]) == ("degraded", [HANGS], roof.devices())


def test_a_hub_shows_its_other_nodes_and_since_when_one_is_offline(roof: Node) -> None:
    poller = {"state": "online"}
    roof.other_nodes = [{"node": "shed", "devices": 1, "services": {"modbus_poller": poller}}]
    roof.other_devices = [{"node": "shed", "device": "pump", "availability": "offline", "why": "no port"}]
    devices = ["  devices    1 offline", "               pump: offline: no port"]
    lines = called("status", "--url", roof.url).output.splitlines()
    assert lines[-4:] == ["shed: ok", "  services   1 online", *devices]
    assert "  devices    1 online, 1 offline" in lines
    away = {**HANGS, "code": "port_away", "summary": "shed/modbus_poller: no port", "service": "shed/modbus_poller"}
    roof.problems = [away]
    assert "shed: degraded" in called("status", "--url", roof.url).output.splitlines()
    poller["state"] = "offline"
    roof.problems = [
        {**HANGS, "code": "node_offline", "summary": "shed: offline, with all its services", "service": ""}
    ]
    lines = called("status", "--url", roof.url).output.splitlines()
    assert lines[-6:-2] == ["shed: offline since 2025-11-20 12:00:00 UTC", "  services   1 offline", *devices]


def test_a_node_that_does_not_answer_is_exit_code_2(roof: Node) -> None:
    result = called("status", "--url", f"http://127.0.0.1:{free_port()}")
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert "Connection refused" in result.output
    roof.is_other = True
    result = called("status", "--url", roof.url)
    assert (result.exit_code, result.output) == (2, f"Error: no Heliograph answers at {roof.url}\n")


def completed(folder: Path, source: str) -> Path:
    """What `heliograph start` leaves behind of a node that has stopped, in the data folder."""
    run = folder / "data/run"
    run.mkdir(parents=True)
    (run / "source").write_text(f"{source}\n")
    port = free_port()
    (run / "config.toml").write_text(
        f'[node]\nname = "roof"\ndata = "{folder}/data"\nclock = "trust"\n[api]\nport = {free_port()}\n'
        f'[broker]\nhost = "127.0.0.1"\nport = {port}\n'
        '[[serial_bridge.ports]]\nname = "emontx"\nport = "/gone/site/emontx"\nformat = "rfm2pi"\n'
    )
    return run / "config.toml"


def test_of_a_node_that_has_stopped_the_commands_say_how_to_start_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broker and simulated site, which are away, were of that run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    result = called("status")
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert result.output.endswith("name it with --config, or its address with --url\n")
    result = called("doctor")
    assert result.exit_code == 1
    assert "no node runs here, and there is no config.toml -> `heliograph start` starts one" in result.output
    completed(tmp_path, "")
    result = called("status")
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert result.output.endswith(": Connection refused; the node does not run: heliograph start\n")
    result = called("doctor")
    assert (result.exit_code, result.output) == (
        0,
        "roof: nothing found; the node does not run: heliograph start\n",
    )
    (tmp_path / "data/run/source").write_text(f"{tmp_path}/mine.toml\n")
    (tmp_path / "mine.toml").write_text(
        '[[serial_bridge.ports]]\nname = "a"\nport = "/dev/not-there"\nformat = "rfm2pi"\n'
    )
    assert called("status").output.endswith(f"the node does not run: heliograph start --config {tmp_path}/mine.toml\n")
    result = called("doctor")
    assert result.exit_code == 1
    assert result.output == (
        "[serial_bridge] ports[0].port: /dev/not-there is not there -> plug it in, or correct the port\n"
    )


def test_a_broker_program_in_the_data_folder_is_the_nodes_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed node unpacks one where the machine has none."""
    programs = tmp_path / "tools/bin"
    programs.mkdir(parents=True)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(
        "cli.programs.find", lambda name, *folders: shutil.which(name, path=str(folders[0])) or missing()
    )

    def missing() -> str:
        raise FileNotFoundError("there is no mosquitto")

    assert [one.summary for one in machine.mosquitto(tmp_path)] == [
        "there is no mosquitto, the node's broker, on this machine"
    ]
    (tmp_path / "apt-get").touch(mode=0o755)
    assert list(machine.mosquitto(tmp_path)) == []  # start unpacks one
    (programs / "mosquitto").write_text("#!/bin/sh\necho mosquitto version 1.5.7\n")
    (programs / "mosquitto").chmod(0o755)
    assert [one.summary for one in machine.mosquitto(tmp_path)] == ["mosquitto 1.5 has no MQTT 5"]


def written(folder: Path, text: str) -> str:
    path = folder / "config.toml"
    path.write_text(f'[node]\nname = "roof"\ndata = "{folder}/data"\nclock = "trust"\n{text}')
    return str(path)


def test_the_doctor_repeats_what_the_node_reports_once_and_finds_old_services(roof: Node, tmp_path: Path) -> None:
    port = roof.server.server_port
    config = written(
        tmp_path, f'[api]\nport = {port}\n[[serial_bridge.ports]]\nport = "/dev/not-there"\nformat = "rfm2pi"\n'
    )
    result = called("doctor", "--config", config)
    assert (result.exit_code, result.output) == (0, "roof: nothing found\n")
    roof.problems, roof.version = [HANGS], "0.0.9"
    result = called("doctor", "--config", config)
    assert result.exit_code == 1
    assert result.output.splitlines()[0] == "storage hangs -> restart it"
    assert (
        f"uploader runs version 0.0.9, this command is of {heliograph.__version__} -> restart the node" in result.output
    )


def test_the_doctor_looks_itself_where_no_node_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlim")
    config = written(
        tmp_path,
        f'[api]\nport = {free_port()}\n[broker]\nhost = "127.0.0.1"\nport = {free_port()}\n'
        '[[serial_bridge.ports]]\nname = "a"\nport = "/dev/not-there"\nformat = "rfm2pi"\n',
    )
    Path(config).write_text(Path(config).read_text().replace('"trust"', f'"file"\nclock_file = "{tmp_path}/set"'))
    result = called("doctor", "--config", config)
    assert result.exit_code == 1
    for sentence in (
        "Connection refused -> start the broker",
        "the clock is not set: readings are kept back until it is -> connect the node to a time server",
        "[serial_bridge] ports[0].port: /dev/not-there is not there -> plug it in, or correct the port",
        "TZ: there is no time zone Europe/Berlim -> correct it",
    ):
        assert sentence in result.output
    assert len(result.output.splitlines()) == 4


def test_the_doctor_finds_mistakes_in_the_configuration(tmp_path: Path) -> None:
    config = written(tmp_path, "nmae = 1\n")
    result = called("doctor", "--config", config)
    assert result.exit_code == 1
    assert "no such option: nmae" in result.output


def test_the_doctor_finds_what_a_service_would_refuse(tmp_path: Path) -> None:
    """It found nothing wrong with a node that does not start."""
    config = written(tmp_path, '[sensor_reader.sensors.pi]\nkind = "system"\n')
    result = called("doctor", "--config", config)
    assert result.exit_code == 1
    assert "[sensor_reader]" in result.output
    assert "correct it; heliograph check tells whether all is good" in result.output


def test_a_password_that_the_broker_refuses_is_found_without_disturbing_the_service(
    broker: LocalBroker, tmp_path: Path
) -> None:
    config = written(tmp_path, f'[api]\nport = {free_port()}\n[broker]\nhost = "127.0.0.1"\nport = {broker.port}\n')
    assert called("doctor", "--config", config).output == "roof: nothing found\n"
    (tmp_path / "none").touch()
    broker.set("allow_anonymous", "false")
    broker.kill()
    broker.start()
    result = called("doctor", "--config", config)
    assert "the broker refuses api: Not authorized -> restart the broker" in result.output
    assert "the broker refuses storage: Not authorized" in result.output


def test_passwords_that_the_broker_accepts_are_no_finding(guarded_broker: GuardedBroker, tmp_path: Path) -> None:
    config = written(tmp_path, f'[api]\nport = {free_port()}\n{guarded_broker.section}host = "127.0.0.1"\n')
    assert called("doctor", "--config", config).output == "roof: nothing found\n"
    (guarded_broker.secrets / "storage").write_text("another")
    assert called("doctor", "--config", config).output.startswith("the broker refuses storage: Not authorized -> ")


@pytest.mark.parametrize(
    ("life", "end", "expected"),
    [
        ("0x01 0x01\n", "0x01\n", ""),
        ("0x00 0x00\n", "0x00\n", ""),
        ("0x03 0x09\n", "0x01\n", "mmcblk0 has used 80 to 90 % of its life or more"),
        ("0x0b 0x01\n", "0x01\n", "mmcblk0 has used 90 to 100 % of its life or more"),
        ("0x01 0x01\n", "0x02\n", "mmcblk0 has used most of its spare blocks"),
        ("", "", ""),
    ],
)
def test_a_worn_card_is_found_where_it_says_so(life: str, end: str, expected: str, tmp_path: Path) -> None:
    device = tmp_path / "mmcblk0/device"
    device.mkdir(parents=True)
    for name, text in (("life_time", life), ("pre_eol_info", end)):
        if text:
            (device / name).write_text(text)
    assert [one.summary for one in machine.card(tmp_path)] == ([expected] if expected else [])


def test_a_time_zone_that_is_not_there_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TZ", raising=False)
    assert list(machine.zone(tmp_path / "none")) == []  # UTC
    (tmp_path / "localtime").symlink_to(tmp_path / "Atlantis")
    [finding] = machine.zone(tmp_path / "localtime")
    assert "names a zone that is not there" in finding.summary
    for name in ("Europe/Berlin", "CET-1CEST,M3.5.0,M10.5.0/3", ":/etc/localtime"):
        monkeypatch.setenv("TZ", name)
        assert list(machine.zone()) == []


def test_a_node_that_only_reads_has_no_api_and_its_status_names_the_one_that_has(
    tmp_path: Path, broker: LocalBroker
) -> None:
    """Case N4."""
    path = tmp_path / "config.toml"
    path.write_text(
        f'[node]\nname = "shed"\ndata = "{tmp_path}"\nclock = "trust"\nproducers_only = true\n'
        f'[broker]\nhost = "127.0.0.1"\nport = {broker.port}\n[modbus_poller]\nlines = []\n'
    )
    done = CliRunner().invoke(main, ["status", "--config", str(path)])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "the node at the broker 127.0.0.1 has the store and the API: name its address with --url" in done.stderr
    done = CliRunner().invoke(main, ["doctor", "--config", str(path)])
    assert "api" not in done.stdout
