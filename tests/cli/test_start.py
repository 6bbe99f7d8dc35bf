import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from queue import SimpleQueue

import click
import msgspec
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from cli.start import command, effective_config, options, orphans, plan, supervision
from cli.start.plan import Plan
from heliograph import logs
from heliograph.errors import ConfigError
from heliograph.supervisor import noted_mistake
from tests.conftest import ROOT, free_port
from tests.uploader.servers.web_server import Request, Response, WebServer


def made(*arguments: str) -> Plan:
    return plan.make(options.parse(arguments))


def with_ports(*arguments: str) -> Plan:
    chosen = options.parse(["--port", str(free_port()), *arguments])
    return plan.choose_ports(plan.make(chosen), chosen)


def listening(port: int = 0) -> socket.socket:
    return socket.create_server(("127.0.0.1", port))


def test_the_broker_takes_the_next_port_where_another_broker_listens(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], free_ports: Callable[[], int]
) -> None:
    with listening(free_ports()) as other:
        taken = other.getsockname()[1]
        monkeypatch.setattr(options, "BROKER_PORT", taken)
        port = with_ports().broker_port
        assert port
        assert taken < port < taken + plan.BROKER_PORTS
        assert f"listens on port {port}" in capsys.readouterr().out
        with pytest.raises(ConfigError, match=f"--broker-port: port {taken} is in use; choose another"):
            with_ports("--broker-port", str(taken))


def test_the_broker_has_its_usual_port_where_that_is_free(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], free_ports: Callable[[], int]
) -> None:
    port = free_ports()
    monkeypatch.setattr(options, "BROKER_PORT", port)
    assert with_ports().broker_port == port
    assert with_ports("--broker-port", str(port)).broker_port == port
    assert capsys.readouterr().out == ""


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return str(path)

    return write


def test_what_the_command_line_leaves_open_the_configuration_decides(
    tmp_path: Path, written: Callable[[str], str], free_ports: Callable[[], int]
) -> None:
    """Case N3."""
    broker, other = free_ports(), free_ports()
    file = written(
        f'[node]\ndata = "{tmp_path}/somewhere"\n[api]\nhost = "0.0.0.0"\nport = 21260\n[broker]\nport = {broker}\n'
    )
    node = made("--config", file)
    assert (node.data, node.host, node.port, node.broker_port) == (tmp_path / "somewhere", "0.0.0.0", 21260, broker)
    completed = effective_config.complete(node, node.file)
    assert completed["api"] == {"host": "0.0.0.0", "port": 21260, "keys": completed["api"]["keys"]}
    assert completed["broker"]["port"] == broker
    assert completed["node"]["data"] == str(tmp_path / "somewhere")
    chosen = ("--data", str(tmp_path), "--host", "127.0.0.1", "--port", "81", "--broker-port", str(other))
    node = made("--config", file, *chosen)
    assert (node.data, node.host, node.port, node.broker_port) == (tmp_path, "127.0.0.1", 81, other)


def test_without_either_the_defaults_hold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    node = made()
    assert (node.path, node.data, node.host, node.port) == (None, tmp_path / "data", "127.0.0.1", 8000)
    assert node.simulate
    completed = effective_config.complete(node, node.file)
    assert plan.services_of(completed) == ["api", "modbus_poller", "serial_bridge", "storage", "uploader"]


def test_the_simulated_site_is_added_to_the_configuration_that_is_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.toml").write_text('[node]\nname = "roof"\ndata = "mine"\n[sensor_reader]\n')
    node = made("--simulate")
    assert (node.path, node.data, node.simulate) == (Path("config.toml"), tmp_path / "mine", True)
    assert plan.services_of(effective_config.complete(node, node.file)) == [
        *("api", "modbus_poller", "sensor_reader", "serial_bridge", "storage", "uploader")
    ]
    assert not made().simulate


def test_the_broker_of_another_machine_stays_as_it_is_written(written: Callable[[str], str]) -> None:
    section = {"host": "hub.local", "port": 8883, "ca": "/etc/ca.crt", "password": "file:/etc/{service}"}
    text = "".join(f"{key} = {value!r}\n" for key, value in section.items())
    node = made("--config", written(f"[broker]\n{text}"))
    assert node.broker_port is None
    assert effective_config.complete(node, node.file)["broker"] == section


