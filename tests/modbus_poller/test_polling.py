from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.modbus_poller.errors import (
    Garbled,
    Mismatched,
    Refused,
    Silent,
)
from services.modbus_poller.options import Device
from services.modbus_poller.polling import Polled
from services.modbus_poller.reads import Block

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

    def __call__(self, block: Block) -> list[int]:
        self.asked.append((block.address, block.count))
        if self.trouble.get(block.address):
            raise self.trouble[block.address].pop(0)
        wanted = range(block.address, block.address + block.count)
        if self.lacks.intersection(wanted):
            raise Refused(2)
        return [self.words.get(address, address) for address in wanted]

    def requests(self) -> list[tuple[int, int]]:
        asked, self.asked = self.asked, []
        return asked


@pytest.fixture
def polled(tmp_path: Path) -> Polled:
    file = tmp_path / "mine.toml"
    file.write_text(FILE)
    return Polled(Device(name="it", model=str(file)))


def test_a_poll_reads_all_in_few_requests(polled: Polled) -> None:
    memory = Memory()
    result = polled.poll(memory, 0.0)
    assert result.values == {"a": 0, "b": 1, "c": 4, "d": 0.0, "e": 50, "rated": 100}
    assert not result.bad
    assert not result.failure
    assert memory.requests() == [(0, 7), (50, 1), (100, 1)]


def test_what_hardly_changes_is_read_rarely(polled: Polled) -> None:
    memory = Memory()
    counts = []
    for tick in range(361):
        memory.requests()
        polled.poll(memory, 10.0 * tick + 0.02 * (tick % 2))
        counts.append(memory.requests().count((100, 1)))
    assert [tick for tick, count in enumerate(counts) if count] == [0, 360]


def test_a_refused_block_is_split_once_and_that_is_remembered(polled: Polled) -> None:
    memory = Memory(lacks={2, 3})
    result = polled.poll(memory, 0.0)
    assert set(result.values) == {"a", "b", "c", "d", "e", "rated"}
    assert memory.requests() == [(0, 7), (0, 2), (4, 3), (50, 1), (100, 1)]
    for tick in range(1, 10):
        polled.poll(memory, 10.0 * tick)
        assert memory.requests() == [(0, 2), (4, 3), (50, 1)]
    assert polled.left_out == []


def test_a_register_that_does_not_exist_is_left_out_and_not_asked_again(
    polled: Polled,
) -> None:
    memory = Memory(lacks={1, 50})
    result = polled.poll(memory, 0.0)
    assert set(result.values) == {"a", "c", "d", "rated"}
    assert not result.failure
    assert polled.left_out == ["b", "e"]
    assert set(polled.info("modbus_poller").channels) == {"a", "c", "d", "rated"}
    memory.requests()
    polled.poll(memory, 10.0)
    assert memory.requests() == [(0, 1), (4, 3)]


def test_a_device_that_refuses_everything_is_not_taken_at_its_word(
    polled: Polled,
) -> None:
    memory = Memory(lacks=set(range(200)))
    result = polled.poll(memory, 0.0)
    assert result.failure == "refuses every request"
    memory.lacks = set()
    assert len(polled.poll(memory, 10.0).values) == 6


def test_a_device_that_is_busy_loses_only_that_block_and_only_now(
    polled: Polled,
) -> None:
    memory = Memory()
    memory.trouble = {0: [Refused(6)]}
    result = polled.poll(memory, 0.0)
    assert set(result.values) == {"e", "rated"}
    assert [bad.why for bad in result.bad] == ["exception 6 (server device busy)"]
    assert not result.failure
    assert len(polled.poll(memory, 10.0).values) == 5


def test_a_silence_ends_the_poll_and_keeps_what_was_read(polled: Polled) -> None:
    memory = Memory()
    memory.trouble = {50: [Silent("no answer in 1 s")]}
    result = polled.poll(memory, 0.0)
    assert set(result.values) == {"a", "b", "c", "d"}
    assert result.failure == "no answer in 1 s"
    assert memory.requests() == [(0, 7), (50, 1)]


@pytest.mark.parametrize("trouble", [Garbled("ff"), Mismatched("7 registers")])
def test_what_was_disturbed_is_asked_for_once_more(polled: Polled, trouble: Exception) -> None:
    memory = Memory()
    memory.trouble = {50: [trouble]}
    result = polled.poll(memory, 0.0)
    assert len(result.values) == 6
    assert not result.bad
    assert memory.requests() == [(0, 7), (50, 1), (50, 1), (100, 1)]


def test_noise_twice_is_set_aside_and_ends_the_poll(polled: Polled) -> None:
    memory = Memory()
    memory.trouble = {50: [Garbled("ff"), Garbled("fe 01")]}
    result = polled.poll(memory, 0.0)
    assert set(result.values) == {"a", "b", "c", "d"}
    assert [tuple(bad) for bad in result.bad] == [("not a Modbus response", "fe 01")]
    assert result.failure


def test_a_wrong_number_of_registers_is_set_aside_and_the_rest_is_kept(
    polled: Polled,
) -> None:
    memory = Memory()
    memory.trouble = {0: [Mismatched("6 registers"), Mismatched("6 registers")]}
    result = polled.poll(memory, 0.0)
    assert set(result.values) == {"e", "rated"}
    assert not result.failure
    assert len(result.bad) == 1
    assert "6 registers" in result.bad[0].what


def test_a_float_that_is_nan_is_set_aside_and_the_rest_is_kept(polled: Polled) -> None:
    memory = Memory()
    memory.words[5] = 0x7FC0
    result = polled.poll(memory, 0.0)
    assert set(result.values) == {"a", "b", "c", "e", "rated"}
    assert [tuple(bad) for bad in result.bad] == [("nan is not a value", "d: ['7fc0', '0000']")]


@pytest.mark.parametrize(
    ("trouble", "there"),
    [
        (Silent("silent"), False),
        (Garbled("ff"), False),
        (Refused(2), True),
        (Mismatched("x"), True),
    ],
)
def test_a_probe_is_one_request_and_a_no_is_an_answer(polled: Polled, trouble: Exception, there: bool) -> None:
    memory = Memory()
    memory.trouble = {1: [trouble]}
    assert (polled.probe(memory) == "") is there
    assert memory.requests() == [(1, 1)]


@given(st.data())
def test_whatever_a_device_does_a_poll_ends_with_a_result(data: st.DataObject) -> None:
    polled = Polled(Device(name="it", model="epever_tracer"))

    def read(block: Block) -> list[int]:
        answer = data.draw(st.sampled_from(["words", "words", "words", "refused", "none", "noise", "other"]))
        if answer == "refused":
            raise Refused(data.draw(st.integers(1, 9)))
        if answer == "none":
            raise Silent("silent")
        if answer == "noise":
            raise Garbled("ff")
        if answer == "other":
            raise Mismatched("1 register")
        return data.draw(st.lists(st.integers(0, 0xFFFF), min_size=block.count, max_size=block.count))

    for tick in range(3):
        result = polled.poll(read, 10.0 * tick)
        assert set(result.values) <= set(polled.model.registers)
        for name in result.values:
            assert name not in polled.left_out
