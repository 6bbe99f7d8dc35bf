from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.modbus_poller.errors import (
    ExceptionResponse,
    InvalidFrame,
    NoResponse,
    UnexpectedResponse,
)
from services.modbus_poller.options import DeviceOptions
from services.modbus_poller.polling import PolledDevice
from services.modbus_poller.reads import ReadRequest

FILE = """
[device]
model = "M"
document = "D"
max_gap = 2
probe = "b"
[channels]
a = { address = 0 }
b = { address = 1 }
c = { address = 4 }
d = { address = 5, type = "float32" }
e = { address = 50 }
rated = { address = 100, min_interval = 3600 }
"""


class Memory:
    """A device whose registers hold their own address, and that lacks some."""

    def __init__(self, lacks: set[int] | None = None) -> None:
        self.lacks = lacks or set()
        self.asked: list[tuple[int, int]] = []
        self.trouble: dict[int, list[Exception]] = {}
        self.words: dict[int, int] = {5: 0, 6: 0}

    def __call__(self, block: ReadRequest) -> list[int]:
        self.asked.append((block.address, block.count))
        if self.trouble.get(block.address):
            raise self.trouble[block.address].pop(0)
        wanted = range(block.address, block.address + block.count)
        if self.lacks.intersection(wanted):
            raise ExceptionResponse(2)
        return [self.words.get(address, address) for address in wanted]

    def requests(self) -> list[tuple[int, int]]:
        asked, self.asked = self.asked, []
        return asked


@pytest.fixture
def polled(tmp_path: Path) -> PolledDevice:
    file = tmp_path / "mine.toml"
    file.write_text(FILE)
    return PolledDevice(DeviceOptions(name="it", model=str(file)))


def test_a_poll_reads_all_in_few_requests(polled: PolledDevice) -> None:
    memory = Memory()
    result = polled.poll(memory, 0.0)
    assert result.values == {"a": 0, "b": 1, "c": 4, "d": 0.0, "e": 50, "rated": 100}
    assert not result.invalid
    assert not result.failure
    assert memory.requests() == [(0, 7), (50, 1), (100, 1)]


def test_a_channel_with_a_minimum_interval_is_read_rarely(polled: PolledDevice) -> None:
    memory = Memory()
    counts = []
    for tick in range(361):
        memory.requests()
        polled.poll(memory, 10.0 * tick + 0.02 * (tick % 2))
        counts.append(memory.requests().count((100, 1)))
    assert [tick for tick, count in enumerate(counts) if count] == [0, 360]


def test_a_refused_block_is_split_once_and_that_is_remembered(polled: PolledDevice) -> None:
    memory = Memory(lacks={2, 3})
    result = polled.poll(memory, 0.0)
    assert set(result.values) == {"a", "b", "c", "d", "e", "rated"}
    assert memory.requests() == [(0, 7), (0, 2), (4, 3), (50, 1), (100, 1)]
    for tick in range(1, 10):
        polled.poll(memory, 10.0 * tick)
        assert memory.requests() == [(0, 2), (4, 3), (50, 1)]
    assert polled.unsupported == []


def test_a_register_that_does_not_exist_is_left_out_and_not_read_again(
    polled: PolledDevice,
) -> None:
    memory = Memory(lacks={1, 50})
    result = polled.poll(memory, 0.0)
    assert set(result.values) == {"a", "c", "d", "rated"}
    assert not result.failure
    assert polled.unsupported == ["b", "e"]
    assert set(polled.info("modbus_poller").channels) == {"a", "c", "d", "rated"}
    memory.requests()
    polled.poll(memory, 10.0)
    assert memory.requests() == [(0, 1), (4, 3)]


def test_a_channel_that_was_refused_is_asked_for_again_after_growing_pauses_up_to_a_day(polled: PolledDevice) -> None:
    memory = Memory(lacks={50})
    asked = []
    for tick in [*range(0, 2000, 10), *range(2000, 6 * 86400, 600)]:
        memory.requests()
        result = polled.poll(memory, float(tick))
        assert {"a", "b", "c", "d"} <= set(result.values)
        assert polled.unsupported == ["e"]
        if (50, 1) in memory.requests():
            asked.append(tick)
    pauses = [after - before for before, after in pairwise(asked)]
    assert pauses[:4] == [60, 120, 240, 480]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 86400


def test_a_channel_that_was_refused_for_six_seconds_is_there_within_a_minute(polled: PolledDevice) -> None:
    memory = Memory(lacks={50})
    there = []
    for tick in range(70):
        if tick == 6:
            memory.lacks = set()
        if "e" in polled.poll(memory, float(tick)).values:
            there.append(tick)
    assert there == list(range(60, 70))
    assert polled.unsupported == []
    assert "e" in polled.info("modbus_poller").channels


def test_what_was_refused_is_asked_for_at_once_after_a_reconnection(polled: PolledDevice) -> None:
    memory = Memory(lacks={1, 50})
    polled.poll(memory, 0.0)
    revision = polled.revision
    memory.lacks = {1}
    assert "e" not in polled.poll(memory, 10.0).values
    polled.reconnected()
    assert "e" in polled.poll(memory, 20.0).values
    assert polled.unsupported == ["b"]
    assert polled.revision > revision


