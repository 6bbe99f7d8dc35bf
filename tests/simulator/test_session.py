from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.device import SimulatedDevice
from simulator.registers import Registers
from simulator.sdm120 import floats
from simulator.session import Framing, ModbusSession

READ_POWER = bytes.fromhex("01 04 00 0c 00 02 b1 c8")
POWER = bytes.fromhex("01 04 04 44 9a 50 00 f3 5b")
READ_TRACER = bytes.fromhex("01 04 31 00 00 10 ff 3a")
READ_TCP = bytes.fromhex("00 07 00 00 00 06 01 04 00 0c 00 02")
POWER_TCP = bytes.fromhex("00 07 00 00 00 07 01 04 04 44 9a 50 00")


def meter() -> SimulatedDevice:
    registers = Registers()
    registers.inputs.update(floats({0x000C: 1234.5}))
    return SimulatedDevice("meter", registers)


def session(framing: Framing, device: SimulatedDevice, tally: Counter[int] | None = None) -> ModbusSession:
    return ModbusSession(framing, {1: device}, Counter() if tally is None else tally, Random(1))


def sent(session: ModbusSession, data: bytes) -> list[bytes]:
    return [answer.data for answer in session.feed(data)]


def test_the_power_of_an_sdm120_is_answered_byte_for_byte() -> None:
    assert sent(session("rtu", meter()), READ_POWER) == [POWER]


def test_the_request_for_a_tracers_block_has_a_good_crc() -> None:
    device = meter()
    device.registers.inputs.update({0x3100 + i: i for i in range(16)})
    (answer,) = sent(session("rtu", device), READ_TRACER)
    assert answer[:3] == bytes([1, 4, 32])
    assert answer[3:-2] == bytes(b for i in range(16) for b in (0, i))
    assert device.seen[-1].address == 0x3100
    assert device.seen[-1].count == 16


def test_modbus_tcp_answers_with_the_transaction_of_the_request() -> None:
    assert sent(session("tcp", meter()), READ_TCP) == [POWER_TCP]


def test_requests_of_one_packet_are_answered_each() -> None:
    assert sent(session("tcp", meter()), READ_TCP * 3) == [POWER_TCP] * 3


@pytest.mark.parametrize("framing", ["rtu", "tcp"])
def test_a_request_may_come_byte_by_byte(framing: Framing) -> None:
    request, answer = (READ_POWER, POWER) if framing == "rtu" else (READ_TCP, POWER_TCP)
    talk = session(framing, meter())
    answers = [got for byte in request for got in sent(talk, bytes([byte]))]
    assert answers == [answer]
    assert not talk.waiting


def test_a_request_with_a_wrong_crc_is_not_answered() -> None:
    device = meter()
    assert sent(session("rtu", device), READ_POWER[:-1] + b"\0") == []
    assert device.requests == 0


def test_an_absent_unit_is_silent_on_a_line_and_counted() -> None:
    tally: Counter[int] = Counter()
    talk = ModbusSession("rtu", {}, tally, Random(1))
    assert sent(talk, READ_POWER) == []
    assert tally == {1: 1}


def test_an_absent_unit_behind_a_tcp_gateway_is_exception_11() -> None:
    talk = ModbusSession("tcp", {}, Counter(), Random(1))
    assert sent(talk, READ_TCP) == [bytes.fromhex("00 07 00 00 00 03 01 84 0b")]


def test_half_a_request_is_forgotten_after_a_pause() -> None:
    talk = session("rtu", meter())
    assert sent(talk, READ_POWER[:5]) == []
    assert talk.waiting
    talk.forget()
    assert sent(talk, READ_POWER) == [POWER]


@given(st.lists(st.binary(max_size=300), max_size=5), st.sampled_from(["rtu", "tcp"]))
def test_after_any_noise_and_a_pause_the_next_request_is_answered(noise: list[bytes], framing: Framing) -> None:
    talk = session(framing, meter())
    for data in noise:
        sent(talk, data)
    talk.forget()
    if framing == "rtu":
        assert sent(talk, READ_POWER) == [POWER]
    else:
        assert sent(talk, READ_TCP) == [POWER_TCP]