def test_a_node_without_a_store_runs_only_what_reads_devices(written: Callable[[str], str]) -> None:
    """Case N4."""
    text = '[node]\nname = "shed"\nproducers_only = true\n[broker]\nhost = "hub"\n[modbus_poller]\n[sensor_reader]\n'
    with listening() as other:  # a dashboard that is not its own
        node = made("--config", written(text), "--port", str(other.getsockname()[1]))
        assert plan.choose_ports(node, options.parse([])) == node
    completed = effective_config.complete(node, node.file)
    assert plan.services_of(completed) == ["modbus_poller", "sensor_reader"]
    assert "api" not in completed
    done = subprocess.run(
        [sys.executable, "-m", "services.storage", "--check", written(text)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "[node] producers_only: storage does not run on this node, but on its hub" in done.stderr


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ('[broker]\npassword = "x"', (), r"mine.toml: \[broker\] password: without host .* name the host"),
        ('[broker]\nca = "x"', (), r"mine.toml: \[broker\] ca: without host"),
        (
            '[broker]\nhost = "hub"',
            ("--broker-port", "1"),
            r"--broker-port is of a broker that this node runs; .*mine.toml",
        ),
        ("[broker]\nport = 99999", (), r"mine.toml: \[broker\] port: expected a number from 1 to 65535, found 99999"),
        ("[api]\nport = 0", (), r"mine.toml: \[api\] port: expected a number from 1 to 65535, found 0"),
        ("[api]\nport = '80'", (), r"mine.toml: \[api\] port: expected a number from 1 to 65535, found '80'"),
        ("[api]\nport = true", (), r"mine.toml: \[api\] port: expected a number from 1 to 65535, found True"),
        ("[broker]\nport = true", (), r"mine.toml: \[broker\] port: expected a number from 1 to 65535, found True"),
        ("[api]\nhost = 7", (), r"mine.toml: \[api\] host: expected a text, found 7"),
        ("api = 7", (), r"mine.toml: api: expected a section \[api\], found 7"),
        ("[node]\ndata = ''", (), r"mine.toml: \[node\] data: expected a text, found ''"),
        (
            "[node]\nproducers_only = true\n[modbus_poller]",
            (),
            r"mine.toml: \[node\] producers_only: name the broker of the node that has the store: \[broker\] host",
        ),
        (
            '[node]\nproducers_only = true\n[broker]\nhost = "hub"\n[storage]\n',
            (),
            r"producers_only: storage runs on the node that has the store: take the section \[storage\] out",
        ),
        (
            '[node]\nproducers_only = true\n[broker]\nhost = "hub"\n',
            (),
            r"producers_only: nothing to run; add a section for a device: serial_bridge, modbus_poller, sensor_reader",
        ),
        ("[nodes]", (), r"mine.toml: \[nodes\]: no such section; did you mean node\? There are node, broker"),
    ],
)
def test_what_cannot_be_started_is_refused_in_a_sentence(
    text: str, arguments: tuple[str, ...], message: str, written: Callable[[str], str]
) -> None:
    with pytest.raises(ConfigError, match=message):
        made("--config", written(text), *arguments)


def test_an_address_that_this_machine_does_not_have_is_refused(written: Callable[[str], str]) -> None:
    """Case N13."""
    with pytest.raises(
        ConfigError, match=r"--host: 192.0.2.7 is not an address of this machine; 0.0.0.0 listens on all"
    ):
        with_ports("--host", "192.0.2.7")
    with pytest.raises(ConfigError, match=r"mine.toml: \[api\] host: no address for 'no such.host'"):
        with_ports("--config", written("[api]\nhost = 'no such.host'"))


@pytest.mark.parametrize(("section", "option"), [("api", "--port"), ("broker", "--broker-port")])
def test_a_port_in_use_is_refused_with_the_place_where_it_was_chosen(
    section: str, option: str, written: Callable[[str], str]
) -> None:
    with listening() as other:
        taken = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"^{option}: port {taken} is in use; choose another"):
            with_ports(option, str(taken))
        file = written(f"[{section}]\nport = {taken}\n")
        chosen = options.parse(["--config", file])
        with pytest.raises(
            ConfigError, match=rf"mine.toml: \[{section}\] port: port {taken} is in use; choose another"
        ):
            plan.choose_ports(plan.make(chosen), chosen)


