"""What is wrong with a node, decided from the broker's silence and the services' reports, with clocks of the test's own."""

import json
from pathlib import Path
from typing import Any

import pytest

from heliograph import disk_space, heartbeat, restarts
from heliograph.restarts import Restarts
from services.api.health import HealthWatch
from services.api.live import LiveState
from services.api.schemas import HealthProblem

NOON = 1_763_640_000.0  # 2025-11-20 12:00 UTC
ONLINE = {"state": "online", "started": NOON - 3600}


class Node:
    """A watch of the node roof, whose broker and services do as the test says; `silent` ones are online, and do nothing."""

    def __init__(
        self, *configured: str, notes: Path | None = None, disks: tuple[Path, ...] = (), others: tuple[str, ...] = ()
    ) -> None:
        self.seconds = 0.0
        self.silent: set[str] = set()
        self.connected = True
        self.why = ""
        self.supervisor = ""
        self.mistake = ""
        self.live = LiveState()
        self.watch = HealthWatch(
            self.live,
            "roof",
            lambda: self.connected,
            why_away=lambda: self.why,
            supervisor_fault=lambda: self.supervisor,
            config_mistake=lambda: self.mistake,
            configured=configured,
            notes=notes,
            disks=disks,
            others=others,
            now=lambda: NOON + self.seconds,
            monotonic=lambda: self.seconds,
        )

    def status(self, service: str, content: dict[str, Any], node: str = "roof") -> None:
        topic = f"heliograph/{node}/services/{service}/status"
        self.live.update(topic, json.dumps(content).encode())
        self.watch.received(topic)

    def after(self, seconds: int, *, answers: bool = True) -> list[HealthProblem]:
        """Return the problems after so many seconds, in which the broker is asked and answers or not."""
        for _ in range(seconds):
            self.seconds += 1
            for (name, service), status in self.live.services.items():
                if answers and status.state == "online" and service not in self.silent:
                    self.watch.received(f"heliograph/{name}/services/{service}/heartbeat")
            if self.watch.asks() and answers:
                self.watch.received()
            self.watch.problems()
        return self.watch.problems()


def codes(problems: list[HealthProblem]) -> list[tuple[str, str]]:
    return [(one.code, one.service) for one in problems]


def test_a_sound_node_has_no_problem_however_quiet_it_is() -> None:
    node = Node("node", "broker", "quality", "api", "serial_bridge")
    for name in ("api", "serial_bridge", "storage"):
        node.status(name, {**ONLINE, "facts": {"waits_for_clock": False}})
    assert node.after(600) == []
    assert node.watch.bus


def test_what_is_wrong_with_a_node_that_is_stored_here_is_a_problem_of_the_hub_too() -> None:
    node = Node("api", others=("roof", "shed"))
    away = {"ports_away": {"/dev/ttyUSB0": "not there"}}
    for name, facts in (("modbus_poller", away), ("serial_bridge", {})):
        node.status(name, {**ONLINE, "facts": facts}, "shed")
        node.status(name, {**ONLINE, "facts": away}, "stranger")
    node.status("api", ONLINE)
    (port,) = node.after(30)
    assert (port.code, port.service) == ("port_away", "shed/modbus_poller")
    assert port.summary == "shed/modbus_poller: /dev/ttyUSB0: not there"
    node.status("serial_bridge", {"state": "offline"}, "shed")
    assert codes(node.after(3)) == [("port_away", "shed/modbus_poller")]
    assert set(codes(node.after(10))) == {
        ("service_offline", "shed/serial_bridge"),
        ("port_away", "shed/modbus_poller"),
    }
    node.status("modbus_poller", {"state": "offline"}, "shed")
    seen = NOON + node.seconds + 1
    (offline,) = node.after(10)
    assert (offline.code, offline.summary, offline.since) == (
        "node_offline",
        "shed: offline, with all its services",
        seen,
    )
    node.connected = False
    assert codes(node.after(1)) == [("broker_away", "")]


def test_without_a_broker_the_reason_is_the_only_problem_of_the_bus() -> None:
    node = Node()
    node.status("storage", {"state": "offline"})
    assert codes(node.after(30)) == [("service_offline", "storage")]
    node.connected, node.why = False, "the broker at 127.0.0.1:1883 is away: Connection refused"
    [problem] = node.after(10)
    assert (problem.code, problem.since) == ("broker_away", NOON + 31)
    assert problem.summary == "no connection to the broker: the broker at 127.0.0.1:1883 is away: Connection refused"
    assert not node.watch.bus
    node.connected = True
    assert node.after(1) == []
    assert node.watch.bus


