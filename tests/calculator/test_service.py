"""The service as a process, between a broker, producers and storage that are real."""

import itertools
import json
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from heliograph import topics
from heliograph.bus import Bus, Message
from heliograph.clock import Clock
from heliograph.config import Broker
from heliograph.errors import StoreAway
from heliograph.messages import Value
from heliograph.producer import Producer
from heliograph.store import open_reader
from tests.conftest import LocalBroker, Processes

Eventually = Callable[..., Any]
NODE = "pi1"
START = 1_700_000_000.0
STEP = 5.0  # seconds between readings
INTERVAL = 10.0
SECTION = """
[calculator.devices.house]
interval = 10
max_age = 20
wait = 86400
[calculator.devices.house.channels.consumption]
formula = "grid.power + tracer.pv_power"
unit = "W"
label = "Consumption"
[calculator.devices.house.channels.exports]
formula = "grid.power < 0"
kind = "state"
[calculator.devices.house.channels.share]
formula = "tracer.pv_power / house.consumption"
"""


class Node:
    """A broker, storage (without which producers stop sending), the calculator, and a producer each for grid and tracer."""

    def __init__(self, folder: Path, broker: LocalBroker, processes: Processes, eventually: Eventually) -> None:
        self.data = folder / "data"
        self.broker = broker
        self.eventually = eventually
        self.states: dict[str, list[tuple[float, dict[str, Value]]]] = {}
        self.infos: dict[str, dict[str, Any]] = {}
        self.availability: dict[str, str] = {}
        self.statuses: dict[str, dict[str, Any]] = {}
        self._processes = processes
        self._stack = ExitStack()
        self._lock = threading.Lock()
        self.config = folder / "config.toml"
        self.write(SECTION)
        self.producers = {"grid": self._producer(folder, "poller"), "tracer": self._producer(folder, "bridge")}
        recorder = self._stack.enter_context(Bus(Broker(port=broker.port), NODE, "recorder"))
        for owners in ("devices", "services"):
            recorder.subscribe(f"heliograph/+/{owners}/#", self._received)

    def write(self, section: str) -> None:
        self.config.write_text(
            f'[node]\nname = "{NODE}"\ndata = "{self.data}"\nclock = "trust"\n'
            f"[broker]\nport = {self.broker.port}\n[storage]\ncommit_seconds = 0.2\n{section}"
        )

    def close(self) -> None:
        self._stack.close()

    def start(self, service: str) -> "subprocess.Popen[bytes]":
        return self._processes.start(f"services.{service}", str(self.config))

    def store(self) -> None:
        """Start storage and wait until it is there: producers without its answer ask less and less often."""
        self.start("storage")
        self.eventually(lambda: "storage" in self.statuses)

    def _producer(self, folder: Path, name: str) -> Producer:
        bus = self._stack.enter_context(Bus(Broker(port=self.broker.port), NODE, name))
        clock = Clock("trust", folder / name / "clock")
        made = Producer(bus, NODE, name, folder / name / "outbox", clock, lambda *_: None)
        return self._stack.enter_context(made)

    def _received(self, message: Message) -> None:
        parsed = topics.parse(message.topic)
        with self._lock:
            match parsed.kind:
                case "state":
                    reading = json.loads(message.payload)
                    self.states.setdefault(parsed.owner, []).append((reading["time"], reading["values"]))
                case "info":
                    self.infos[parsed.owner] = json.loads(message.payload)
                case "availability":
                    self.availability[parsed.owner] = message.payload.decode()
                case "status":
                    self.statuses[parsed.owner] = json.loads(message.payload)

    def publish(self, number: int) -> None:
        """Publish the readings of one moment: grid a little after the full second, tracer a little before it."""
        self.producers["grid"].publish("grid", {"power": power(number)}, START + number * STEP)
        self.producers["tracer"].publish("tracer", {"pv_power": sun(number)}, START + number * STEP)

    def wait_until_subscribed(self, calculator: "subprocess.Popen[bytes]") -> None:
        """Wait until a result proves that the calculator receives the readings of both producers."""
        number = -100_000
        while "house" not in self.states:
            self.publish(number)
            number += 1
            threading.Event().wait(0.05)
            assert calculator.poll() is None
            assert number < -90_000

    def stored(self, channel: str) -> list[tuple[float, Value]]:
        """The points of a calculated channel since START, as the store has them."""
        reader = open_reader(self.data)
        try:
            ids = [one.id for one in reader.series() if (one.device, one.channel) == ("house", channel)]
            if not ids:
                return []
            page = reader.raw(ids[0], START, START + 10**7, limit=10**6)
            return list(zip(page.times, page.values, strict=True))
        except StoreAway:
            return []
        finally:
            reader.close()