def test_what_an_earlier_start_left_running_is_named_and_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Case N17: a service that ignores SIGTERM is killed; what a person has opened stays."""
    (tmp_path / "services").mkdir()
    (tmp_path / "services/storage.py").write_text(
        "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint(flush=True)\ntime.sleep(60)\n"
    )
    run = tmp_path / "data/run"
    run.mkdir(parents=True)
    (run / "config.toml").touch()
    service = subprocess.Popen(
        [sys.executable, "-m", "services.storage", str(run / "config.toml")], cwd=tmp_path, stdout=subprocess.PIPE
    )
    pager = subprocess.Popen(["tail", "-f", str(run / "config.toml")])
    try:
        assert service.stdout
        service.stdout.readline()
        orphans.stop(run, terminate_seconds=0.2)
        assert service.wait(timeout=60) == -signal.SIGKILL
        assert f"left running: storage (process {service.pid})" in capsys.readouterr().out
        assert pager.poll() is None
        orphans.stop(run)
        assert capsys.readouterr().out == ""
    finally:
        for process in (service, pager):
            process.kill()
            process.wait()
        if service.stdout:
            service.stdout.close()


@pytest.mark.slow
def test_a_client_without_an_id_of_its_own_is_let_in(tmp_path: Path, free_ports: Callable[[], int]) -> None:
    (tmp_path / "run").mkdir()
    port = free_ports()
    broker = subprocess.Popen(effective_config.broker_command(tmp_path, port))
    try:
        client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)  # as mosquitto_sub without -i
        client.username_pw_set("viewer", (tmp_path / "secrets/viewer").read_text().strip())
        reasons: SimpleQueue[str] = SimpleQueue()
        client.on_connect = lambda *arguments: reasons.put(str(arguments[3]))
        for attempt in range(100):
            try:
                client.connect("127.0.0.1", port)
                break
            except ConnectionRefusedError:
                assert attempt < 99
                time.sleep(0.05)
        client.loop_start()
        assert reasons.get(timeout=20) == "Success"
        client.disconnect()
        client.loop_stop()
        client.reinitialise()  # closes what paho wakes its thread with, too
    finally:
        broker.kill()
        broker.wait()


def test_options_have_defaults_and_a_mistake_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert options.parse([]).simulate is None
    assert options.parse(["--no-simulate", "--port", "81"]).port == 81
    for wrong in (
        ["--portt", "1"],
        ["--port", "http"],
        ["--port", "99999"],
        ["--broker-port", "0"],
        ["--simul"],
        ["more"],
    ):
        with pytest.raises(SystemExit) as ended:
            options.parse(wrong)
        assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "scripts/start: error: " in error
    assert "argument --port: '99999' is not a port: 1 to 65535" in error


@pytest.mark.slow
def test_a_logfile_that_cannot_be_written_is_reported_with_its_option(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cli", "start", "--data", str(tmp_path), "--logfile", "/dev/null/node.log"],
        cwd=ROOT,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "Error: --logfile: cannot write /dev/null/node.log: Not a directory\n")


@pytest.mark.slow
def test_the_log_level_of_a_node_follows_its_configuration(tmp_path: Path, eventually: Callable[..., object]) -> None:
    """The services read the effective configuration, the supervisor reads it, too."""
    mine, effective = tmp_path / "mine.toml", tmp_path / "config.toml"
    mine.write_text("")
    effective.write_text("")
    script = (
        "from pathlib import Path\n"
        "from cli.start import config_reload\n"
        "from heliograph import config, logs\n"
        "logs.set_up('supervisor')\n"
        "config_reload.POLL_SECONDS = 0.02\n"
        f"mine, effective = Path({str(mine)!r}), Path({str(effective)!r})\n"
        "level = logs.LevelWatch(effective, 'supervisor')\n"
        "level.apply('error')\n"
        "config_reload.watch(mine, effective, lambda: config.read(mine), lambda made: None, level)\n"
    )
    with (tmp_path / "log").open("wb") as log:
        supervisor = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stderr=log)
    try:
        mine.write_text('[node]\nlog_level = "debug"\n')
        eventually(lambda: "INFO    supervisor: the log level is debug now" in (tmp_path / "log").read_text())
        assert "debug" in effective.read_text()
        mine.write_text("[node")
        eventually(lambda: "ERROR   supervisor: keeping the previous configuration: " in (tmp_path / "log").read_text())
        eventually(lambda: "not TOML" in noted_mistake(tmp_path))
        mine.unlink()
        eventually(lambda: f"{mine} is gone" in noted_mistake(tmp_path))
        mine.write_text("[node")
        eventually(lambda: "not TOML" in noted_mistake(tmp_path))
        mine.write_text("")
        eventually(lambda: not noted_mistake(tmp_path))
    finally:
        supervisor.kill()
        supervisor.wait()


@pytest.mark.slow
def test_a_process_that_ends_again_and_again_is_reported_and_waits(tmp_path: Path) -> None:
    """Case N13: this one works from its eighth start on."""
    starts, notes = tmp_path / "starts", tmp_path / "notes"
    note = f"cat $HELIOGRAPH_HEARTBEATS/probe.restarts >> {notes} 2> /dev/null"
    works = f"{note}; echo >> {starts}; test $(wc -l < {starts}) -lt 8 && exit 7; echo it works; exec sleep 60"
    script = (
        "from heliograph import logs\n"
        "from cli.start import supervision as s\n"
        "from cli.start.output import LogOutput\n"
        "output = LogOutput()\n"
        "logs.set_up_with(output)\n"
        "s.RESPAWN_SECONDS, s.PAUSE_SECONDS = 0.05, 0.1\n"
        f"s.run({{'probe': ['sh', '-c', {works!r}]}}, output)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as supervisor:
        assert supervisor.stdout
        lines = list(itertools.takewhile(lambda line: "it works" not in line, supervisor.stdout))
        supervisor.terminate()
        assert supervisor.wait(timeout=60) == 0
    again = [("WARNING", "probe ended with exit status 7; starting it again")] * 4
    broken = "probe ended with exit status 7, 5 times in a row: it does not work, its last lines say why; trying again every 0 s"
    logged = [line for text in lines if (line := logs.parsed(text.rstrip()))]
    assert len(logged) == len(lines)
    assert {line.service for line in logged} == {"supervisor"}
    assert [(line.level, line.text) for line in logged] == [("INFO", "starting probe"), *again, ("ERROR", broken)]
    noted = msgspec.json.Decoder().decode_lines(notes.read_bytes().replace(b"}{", b"}\n{"))
    assert [one["count"] for one in noted] == list(range(1, 8))  # what /health reports
    assert {one["how"] for one in noted} == {"ended with exit status 7"}


SIGNAL_WITHIN_A_LINE = """
import io, os, signal, sys