@given(st.lists(st.tuples(st.sampled_from([0, 1, 4, 5, 50, 100]), st.sampled_from([1, 2, 3, 4, 5, 6])), max_size=12))
def test_no_refusal_is_final(tmp_path_factory: pytest.TempPathFactory, troubles: list[tuple[int, int]]) -> None:
    file = tmp_path_factory.getbasetemp() / "refusing.toml"
    file.write_text(FILE)
    polled, memory = PolledDevice(DeviceOptions(name="it", model=str(file))), Memory()
    for tick, (address, code) in enumerate(troubles):
        memory.trouble = {address: [ExceptionResponse(code)] * 3}
        polled.poll(memory, float(tick))
    memory.trouble = {}
    values: set[str] = set()
    for tick in range(20, 20 + 2 * 86400, 3600):
        values = set(polled.poll(memory, float(tick)).values)
    assert values == {"a", "b", "c", "d", "e", "rated"}


def test_a_device_that_refuses_everything_is_not_taken_at_its_word(
    polled: PolledDevice,
) -> None:
    memory = Memory(lacks=set(range(200)))
    result = polled.poll(memory, 0.0)
    assert result.failure == "refuses every request"
    memory.lacks = set()
    assert len(polled.poll(memory, 10.0).values) == 6


def test_a_device_that_is_busy_loses_only_that_block_and_only_now(
    polled: PolledDevice,
) -> None:
    memory = Memory()
    memory.trouble = {0: [ExceptionResponse(6)]}
    result = polled.poll(memory, 0.0)
    assert set(result.values) == {"e", "rated"}
    assert [bad.why for bad in result.invalid] == ["exception 6 (server device busy)"]
    assert not result.failure
    assert len(polled.poll(memory, 10.0).values) == 5


def test_a_missing_response_ends_the_poll_and_keeps_the_values(polled: PolledDevice) -> None:
    memory = Memory()
    memory.trouble = {50: [NoResponse("no answer in 1 s")]}
    result = polled.poll(memory, 0.0)
    assert set(result.values) == {"a", "b", "c", "d"}
    assert result.failure == "no answer in 1 s"
    assert memory.requests() == [(0, 7), (50, 1)]


@pytest.mark.parametrize("trouble", [InvalidFrame("ff"), UnexpectedResponse("7 registers")])
def test_an_invalid_response_repeats_the_request_once(polled: PolledDevice, trouble: Exception) -> None:
    memory = Memory()
    memory.trouble = {50: [trouble]}
    result = polled.poll(memory, 0.0)
    assert len(result.values) == 6
    assert not result.invalid
    assert memory.requests() == [(0, 7), (50, 1), (50, 1), (100, 1)]


def test_noise_twice_is_set_aside_and_ends_the_poll(polled: PolledDevice) -> None:
    memory = Memory()
    memory.trouble = {50: [InvalidFrame("ff"), InvalidFrame("fe 01")]}
    result = polled.poll(memory, 0.0)
    assert set(result.values) == {"a", "b", "c", "d"}
    assert [tuple(bad) for bad in result.invalid] == [("not a Modbus response", "fe 01")]
    assert result.failure


def test_a_wrong_number_of_registers_is_set_aside_and_the_rest_is_kept(
    polled: PolledDevice,
) -> None:
    memory = Memory()
    memory.trouble = {0: [UnexpectedResponse("6 registers"), UnexpectedResponse("6 registers")]}
    result = polled.poll(memory, 0.0)
    assert set(result.values) == {"e", "rated"}
    assert not result.failure
    assert len(result.invalid) == 1
    assert "6 registers" in result.invalid[0].what


def test_a_float_that_is_nan_is_set_aside_and_the_rest_is_kept(polled: PolledDevice) -> None:
    memory = Memory()
    memory.words[5] = 0x7FC0
    result = polled.poll(memory, 0.0)
    assert set(result.values) == {"a", "b", "c", "e", "rated"}
    assert [tuple(bad) for bad in result.invalid] == [("not a finite number", "d: ['7fc0', '0000']")]


@pytest.mark.parametrize(
    ("trouble", "there"),
    [
        (NoResponse("silent"), False),
        (InvalidFrame("ff"), False),
        (ExceptionResponse(2), True),
        (UnexpectedResponse("x"), True),
    ],
)
def test_a_probe_is_one_request_and_a_no_is_an_answer(polled: PolledDevice, trouble: Exception, there: bool) -> None:
    memory = Memory()
    memory.trouble = {1: [trouble]}
    assert (polled.probe(memory) == "") is there
    assert memory.requests() == [(1, 1)]


@given(st.data())
def test_every_poll_ends_with_a_result(data: st.DataObject) -> None:
    polled = PolledDevice(DeviceOptions(name="it", model="epever_tracer"))

    def read(block: ReadRequest) -> list[int]:
        answer = data.draw(st.sampled_from(["words", "words", "words", "refused", "none", "noise", "other"]))
        if answer == "refused":
            raise ExceptionResponse(data.draw(st.integers(1, 9)))
        if answer == "none":
            raise NoResponse("silent")
        if answer == "noise":
            raise InvalidFrame("ff")
        if answer == "other":
            raise UnexpectedResponse("1 register")
        return data.draw(st.lists(st.integers(0, 0xFFFF), min_size=block.count, max_size=block.count))

    for tick in range(3):
        result = polled.poll(read, 10.0 * tick)
        assert set(result.values) <= set(polled.model.registers)
        for name in result.values:
            assert name not in polled.unsupported
