import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.registers import Registers


def some() -> Registers:
    registers = Registers(largest=4)
    registers.inputs.update({10: 1, 11: 2, 12: 0xFFFF, 14: 4, 15: 5, 16: 6, 17: 7})
    registers.holdings.update({20: 1, 21: 2})
    registers.coils.update(dict.fromkeys(range(10), 0))
    registers.discretes.update({0: 1, 1: 0, 2: 1})
    return registers


def ask(registers: Registers, function: int, start: int, count: int) -> bytes:
    return registers.answer(struct.pack(">BHH", function, start, count))


def test_neighbouring_registers_are_read_together() -> None:
    assert ask(some(), 4, 10, 3) == bytes([4, 6, 0, 1, 0, 2, 255, 255])


def test_a_range_that_touches_a_missing_address_is_refused_with_exception_2() -> None:
    assert ask(some(), 4, 12, 3) == bytes([0x84, 2])
    assert ask(some(), 4, 0xFFFF, 2) == bytes([0x84, 2])


@pytest.mark.parametrize("count", [0, 5, 126, 65535])
def test_a_read_of_no_or_too_many_registers_is_refused_with_exception_3(
    count: int,
) -> None:
    assert ask(some(), 4, 10, count) == bytes([0x84, 3])


def test_an_unknown_function_is_refused_with_exception_1() -> None:
    assert some().answer(bytes([23, 0, 0])) == bytes([0x97, 1])
    assert some().answer(b"") == bytes([0x80, 1])


def test_bits_are_packed_from_the_lowest() -> None:
    assert ask(some(), 2, 0, 3) == bytes([2, 1, 0b101])


def test_half_a_value_is_refused_where_values_are_pairs() -> None:
    registers = Registers(pairs=True)
    registers.inputs.update(dict.fromkeys(range(8), 0))
    assert ask(registers, 4, 1, 2) == ask(registers, 4, 0, 3) == bytes([0x84, 2])
    assert ask(registers, 4, 2, 2) == bytes([4, 4, 0, 0, 0, 0])


def test_what_is_written_is_read_back_and_reported() -> None:
    registers = some()
    reported: list[tuple[int, list[int]]] = []
    registers.written = lambda start, values: reported.append((start, values))
    assert ask(registers, 6, 20, 7) == bytes([6, 0, 20, 0, 7])
    block = struct.pack(">BHHBHH", 16, 20, 2, 4, 8, 9)
    assert registers.answer(block) == block[:5]
    assert ask(registers, 5, 3, 0xFF00) == bytes([5, 0, 3, 255, 0])
    assert registers.answer(bytes([15, 0, 0, 0, 9, 2, 0x01, 0x01])) == bytes([15, 0, 0, 0, 9])
    assert reported == [
        (20, [7]),
        (20, [8, 9]),
        (3, [1]),
        (0, [1, 0, 0, 0, 0, 0, 0, 0, 1]),
    ]
    assert ask(registers, 3, 20, 2) == bytes([3, 4, 0, 8, 0, 9])
    assert ask(registers, 1, 0, 10) == bytes([1, 2, 1, 1])


@pytest.mark.parametrize(
    ("request_", "exception"),
    [
        (bytes([6, 0, 99, 0, 1]), 2),
        (bytes([5, 0, 1, 0, 1]), 3),
        (bytes([16, 0, 20, 0, 2, 4, 0, 1]), 3),
        (bytes([16, 0, 20, 0, 2]), 3),
        (bytes([16, 0, 20]), 3),
        (bytes([16, 0, 20, 0, 3, 6, 0, 1, 0, 2, 0, 3]), 2),
        (bytes([4, 0, 10]), 3),
    ],
)
def test_a_wrong_write_changes_nothing(request_: bytes, exception: int) -> None:
    registers = some()
    assert registers.answer(request_) == bytes([request_[0] | 0x80, exception])
    assert registers.holdings == some().holdings
    assert registers.coils == some().coils


@given(st.binary(max_size=260))
def test_any_request_is_answered_or_refused(pdu: bytes) -> None:
    registers = some()
    registers.holdings.update(dict.fromkeys(range(0x400), 3))
    answer = registers.answer(pdu)
    function = pdu[0] if pdu else 0
    assert answer[0] in (function, function | 0x80)
    assert len(answer) <= 253
