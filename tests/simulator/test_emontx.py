import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import serial
from hypothesis import given
from hypothesis import strategies as st

from simulator import Fault, Receiver
from simulator.emontx import EMONTH, EMONTX, EMONTX_CM, NO_SENSOR_C, RadioNode, packet

VALUES = [523, 0, -12, 100, 241.18, 21.5, *[NO_SENSOR_C] * 5, 123456]
LINE = "OK 8 11 2 0 0 244 255 100 0 54 94 215 0 184 11 184 11 184 11 184 11 184 11 64 226 1 0 (-43)"
OLD = EMONTX.scales[:5] + (0.1,) * 6 + (1,)  # the example's temperatures are tenths
DEADLINE = 30.0


def node(seconds: float = 0.05, number: int = 8) -> RadioNode:
    return RadioNode(number, EMONTH, seconds, -43, lambda: [21.5, -3.2, 45, 2.7])


@contextmanager
def opened(receiver: Receiver) -> Iterator[serial.Serial]:
    with receiver, serial.Serial(receiver.path, 38400, timeout=DEADLINE) as port:
        yield port


def wait_for(port: serial.Serial, wanted: bytes) -> bytes:
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        with suppress(serial.SerialException):  # the simulator discards what is not read, also just before a read
            line = port.readline()
            if wanted in line:
                return line
    raise AssertionError(f"no line with {wanted!r}")


def test_the_example_packet_is_made_byte_for_byte() -> None:
    coding = type(EMONTX)(EMONTX.codes, OLD)
    assert packet(8, coding.pack(VALUES), -43) == LINE


def test_an_emontx_sends_hundredths_of_a_degree() -> None:
    payload = EMONTX.pack([0, 0, 0, 0, 0, 21.5, *[0.0] * 5, 0])
    assert payload[10:12] == (2150).to_bytes(2, "little")


def test_a_whitened_payload_is_the_plain_one_with_each_byte_flipped() -> None:
    values = [1, 241.18, -5, *[0.0] * 13]
    payload = bytes(byte ^ 0x55 for byte in EMONTX_CM.pack(values))
    assert struct.unpack_from("<Lhh", payload) == (1, 24118, -5)
    assert len(payload) == struct.calcsize("<LhhhhhLLLLhhhLLh")


@given(st.lists(st.floats(-1e12, 1e12), min_size=4, max_size=4))
def test_any_value_fits_into_its_code(values: list[float]) -> None:
    assert len(EMONTH.pack(values)) == 8


def test_packets_of_all_nodes_arrive_on_the_port() -> None:
    receiver = Receiver([node(), node(number=9)])
    with opened(receiver) as port:
        assert wait_for(port, b"OK 8") == b"OK 8 215 0 224 255 194 1 27 0 (-43)\r\n"
        assert wait_for(port, b"OK 9")


def test_the_receiver_answers_v_with_its_settings_and_changes_them() -> None:
    with opened(Receiver([])) as port:
        port.write(b"v")
        line = wait_for(port, b"MHz")
        assert line == b"[RF12demo.12] O i15* g210 @ 433 MHz q1\r\n"
        port.write(b"100g")
        assert wait_for(port, b"> 1") == b"> 100g\r\n"
        assert b"g100 @" in wait_for(port, b"MHz")
        port.write(b"0q")
        assert wait_for(port, b"MHz").endswith(b"MHz\r\n")


def test_a_sent_packet_is_confirmed() -> None:
    with opened(Receiver([])) as port:
        port.write(b"4,1,20s")
        assert wait_for(port, b"->") == b" -> 2 b\r\n"


def test_noise_on_the_keyboard_does_no_harm() -> None:
    with opened(Receiver([node()])) as port:
        port.write(bytes(range(256)) * 4)
        assert wait_for(port, b"OK 8")


def test_a_silent_receiver_comes_back() -> None:
    receiver = Receiver([node()])
    with opened(receiver) as port:
        wait_for(port, b"OK 8")
        receiver.fault = Fault("silence")
        sent = receiver.sent
        end = time.monotonic() + DEADLINE
        while receiver.sent < sent + 3:
            assert time.monotonic() < end, "the receiver counts no packets while it is silent"
            time.sleep(0.01)
        port.reset_input_buffer()
        port.timeout = 0.3
        assert port.read(1) == b""
        port.timeout = DEADLINE
        receiver.fault = Fault()
        assert wait_for(port, b"OK 8")


def test_bad_packets_are_marked_with_a_question_mark() -> None:
    receiver = Receiver([node()])
    receiver.fault = Fault("crc")
    with opened(receiver) as port:
        assert wait_for(port, b"?") == b" ? 8 215 0 224 255 194 1 27 0 (-43)\r\n"


def test_half_lines_and_noise_reach_the_port() -> None:
    receiver = Receiver([node()])
    receiver.fault = Fault("half")
    with opened(receiver) as port:
        whole = b"OK 8 215 0 224 255 194 1 27 0 (-43)\r\n"
        half = whole[: len(whole) // 2]
        end = time.monotonic() + DEADLINE
        read = b""
        while half * 2 not in read and time.monotonic() < end:
            read += port.read(8)
        assert half * 2 in read
        receiver.fault = Fault("noise")
        while not any(byte > 127 for byte in read) and time.monotonic() < end:
            read += port.read(8)
        assert any(byte > 127 for byte in read)


def test_a_late_reader_does_not_get_all_that_was_sent() -> None:
    receiver = Receiver([node(seconds=0.001)])
    with receiver:
        end = time.monotonic() + DEADLINE
        while receiver.sent < 400 and time.monotonic() < end:
            time.sleep(0.01)
        assert receiver.sent >= 400  # it was not blocked by the unread lines
        with serial.Serial(receiver.path, 38400, timeout=DEADLINE) as port:
            assert wait_for(port, b"OK 8 215 0")