def test_a_broker_that_hangs_is_a_problem_until_it_sends_something() -> None:
    node = Node()
    node.status("storage", ONLINE)
    assert node.after(7, answers=False) == []
    [problem] = node.after(2, answers=False)
    assert (problem.code, problem.since) == ("broker_hung", NOON)
    assert "sent nothing since 2025-11-20 12:00:00 UTC" in problem.summary
    assert not node.watch.bus
    node.watch.received()
    assert node.watch.problems() == []
    assert node.watch.bus


def test_an_unset_clock_is_a_problem_of_those_that_keep_readings_back() -> None:
    node = Node()
    node.status("home_assistant", {**ONLINE, "clock": "unsynced"})
    node.status("serial_bridge", {"state": "offline", "clock": "unsynced", "facts": {"waits_for_clock": True}})
    assert node.after(1) == []
    node.status("modbus_poller", {**ONLINE, "clock": "unsynced", "facts": {"waits_for_clock": False}})
    [problem] = node.after(1)
    assert problem.code == "clock_unset"
    assert problem.summary == (
        "the clock is not set: readings are kept back since 2025-11-20 11:00:00 UTC, set `[node] clock`"
    )
    assert 'clock = "trust"' in problem.action
    node.status("modbus_poller", {**ONLINE, "facts": {"waits_for_clock": False}})
    assert node.after(1) == []


def test_a_service_that_stays_away_is_a_problem_and_one_that_restarts_is_not() -> None:
    node = Node("calculator")
    for name in ("calculator", "storage"):
        node.status(name, ONLINE)
    node.after(60)
    node.status("calculator", {"state": "offline", "time": NOON + 60})
    assert node.after(4) == []
    node.status("calculator", ONLINE)
    assert node.after(10) == []
    node.status("calculator", {"state": "offline", "time": NOON + 74})
    node.status("storage", {"state": "offline"})  # its last will, which has no time
    first, second = node.after(6)
    assert (second.code, second.service, second.since) == ("service_offline", "calculator", NOON + 74)
    assert (first.code, first.service, first.since) == ("service_offline", "storage", NOON + 75)
    assert first.summary == "storage is offline: no reading is stored until it runs again"


def test_goodbyes_that_the_broker_kept_are_no_problem_while_the_node_starts() -> None:
    node = Node("calculator")
    node.status("calculator", {"state": "offline"})
    assert node.after(19) == []
    assert codes(node.after(7)) == [("service_offline", "calculator")]


def test_a_service_that_is_configured_no_longer_or_is_of_another_node_is_no_problem() -> None:
    node = Node("calculator")
    node.status("calculator", ONLINE)
    node.status("serial_bridge", {"state": "offline"})
    node.status("calculator", {"state": "offline"}, node="shed")
    assert node.after(100) == []


def test_a_service_that_is_configured_and_never_reported_is_a_problem() -> None:
    node = Node("calculator", "node")
    assert node.after(59) == []
    [problem] = node.after(2)
    assert (problem.code, problem.service) == ("service_missing", "calculator")
    assert "the broker refuses it" in problem.summary
    node.status("calculator", ONLINE)
    assert node.after(1) == []


@pytest.mark.parametrize(
    ("facts", "code", "summary"),
    [
        ({"write_error": "the disk is full"}, "write_failed", "storage: the disk is full"),
        ({"not_stored_since": int(NOON)}, "not_stored", "storage: not stored since 2025-11-20 12:00:00 UTC"),
        ({"store_problems": ["2019 is damaged"]}, "store_problem", "2019 is damaged"),
        ({"problems": ["a file was damaged"]}, "service_problem", "storage: a file was damaged"),
        ({"outbox_problems": ["the outbox is full"]}, "outbox_problem", "storage: the outbox is full"),
    ],
)
def test_what_a_service_reports_is_a_problem_since_it_was_reported(
    facts: dict[str, object], code: str, summary: str
) -> None:
    node = Node()
    node.after(5)
    node.status("storage", {**ONLINE, "facts": facts})
    [problem] = node.after(9)
    assert (problem.code, problem.summary, problem.service) == (code, summary, "storage")
    assert problem.since == (NOON if code == "not_stored" else NOON + 6)
    assert problem.action


def test_a_second_storage_that_refuses_a_node_is_a_problem_of_the_broker_s_node_while_it_runs() -> None:
    node = Node()
    node.status("storage", ONLINE)
    refused = {"facts": {"problems": ["node shed: not stored here"]}}
    node.status("storage", {**ONLINE, **refused}, node="shed")
    node.status("uploader", {**ONLINE, **refused}, node="shed")
    [problem] = node.after(1)
    assert (problem.code, problem.summary) == ("second_storage", "storage of node shed: node shed: not stored here")
    node.status("storage", {"state": "offline", **refused}, node="shed")
    assert node.after(1) == []