def power(number: int) -> float:
    return float(number % 701 - 300)


def sun(number: int) -> float:
    return float(number % 97 + 1000)


def expected(count: int) -> list[tuple[float, float]]:
    """The consumption at all multiples of the interval from START to the last of so many moments."""
    every = int(INTERVAL / STEP)
    return [(START + number * STEP, power(number) + sun(number)) for number in range(0, count, every)]


@pytest.fixture
def node(tmp_path: Path, broker: LocalBroker, processes: Processes, eventually: Eventually) -> Iterator[Node]:
    made = Node(tmp_path, broker, processes, eventually)
    yield made
    made.close()


def test_start_is_a_grid_time() -> None:
    assert START % INTERVAL == 0


def test_a_calculated_device_is_like_any_other(node: Node) -> None:
    node.store()
    calculator = node.start("calculator")
    node.wait_until_subscribed(calculator)
    for number in range(9):
        node.publish(number)
    node.eventually(lambda: node.stored("consumption") == expected(9))
    assert [value for _, value in node.stored("exports")] == [True] * 5
    assert all(0 < float(value) < 10 for _, value in node.stored("share"))
    assert node.infos["house"]["channels"]["consumption"] == {"unit": "W", "label": "Consumption"}
    assert node.infos["house"]["service"] == "calculator"
    node.eventually(lambda: node.availability.get("house") == "online")
    calculator.terminate()
    assert calculator.wait(20) == 0
    node.eventually(lambda: node.availability.get("house") == "offline")
    node.eventually(lambda: node.statuses["calculator"]["state"] == "offline")


@pytest.mark.timeout(400)
def test_killed_in_a_flood_the_calculator_stores_every_result_once(node: Node) -> None:
    chunk, chunks = 600, 5
    node.store()
    calculator = node.start("calculator")
    node.wait_until_subscribed(calculator)
    for part in range(chunks):
        before = len(node.stored("consumption"))
        for number in range(part * chunk, (part + 1) * chunk):
            node.publish(number)
        node.eventually(lambda before=before: len(node.stored("consumption")) > before, 60)
        calculator.kill()
        calculator.wait()
        calculator = node.start("calculator")
    count = chunk * chunks
    node.eventually(lambda: len(node.stored("consumption")) >= len(expected(count)), 90)
    assert node.stored("consumption") == expected(count)
    assert len(node.stored("exports")) == len(expected(count))


def test_readings_that_come_while_the_calculator_is_away_are_calculated_when_it_is_back(node: Node) -> None:
    node.store()
    calculator = node.start("calculator")
    node.wait_until_subscribed(calculator)
    calculator.terminate()
    assert calculator.wait(20) == 0
    for number in range(500):
        node.publish(number)
    assert all(producer.flush() for producer in node.producers.values())
    node.start("calculator")
    node.eventually(lambda: len(node.stored("consumption")) >= len(expected(500)), 60)
    assert node.stored("consumption") == expected(500)


@pytest.mark.parametrize("persistence", ["false", "true"])
def test_what_a_killed_broker_took_with_it_is_read_from_the_store(node: Node, tmp_path: Path, persistence: str) -> None:
    node.broker.set("persistence", persistence)
    node.broker.set("persistence_location", f"{tmp_path}/broker/")
    node.broker.kill()
    node.broker.start()
    node.store()
    calculator = node.start("calculator")
    node.wait_until_subscribed(calculator)
    for number in range(100):
        node.publish(number)
    node.eventually(lambda: node.stored("consumption") == expected(99))
    calculator.send_signal(signal.SIGSTOP)  # so that producers and storage are there before it
    node.broker.kill()
    node.broker.start()
    for number in range(100, 200):
        node.publish(number)
    node.eventually(lambda: reading_times(node, "grid")[-1:] == [START + 199 * STEP], 60)
    calculator.send_signal(signal.SIGCONT)
    node.eventually(lambda: node.statuses["calculator"]["state"] == "online", 30)
    for number in range(200, 300):
        node.publish(number)
    node.eventually(lambda: len(node.stored("consumption")) >= len(expected(299)), 60)
    assert node.stored("consumption") == expected(299)


