"""Requests, responses and frames are those of the standards.

Examples of the Modbus Application Protocol V1.1b3, 6.1 to 6.12, of Modbus over Serial Line V1.02, 6.2.2 (checksum), and of
Modbus Messaging on TCP/IP V1.0b, 3.1.3 (header).
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.modbus_poller import frames
from services.modbus_poller.frames import Request, Response

COILS = [1, 0, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1]
INPUTS = [0, 0, 1, 1, 0, 1, 0, 1, 1, 1, 0, 1, 1, 0, 1, 1, 1, 0, 1, 0, 1, 1]


@pytest.mark.parametrize(
    ("request_", "pdu", "answer", "words"),
    [
        (Request(1, 1, 0x13, 19), "01 0013 0013", "01 03 CD 6B 05", COILS),
        (Request(1, 2, 0xC4, 22), "02 00C4 0016", "02 03 AC DB 35", INPUTS),
        (Request(1, 3, 0x6B, 3), "03 006B 0003", "03 06 022B 0000 0064", [555, 0, 100]),
        (Request(1, 4, 8, 1), "04 0008 0001", "04 02 000A", [10]),
        (Request(1, 5, 0xAC, values=(1,)), "05 00AC FF00", "05 00AC FF00", None),
        (Request(1, 5, 0xAC, values=(0,)), "05 00AC 0000", "05 00AC 0000", None),
        (Request(1, 6, 1, values=(3,)), "06 0001 0003", "06 0001 0003", None),
        (Request(1, 16, 1, values=(10, 258)), "10 0001 0002 04 000A 0102", "10 0001 0002", None),
    ],
)
def test_the_examples_of_the_standard(request_: Request, pdu: str, answer: str, words: list[int] | None) -> None:
    assert request_.pdu == bytes.fromhex(pdu)
    response = Response(1, bytes.fromhex(answer))
    assert request_.answered_by(response)
    assert len(response.pdu) == request_.response_length
    if words is not None:
        assert request_.words(response) == words
    assert not request_.answered_by(Response(2, response.pdu))
    assert not request_.answered_by(Response(1, response.pdu + b"\0"))
    refusal = Response(1, bytes((request_.function | 0x80, 2)))
    assert request_.refused_by(refusal)
    for of_either in (response, refusal):
        frame = frames.rtu(1, of_either.pdu)
        assert frames.find_rtu(b"\1\3" + frame + b"\1", {1}) == (of_either, 2, 2 + len(frame))
        assert frames.find_rtu(frame[:-1], {1}) is None


def test_the_checksum_is_that_of_the_standard() -> None:
    assert frames.rtu(2, b"\7") == bytes.fromhex("02 07 41 12")


@given(st.integers(0, 0xFFFF), st.integers(0, 255), st.binary(min_size=2, max_size=253), st.binary(max_size=9))
def test_a_frame_of_tcp_is_found_with_its_number_and_unit(number: int, unit_id: int, pdu: bytes, rest: bytes) -> None:
    frame = frames.tcp(number, unit_id, pdu)
    assert frame == number.to_bytes(2, "big") + bytes((0, 0, 0, len(pdu) + 1, unit_id)) + pdu
    assert frames.find_tcp(frame + rest) == (Response(unit_id, pdu, number), len(frame))
    assert frames.find_tcp(frame[:-1]) is None


@pytest.mark.parametrize("header", ["0001 0001 0006 01", "0001 0000 0002 01", "0001 0000 00FF 01"])
def test_what_no_header_of_tcp_is_is_refused(header: str) -> None:
    with pytest.raises(ValueError, match="no header"):
        frames.find_tcp(bytes.fromhex(header))