def test_each_of_several_problems_of_one_service_has_its_own_beginning() -> None:
    """Also while the numbers in them change, and where they differ in nothing else."""
    node = Node()
    node.status("uploader", {**ONLINE, "facts": {"problems": ["home: refused", "of 2019: 3 rows"]}})
    node.after(10)
    listed = ["home: refused", "of 2019: 4 rows", "of 2020: 1 rows", "shed: refused"]
    node.status("uploader", {**ONLINE, "facts": {"problems": listed}})
    problems = node.after(10)
    assert [one.summary for one in problems] == [f"uploader: {text}" for text in listed]
    assert [one.since for one in problems] == [NOON + 1, NOON + 1, NOON + 11, NOON + 11]


def test_a_problem_whose_reason_changes_began_when_it_was_first_reported() -> None:
    """And what may be away for some seconds is shown however often its reason changes."""
    node = Node()
    for reason in ("no answer", "connection refused", "no answer"):
        node.status("uploader", {**ONLINE, "facts": {"problems": [f"target home accepts nothing: {reason}"]}})
        node.status("mqtt_importer", {**ONLINE, "facts": {"broker_problems": {"shed": f"at 10.0.0.2:1883 {reason}"}}})
        problems = node.after(3)
    assert [(one.code, one.since) for one in problems] == [
        ("other_broker_away", NOON + 1),
        ("service_problem", NOON + 1),
    ]


def test_the_store_of_which_a_part_is_damaged_is_named_once() -> None:
    node = Node()
    node.status("storage", {**ONLINE, "facts": {"store_problems": ["2019 is damaged", "2020 is damaged"]}})
    problems = node.watch.problems("locked", ["2019 is damaged"])
    assert [one.summary for one in problems] == [
        "no answer from the store: locked",
        "2019 is damaged",
        "2020 is damaged",
    ]


def test_a_service_without_a_heartbeat_hangs_until_it_beats_again() -> None:
    node = Node("serial_bridge")
    for name in ("api", "serial_bridge", "storage"):
        node.status(name, ONLINE)
    assert node.after(60) == []
    node.silent = {"serial_bridge", "storage"}
    assert node.after(8) == []
    first, second = node.after(2)
    assert (first.code, first.service, first.since) == ("service_hung", "storage", NOON + 60)
    assert first.summary == (
        "storage hangs: it has given no heartbeat since 2025-11-20 12:01:00 UTC, no reading is stored until it runs again"
    )
    assert (second.code, second.service) == ("service_hung", "serial_bridge")
    node.silent = set()
    assert node.after(1) == []


def test_a_silent_service_is_no_problem_while_the_broker_is_silent_and_just_after() -> None:
    node = Node()
    for name in ("api", "storage"):
        node.status(name, ONLINE)
    node.after(60)
    assert codes(node.after(60, answers=False)) == [("broker_hung", "")]
    node.silent = {"storage"}
    assert node.after(20) == []
    assert codes(node.after(2)) == [("service_hung", "storage")]
    node.silent = set()
    assert node.after(1) == []


def test_a_service_that_dies_again_and_again_is_a_problem_although_it_is_online_in_between() -> None:
    node = Node("calculator")
    for _ in range(3):
        node.status("calculator", ONLINE)
        assert node.after(20) == []
        node.status("calculator", {"state": "offline"})
    node.status("calculator", ONLINE)
    [problem] = node.after(1)
    assert (problem.code, problem.service) == ("service_dies", "calculator")
    assert problem.summary == "calculator keeps dying: 3 times in 3 minutes"
    assert node.after(180) == []


def test_a_service_that_its_owner_restarts_is_no_problem() -> None:
    node = Node("calculator")
    for _ in range(9):
        node.status("calculator", {"state": "offline", "time": NOON})
        node.status("calculator", ONLINE)
        assert node.after(2) == []


def test_what_the_supervisor_notes_of_a_service_is_a_problem_until_it_works(tmp_path: Path) -> None:
    node = Node("calculator", notes=tmp_path)
    restarts.note(tmp_path, "calculator", Restarts(1, "ended with exit status 1", NOON - 9))
    assert node.after(1) == []
    restarts.note(tmp_path, "calculator", Restarts(2, "ended with exit status 1", NOON - 9))
    [problem] = node.after(1)
    assert (problem.code, problem.service, problem.since) == ("service_dies", "calculator", NOON - 9)
    assert problem.summary == (
        "calculator keeps dying: it ended with exit status 1, 2 times in a row soon after its start"
    )
    restarts.note(tmp_path, "calculator", None)
    assert node.after(1) == []


