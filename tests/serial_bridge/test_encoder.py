import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.serial_bridge.radio.encoder import CODES, NotSent, PacketEncoder, TransmitOptions
from services.serial_bridge.radio.nodes import NodeOptions, PacketDecoder


def packet(encoder: PacketEncoder, message: bytes) -> bytes:
    return encoder.packet(list(encoder.values(message).values()))


def test_values_are_packed_by_their_codes_as_emonhub_packs_them() -> None:
    encoder = PacketEncoder(TransmitOptions(datacodes=("b", "b", "b", "h", "h", "H", "H")))
    expected = bytes([14, 38, 34, 188, 2, 138, 0, 140, 10, 61, 3])
    assert packet(encoder, b"[14, 38, 34, 700, 138, 2700, 829]") == expected


def test_values_by_name_are_packed_in_the_order_of_the_names() -> None:
    encoder = PacketEncoder(TransmitOptions(names=("Relay", "set point"), datacodes=("B", "h"), scales=(1.0, 0.1)))
    assert packet(encoder, b'{"set_point": 20.5, "relay": true}') == bytes([1, 205, 0])


@pytest.mark.parametrize(
    "message",
    [
        *[b"", b"1", b'"on"', b"{}", b'{"relay": 1}', b'{"relay": 1, "set_point": 1, "x": 1}', b"[1]", b"[1, 40000]"],
        b'{"relay": 1, "set_point": 1, "relay": 0}',
        *[b"[300, 1]", b"[null, 1]", b'["1", 1]', b"[1e999, 1]", b"[" * 5000, b"\xff\xfe"],
    ],
)
def test_what_cannot_be_packed_is_refused(message: bytes) -> None:
    encoder = PacketEncoder(TransmitOptions(names=("relay", "set point"), datacodes=("B", "h")))
    with pytest.raises(NotSent):
        packet(encoder, message)


def test_an_array_has_as_many_values_as_there_are_names() -> None:
    encoder = PacketEncoder(TransmitOptions(names=("relay", "level"), datacode="B"))
    assert packet(encoder, b"[1, 2]") == bytes([1, 2])
    for message in (b"[1]", b"[1, 2, 3]"):
        with pytest.raises(NotSent):
            packet(encoder, message)


def test_a_packet_is_neither_empty_nor_longer_than_the_radio_can_send() -> None:
    encoder = PacketEncoder(TransmitOptions(datacode="B"))
    assert len(encoder.packet([1.0] * 62)) == 62
    for values in ([], [1.0] * 63):
        with pytest.raises(NotSent):
            encoder.packet(values)


@given(st.sampled_from(CODES), st.floats(-100, 100), st.sampled_from([0.01, 0.1, 1.0, 10.0]), st.booleans())
def test_what_is_sent_is_what_a_decoder_of_the_same_node_reads(
    code: str, value: float, scale: float, whitening: bool
) -> None:
    node = NodeOptions(
        "one", datacodes=(code,), scales=(scale,), whitening=whitening, tx=TransmitOptions((), (code,), "h", (scale,))
    )
    decoder = PacketDecoder(1, node)
    assert decoder.encoder
    try:
        packet = decoder.encoder.packet([value])
    except NotSent:
        bits = 8 * struct.calcsize(f"<{code}")
        low, high = (0, (1 << bits) - 1) if code.isupper() else (-(1 << bits - 1), (1 << bits - 1) - 1)
        assert code not in "fd"
        assert not low <= round(value / scale) <= high
        return
    (value_read,) = decoder.decode(packet, None).values.values()
    assert isinstance(value_read, float | int)
    assert abs(value_read - value) <= scale * 0.500001 + abs(value) * 1e-6
