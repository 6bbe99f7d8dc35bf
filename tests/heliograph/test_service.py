"""Services as processes: how they start, report their status, and end."""

import os
import queue
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heliograph import __version__, logs, topics
from heliograph.bus import Bus, Message
from heliograph.config import Broker, Node
from heliograph.errors import ConfigError
from heliograph.messages import Status, decode
from heliograph.service import Service
from tests.conftest import LocalBroker, Processes, free_port

Eventually = Callable[[Callable[[], object]], object]
PATIENCE = 30.0
PROBE = "tests.heliograph.probe"
DATED = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d"


class Watcher:
    """Receives the status of the probe."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        bus.subscribe(topics.service("roof", "probe", "status"), self.inbox.put)
        bus.subscribe("ready", self.inbox.put)
        bus.publish("ready", b"")
        assert self.inbox.get(timeout=PATIENCE).topic == "ready"

    def until(self, wanted: Callable[[Status], object]) -> Status:
        while True:
            status = decode(Status, self.inbox.get(timeout=PATIENCE).payload)
            if wanted(status):
                return status


@pytest.fixture
def watcher(broker: LocalBroker) -> Iterator[Watcher]:
    with Bus(Broker(port=broker.port), "roof", "watcher") as bus:
        assert bus.wait_connected(PATIENCE)
        yield Watcher(bus)


@pytest.fixture
def config(tmp_path: Path, broker: LocalBroker) -> Callable[[str], str]:
    def write(section: str) -> str:
        file = tmp_path / "config.toml"
        data = tmp_path / "data"
        file.write_text(f'[node]\nname = "roof"\ndata = "{data}"\n[broker]\nport = {broker.port}\n{section}\n')
        return str(file)

    return write


def full(status: Status) -> bool:
    return status.counters.get("things") == 3 and bool(status.set_aside)


def test_a_service_reports_its_status_and_its_last_bad_inputs(
    processes: Processes, watcher: Watcher, config: Callable[[str], str], tmp_path: Path
) -> None:
    processes.start(PROBE, config(""), TMPDIR=str(tmp_path))
    status = watcher.until(full)
    assert (status.state, status.version) == ("online", __version__)
    assert status.counters == {"things": 3, "set_aside": 13, "watched": 7}
    assert status.facts == {"colour": "red"}
    assert 0 < status.started <= status.time
    assert [(item.why, item.what[:8]) for item in status.set_aside[-2:]] == [
        ("not a thing", "thing 11"),
        ("not bytes", "\\xff\0"),
    ]
    assert len(status.set_aside) == 10
    assert status.set_aside[0].where == "port \\udfff"
    assert all(max(len(item.what), len(item.where)) <= 200 for item in status.set_aside)
    assert processes.output().count("set aside: not a thing") == 1
    assert (tmp_path / f"heliograph-{os.getuid()}" / "probe.heartbeat").exists()


def test_a_problem_that_is_new_or_over_is_reported_at_once(
    broker: LocalBroker, watcher: Watcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heliograph.service.STATUS_SECONDS", 1e6)
    monkeypatch.setattr("heliograph.service.LOOK_SECONDS", 0.05)
    with Service("probe", Node(name="roof", data=str(tmp_path)), Broker(port=broker.port)) as service:
        service.fact("problems", ["the roof leaks"])
        watcher.until(lambda status: status.facts.get("problems") == ["the roof leaks"])
        service.fact("problems", [])
        watcher.until(lambda status: status.facts.get("problems") == [])


def test_that_readings_are_kept_back_is_reported_at_once(
    broker: LocalBroker, watcher: Watcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heliograph.service.STATUS_SECONDS", 1e6)
    monkeypatch.setattr("heliograph.service.LOOK_SECONDS", 0.05)
    node = Node(name="roof", data=str(tmp_path), clock="file", clock_file=str(tmp_path / "set"))
    with Service("probe", node, Broker(port=broker.port)) as service:
        watcher.until(lambda status: status.clock and "waits_for_clock" not in status.facts)
        service.producer()
        watcher.until(lambda status: "waits_for_clock" in status.facts)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_service_with_0_and_an_offline_of_its_own(
    processes: Processes, watcher: Watcher, config: Callable[[str], str], number: signal.Signals
) -> None:
    process = processes.start(PROBE, config(""))
    watcher.until(full)
    process.send_signal(number)
    assert watcher.until(lambda status: status.state == "offline").time > 0  # its will has no time
    assert process.wait(PATIENCE) == 0
    assert "Traceback" not in processes.output()


def test_a_service_that_is_done_ends_with_0_and_offline(
    processes: Processes, watcher: Watcher, config: Callable[[str], str]
) -> None:
    process = processes.start(PROBE, config('[probe]\nthen = "return"'))
    assert process.wait(PATIENCE) == 0
    assert watcher.until(lambda status: status.state == "offline").time > 0
    assert "Traceback" not in processes.output()


def test_a_killed_service_is_offline_by_its_last_will(
    processes: Processes, watcher: Watcher, config: Callable[[str], str]
) -> None:
    process = processes.start(PROBE, config(""))
    watcher.until(full)
    process.kill()
    assert watcher.until(lambda status: status.state == "offline").time == 0


@pytest.mark.parametrize("then", ["crash_thread", "crash_callback"])
def test_a_crash_on_any_thread_ends_the_process_loudly_and_brings_its_will(
    processes: Processes, watcher: Watcher, config: Callable[[str], str], eventually: Eventually, then: str
) -> None:
    process = processes.start(PROBE, config(f'[probe]\nthen = "{then}"'))
    # sent until it is received: the broker drops a message that comes before the subscription
    eventually(lambda: watcher.bus.publish("probe/go", b"") and process.poll() is not None)
    assert process.returncode == 1
    assert "RuntimeError: a mistake" in processes.output()
    assert watcher.until(lambda status: status.state == "offline").time == 0


def test_a_crash_of_the_main_thread_ends_the_process_loudly(
    processes: Processes, watcher: Watcher, config: Callable[[str], str]
) -> None:
    process = processes.start(PROBE, config('[probe]\nthen = "crash"'))
    assert process.wait(PATIENCE) == 1
    assert "RuntimeError: a mistake" in processes.output()


def test_a_service_starts_and_stops_while_the_broker_is_away(
    processes: Processes, tmp_path: Path, eventually: Eventually
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[node]\nname = "roof"\ndata = "{tmp_path}"\n[broker]\nport = {free_port()}\n')
    process = processes.start(PROBE, str(file))
    eventually(lambda: "is away" in processes.output())
    process.terminate()
    assert process.wait(PATIENCE) == 0
    assert "Traceback" not in processes.output()


def test_a_status_comes_again_whenever_the_broker_does(
    processes: Processes, broker: LocalBroker, watcher: Watcher, config: Callable[[str], str], eventually: Eventually
) -> None:
    processes.start(PROBE, config(""))
    watcher.until(full)
    broker.kill()
    eventually(lambda: not watcher.bus.connected)
    broker.start()
    assert watcher.until(full).state == "online"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[probe]\nthen = "dance"', "[probe] then: expected"),
        ("[probe]\nthne = 1", "[probe]: no such option: thne"),
        ("[broker]\nport = 0", "[broker]: port: 0 is not between 1 and 65535"),
        ('[node]\nname = "Roof/1"', "[node]: name: 'Roof/1' is not a name"),
        ("[probe", "not TOML"),
        ('[broker]\nca = "/nowhere.pem"', "[broker]: ca: cannot use '/nowhere.pem'"),
    ],
)
@pytest.mark.parametrize("check", [[], ["--check"]])
def test_a_wrong_configuration_is_one_line_and_exit_code_1(
    processes: Processes, tmp_path: Path, text: str, message: str, check: list[str]
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    assert processes.start(PROBE, str(file), *check).wait(PATIENCE) == 1
    line = processes.output()
    assert re.match(rf"{'' if check else DATED + ' CRITICAL '}probe: {file}: ", line)
    assert message in line
    assert line.count("\n") == 1


def test_a_configuration_that_is_not_there_is_one_line(processes: Processes, tmp_path: Path) -> None:
    assert processes.start(PROBE, str(tmp_path / "none.toml"), "--check").wait(PATIENCE) == 1
    assert processes.output() == f"probe: {tmp_path / 'none.toml'}: No such file or directory\n"


def test_every_line_of_a_service_is_dated_and_levelled_also_those_of_a_traceback(
    processes: Processes, config: Callable[[str], str]
) -> None:
    assert processes.start(PROBE, config('[probe]\nthen = "crash"')).wait(PATIENCE) == 1
    lines = [logs.parsed(line) for line in processes.output().splitlines()]
    assert len(lines) > 5
    assert all(line and line.service == "probe" for line in lines)
    failed = [line for line in lines if line and line.level == "CRITICAL"]
    assert (failed[0].text, failed[0].continues) == ("failed", False)
    assert failed[-1].text.strip() == "RuntimeError: a mistake"
    assert all(line.continues for line in failed[1:])


def test_the_log_level_follows_the_configuration_of_the_node_and_of_the_service(
    processes: Processes, watcher: Watcher, config: Callable[[str], str], eventually: Eventually
) -> None:
    file = Path(config('[probe]\nlog_level = "error"'))
    processes.start(PROBE, str(file))
    watcher.until(full)
    assert processes.output() == ""
    text = file.read_text()
    file.write_text(text.replace('"error"', '"loud"'))
    eventually(lambda: "keeping the log level error: " in processes.output())
    assert "[probe] log_level: expected" in processes.output()
    file.write_text(text.replace('[probe]\nlog_level = "error"', "").replace("[node]", '[node]\nlog_level = "debug"'))
    eventually(lambda: "INFO    probe: the log level is debug now" in processes.output())


def test_check_prints_nothing_about_a_good_configuration_and_connects_to_nothing(
    processes: Processes, watcher: Watcher, config: Callable[[str], str]
) -> None:
    process: subprocess.Popen[bytes] = processes.start(PROBE, config(""), "--check")
    assert process.wait(PATIENCE) == 0
    assert processes.output() == ""
    assert watcher.inbox.empty()


def test_an_outbox_that_cannot_be_opened_is_a_wrong_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    service = Service("probe", Node(name="roof", data=str(tmp_path / "file")), Broker(port=free_port()))
    with pytest.raises(ConfigError, match="the outbox cannot be opened"):
        service.producer()