def test_a_supervisor_that_is_away_and_a_configuration_that_it_refuses_are_problems() -> None:
    node = Node()
    node.supervisor, node.mistake = "has ended", "mine.toml: [api] port: no\nmine.toml: [node] name: no"
    away, refused = node.after(1)
    assert (away.code, away.summary) == (
        "supervisor_away",
        "the supervisor of this node has ended: a service that ends is not started again",
    )
    assert (refused.code, refused.summary) == (
        "config_refused",
        "the previous configuration stays in force: mine.toml: [api] port: no (and 1 more)",
    )
    assert "heliograph check" in refused.action
    node.supervisor = node.mistake = ""
    assert node.after(1) == []


def test_a_service_that_the_broker_refuses_is_a_problem_with_what_the_broker_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(heartbeat.FOLDER, str(tmp_path))
    node = Node("calculator", notes=tmp_path)
    heartbeat.path("calculator").write_text("no connection to the broker")
    assert node.after(1) == []
    heartbeat.path("calculator").write_text("the broker refuses calculator: Not authorized")
    [problem] = node.after(1)
    assert (problem.code, problem.service) == ("service_refused", "calculator")
    assert problem.summary == "calculator: the broker refuses calculator: Not authorized"
    assert "restart the broker" in problem.action


def test_a_port_that_cannot_be_opened_is_a_problem_unless_it_comes_back_at_once() -> None:
    node = Node()
    node.status("serial_bridge", {**ONLINE, "facts": {"ports_away": {"/dev/ttyUSB0": "No such file or directory"}}})
    assert node.after(4) == []
    [problem] = node.after(2)
    assert (problem.code, problem.service) == ("port_away", "serial_bridge")
    assert problem.summary == "serial_bridge: /dev/ttyUSB0: No such file or directory"
    away = {"/dev/ttyUSB0": "permission denied: /dev/ttyUSB0 belongs to group dialout"}
    node.status("serial_bridge", {**ONLINE, "facts": {"ports_away": away}})
    [problem] = node.after(6)
    assert problem.summary == "serial_bridge: permission denied: /dev/ttyUSB0 belongs to group dialout"
    node.status("serial_bridge", {**ONLINE, "facts": {"ports_away": {}}})
    assert node.after(1) == []


def test_a_broker_of_another_house_that_refuses_us_is_a_problem_with_the_section_to_look_at() -> None:
    node = Node()
    away = {"home": "at 192.168.1.20:1883 refuses us: Not authorized"}
    node.status("mqtt_importer", {**ONLINE, "facts": {"broker_problems": away}})
    assert node.after(4) == []
    [problem] = node.after(2)
    assert (problem.code, problem.service) == ("other_broker_away", "mqtt_importer")
    assert problem.summary == "mqtt_importer: broker home at 192.168.1.20:1883 refuses us: Not authorized"
    assert problem.action == "see that it runs, and check host, port, user and password in [mqtt_importer.brokers.home]"
    node.status("mqtt_importer", {**ONLINE, "facts": {"broker_problems": {}}})
    assert node.after(1) == []


def test_a_disk_that_is_nearly_full_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(disks=(tmp_path, tmp_path / "not there"))
    assert node.after(1) == []
    monkeypatch.setattr(disk_space, "LEAST_BYTES", 1 << 60)
    monkeypatch.setattr(disk_space, "SMALL_DISK_PART", 1)
    [problem] = node.after(1)
    assert problem.code == "disk_full"
    assert problem.summary.startswith(f"the disk of {tmp_path} is nearly full: ")


def test_a_backup_that_is_too_old_or_cannot_be_made_is_a_problem() -> None:
    node = Node()
    fact: dict[str, Any] = {"folder": "/media/usb", "made": 0.0, "error": ""}

    def problems(**changed: object) -> list[HealthProblem]:
        node.status("storage", {**ONLINE, "facts": {"backup": {**fact, **changed}}})
        return node.after(1)

    assert problems() == []  # the first is being made
    [problem] = problems(error="the folder is not there")
    assert (problem.code, problem.summary) == (
        "backup_old",
        "there is no backup in /media/usb: the folder is not there",
    )
    assert problems(made=NOON - 86_400, error="the folder is not there") == []  # tonight it is made
    [problem] = problems(made=NOON - 3 * 86_400, error="the disk is full")
    assert problem.summary == "the last backup in /media/usb is of 2025-11-17 12:00:00 UTC: the disk is full"
    [problem] = problems(made=NOON - 3 * 86_400)
    assert problem.summary.endswith(": it is overdue")
    assert problems(made="yesterday") == []