class Terminal(io.RawIOBase):
    def writable(self):
        return True

    def write(self, data):
        data = bytes(data)
        if b"it works" in data:
            os.kill(os.getpid(), signal.SIGTERM)
        return os.write(1, data)

sys.stdout = io.TextIOWrapper(io.BufferedWriter(Terminal()))
from heliograph import logs
from cli.start import supervision
from cli.start.output import LogOutput
output = LogOutput()
logs.set_up_with(output)
supervision.run({"probe": ["sh", "-c", "echo it works; exec sleep 600"]}, output)
"""


@pytest.mark.slow
def test_a_signal_that_comes_while_a_line_is_shown_stops_the_node() -> None:
    """Its handler logged a line: within another one that is an error, and the signal was lost."""
    with subprocess.Popen(
        [sys.executable, "-c", SIGNAL_WITHIN_A_LINE],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as supervisor:
        try:
            output, _ = supervisor.communicate(timeout=60)
        finally:
            supervisor.kill()
    assert supervisor.returncode == 0
    assert "supervisor: stopping" in output


def test_how_a_process_ended_is_a_sentence() -> None:
    assert supervision.ending(-9) == "was ended by signal 9 (Killed)"
    assert supervision.ending(1) == "ended with exit status 1"
    assert supervision.ending(None) == "has ended"


class Answering(WebServer):
    """A dashboard whose node has this status."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status

    def answer(self, request: Request) -> Response:
        return Response(self.status)


@pytest.mark.parametrize("status", [200, 503])
def test_the_address_of_the_page_is_printed_also_by_a_node_in_trouble(
    status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(Answering(status)) as server:
        command.announce("127.0.0.1", int(server.url.rpartition(":")[2]), "pi1")
    assert f"Node pi1 is up: {server.url}/" in click.unstyle(capsys.readouterr().out)
