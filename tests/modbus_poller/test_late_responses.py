"""A response that comes late never gives a channel the value of another."""

import random
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.modbus_poller import models
from services.modbus_poller.client import LineClient
from services.modbus_poller.options import DeviceOptions
from services.modbus_poller.outstanding import LATEST_SECONDS
from services.modbus_poller.polling import PolledDevice
from tests.modbus_poller.simulated_line import UNIT_ID, Order, Registers, SimulatedLine, options, reader

Unused = Literal["read", "refused", "silent"]
TWO = """
[device]
model = "Two"
document = "test"
table = "input"
[channels]
voltage = { address = 0x0000, type = "float32", unit = "V" }
power = { address = 0x0100, type = "float32", unit = "W" }
import = { address = 0x0200, type = "float32", unit = "kWh", kind = "counter" }
"""


@pytest.fixture(scope="session")
def two(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("models") / "two.toml"
    file.write_text(TWO)
    return str(file)


class Course:
    """Some polls of a device over a simulated line: how many values were right, and which were another channel's."""

    def __init__(self, name: str, line: SimulatedLine, registers: Registers, latest: float = LATEST_SECONDS) -> None:
        self.line = line
        self.registers = registers
        self.polled = PolledDevice(DeviceOptions("it", name, interval=0.5), rtu=True)
        self.client = LineClient(options(), line, line, latest)
        self.right = 0
        self.wrong: list[str] = []

    def polls(self, number: int, interval: float) -> None:
        for _ in range(number):
            begun = self.line.monotonic()
            result = self.polled.poll(reader(self.client, self.polled.model), begun)
            for channel, value in result.values.items():
                if value == self.registers.expected[channel]:
                    self.right += 1
                else:
                    self.wrong.append(channel)
            self.line.sleep(max(0.0, begun + interval - self.line.monotonic()))


def late(chance: random.Random, often: float) -> float | None:
    fate = chance.random()
    if fate < often / 4:
        return None
    return chance.uniform(0.0, 10.0) if fate < often else chance.uniform(0.01, 0.3)


def course(name: str, seed: int, often: float, order: Order, unused: Unused, latest: float = LATEST_SECONDS) -> Course:
    chance = random.Random(seed)
    registers = Registers(models.load(name), unused)
    line = SimulatedLine({UNIT_ID: registers}, lambda: late(chance, often), order, baud=9600)
    return Course(name, line, registers, latest)


@pytest.mark.parametrize("name", models.names())
@settings(max_examples=25)
@given(
    st.integers(0, 2**32),
    st.sampled_from([0.02, 0.1, 0.5, 1.0]),
    st.sampled_from(["in turn", "any"]),
    st.sampled_from(["read", "refused", "silent"]),
    st.sampled_from([0.1, 1.0, 3.0]),
)
def test_no_delay_puts_a_value_of_a_device_file_into_a_wrong_channel(
    name: str, seed: int, often: float, order: Order, unused: Unused, interval: float
) -> None:
    done = course(name, seed, often, order, unused)
    done.polls(8, interval)
    assert done.wrong == []


@pytest.mark.parametrize("order", ["in turn", "any"])
def test_without_the_memory_of_what_is_outstanding_values_would_be_in_wrong_channels(order: Order, two: str) -> None:
    """The experiment above finds what it looks for."""
    for name in ("deye_hybrid_1p", "carlo_gavazzi_em340", two):
        tries = [course(name, seed, 0.2, order, "refused", latest=0.0) for seed in range(20)]
        for done in tries:
            done.polls(12, 0.5)
        assert any(done.wrong for done in tries)


@pytest.mark.parametrize("name", models.names())
@pytest.mark.parametrize("unused", ["read", "refused", "silent"])
def test_an_undisturbed_line_is_used_as_before(name: str, unused: Unused) -> None:
    registers = Registers(models.load(name), unused)
    line = SimulatedLine({UNIT_ID: registers}, baud=9600)
    done = Course(name, line, registers)
    done.polls(40, 1.0)  # what it gives is known then
    asked, busy, begun = len(line.requests), line.busy, line.monotonic()
    done.right = 0
    done.polls(20, 0.0)
    pauses = (len(line.requests) - asked) * max(38.5 / 9600, registers.model.header.request_delay)
    assert (line.busy - busy + pauses) / (line.monotonic() - begun) > 0.98
    assert done.right >= 20 * len([r for r in registers.model.registers.values() if not r.min_interval])
    assert not done.wrong


@pytest.mark.parametrize("number", [0, 1, 2, 6])
def test_one_late_response_among_values_of_one_length(two: str, number: int) -> None:
    registers = Registers(models.load(two), "refused")
    waits = iter([0.3] * 6 + [0.3] * number + [1.12])
    line = SimulatedLine({UNIT_ID: registers}, lambda: next(waits, 0.3), baud=9600)
    done = Course(two, line, registers)
    done.polls(30, 1.0)
    assert done.wrong == []
    assert done.right >= 80
    assert done.client.late_responses == 1


def test_values_of_one_length_are_read_again_ten_seconds_after_a_lost_response(two: str) -> None:
    registers = Registers(models.load(two), "refused")
    line = SimulatedLine({UNIT_ID: registers})
    done = Course(two, line, registers)
    done.polls(3, 1.0)
    line.delay = iter([None, *[0.1] * 1000]).__next__
    done.polls(1, 1.0)
    line.requests.clear()
    done.right = 0
    done.polls(8, 1.0)
    assert (line.requests, done.right) == ([], 0)
    done.polls(4, 1.0)
    assert done.right >= 6


@pytest.mark.parametrize("name", ["eastron_sdm120", "deye_hybrid_1p", "carlo_gavazzi_em340", "epever_tracer"])
def test_a_lost_response_costs_one_poll_where_lengths_differ(name: str) -> None:
    registers = Registers(models.load(name), "read")
    line = SimulatedLine({UNIT_ID: registers})
    done = Course(name, line, registers)
    done.polls(3, 1.0)
    line.delay = iter([0.1, None, *[0.1] * 1000]).__next__
    done.polls(1, 1.0)
    done.right = 0
    done.polls(5, 1.0)
    often = [register for register in registers.model.registers.values() if not register.min_interval]
    assert done.right >= 5 * len(often)


def test_requests_of_one_length_have_distinct_responses_where_the_device_gives_more(two: str) -> None:
    for name in ("deye_hybrid_1p", "carlo_gavazzi_em340", two):
        done = Course(
            name,
            line := SimulatedLine({UNIT_ID: Registers(models.load(name), "read")}),
            Registers(models.load(name), "read"),
        )
        done.polls(1, 1.0)
        shapes = [(data[1], data[4:6]) for _, data in line.requests]
        assert len(set(shapes)) == len(shapes)


def test_a_device_that_was_silent_when_more_was_asked_for_is_asked_for_more_after_a_reconnection(two: str) -> None:
    registers = Registers(models.load(two), "silent")
    line = SimulatedLine({UNIT_ID: registers})
    done = Course(two, line, registers)
    done.polls(40, 1.0)
    line.requests.clear()
    done.polls(3, 1.0)
    assert {data[5] for _, data in line.requests} == {2}
    registers.unused = "read"
    done.polled.reconnected()
    line.requests.clear()
    done.polls(1, 1.0)
    assert {data[5] for _, data in line.requests} == {2, 4, 6}


class Switch:
    """A coil that takes commands."""

    def __init__(self) -> None:
        self.on = 0

    def __call__(self, pdu: bytes) -> bytes:
        if pdu[0] == 5:
            self.on = int(pdu[3] == 0xFF)
            return pdu
        if pdu[0] == 1:
            return bytes((1, 1, self.on))
        return bytes((pdu[0] | 0x80, 2))


@given(st.lists(st.one_of(st.floats(0.01, 0.3), st.floats(0.3, 9.99)), min_size=4, max_size=12))
def test_what_is_read_back_is_never_older_than_what_was_written(delays: list[float]) -> None:
    waits = iter(delays)
    switch = Switch()
    line = SimulatedLine({UNIT_ID: switch}, lambda: next(waits, 0.05))
    polled, client = PolledDevice(DeviceOptions("it", "epever_tracer"), rtu=True), LineClient(options(), line, line)
    read = reader(client, polled.model)
    for value in (True, False, True):
        polled.poll(read, line.monotonic())
        written, refused = polled.write(
            {"load_switch": value},
            lambda function, address, words: client.write(UNIT_ID, function, address, words),
            lambda one: client.read(UNIT_ID, one.function, one.address, one.count),
        )
        assert written in ({"load_switch": value}, {})
        assert written or refused["load_switch"].startswith(("not confirmed", "the device refused"))