def calculated(node: Node) -> "subprocess.Popen[bytes]":
    """Store and calculate ten readings; return the calculator."""
    node.store()
    calculator = node.start("calculator")
    node.wait_until_subscribed(calculator)
    for number in range(10):
        node.publish(number)
    node.eventually(lambda: node.stored("consumption") == expected(9))
    return calculator


def test_what_came_while_neither_broker_nor_calculator_was_there_is_read_from_the_store(node: Node) -> None:
    calculator = calculated(node)
    calculator.terminate()
    assert calculator.wait(20) == 0
    node.broker.kill()
    node.broker.start()
    for number in range(10, 100):
        node.publish(number)
    node.eventually(lambda: reading_times(node, "grid")[-1:] == [START + 99 * STEP], 60)
    node.start("calculator")
    node.eventually(lambda: len(node.stored("consumption")) >= len(expected(99)), 60)
    assert node.stored("consumption") == expected(99)


def test_what_broker_and_calculator_take_with_them_in_their_first_minute_is_read_from_the_store(node: Node) -> None:
    calculator = calculated(node)
    calculator.kill()
    calculator.wait()
    node.broker.kill()
    node.broker.start()
    for number in range(10, 100):
        node.publish(number)
    node.eventually(lambda: reading_times(node, "grid")[-1:] == [START + 99 * STEP], 60)
    node.start("calculator")
    node.eventually(lambda: len(node.stored("consumption")) >= len(expected(99)), 60)
    assert node.stored("consumption") == expected(99)


def reading_times(node: Node, device: str) -> list[float]:
    """The times of a device's readings in the store."""
    reader = open_reader(node.data)
    try:
        ids = [one.id for one in reader.series() if one.device == device]
        return reader.raw(ids[0], START, START + 10**7, limit=10**6).times if ids else []
    finally:
        reader.close()


def test_a_device_is_online_while_its_inputs_have_readings(node: Node) -> None:
    node.write(
        "[calculator.devices.house]\ninterval = 0.1\nmax_age = 0.5\nwait = 0\n"
        '[calculator.devices.house.channels.both]\nformula = "grid.power + nowhere.power"\n'
        '[calculator.devices.house.channels.one]\nformula = "grid.power"\n'
    )
    node.store()
    node.wait_until_subscribed(node.start("calculator"))
    numbers = itertools.count()

    def is_online() -> bool:
        node.publish(next(numbers))
        return node.availability.get("house") == "online"

    node.eventually(is_online)
    node.eventually(lambda: node.availability.get("house") == "offline")
    assert all(set(values) == {"one"} for _, values in node.states["house"])


def test_bad_frames_are_set_aside_and_good_ones_are_used(node: Node) -> None:
    node.store()
    node.wait_until_subscribed(node.start("calculator"))
    journal = topics.service(NODE, "stranger", "journal")
    with Bus(Broker(port=node.broker.port), NODE, "stranger") as bus:
        assert bus.wait_connected(30)
        for payload in (
            b"rubbish",
            b"[]",
            b'[{"i": [{"d": "grid", "k": ["power"], "r": [[]]}]}]',
            b'[{"i": [{"d": "grid", "k": ["power"], "r": [["x", 5]]}]}]',
            b'[{"i": [{"d": "grid", "k": ["power"], "r": [[true, 5]]}]}]',
            b'[{"i": [{"d": "grid", "k": ["power"], "r": [[1e300, 5]]}]}]',
            b'[{"i": [{"d": "grid", "k": ["power"], "r": [[1700000000, "text"]]}]}]',
            b'[{"i": [{"d": "grid", "k": ["power"], "r": [[1700000000, null]]}]}]',
            b'[{"i": [{"d": "grid", "k": ["power"], "r": [[1700000000, ' + b"9" * 400 + b"]]}]}]",
        ):
            assert bus.publish(journal, payload, qos=1)
    for number in range(3):
        node.publish(number)
    node.eventually(lambda: (START + 10, {"consumption": power(2) + sun(2)}) in consumptions(node))


def consumptions(node: Node) -> list[tuple[float, dict[str, Value]]]:
    return [
        (at, {"consumption": values["consumption"]}) for at, values in node.states["house"] if "consumption" in values
    ]


def test_a_formula_may_not_name_the_own_node_for_a_calculated_device(node: Node, processes: Processes) -> None:
    node.write(
        "[calculator.devices.house]\n[calculator.devices.house.channels.a]\nformula = \"grid.power + 'pi1/house.a'\"\n"
    )
    assert node.start("calculator").wait(30) == 1
    assert "pi1/house.a is calculated here; leave pi1/ out" in processes.output()
