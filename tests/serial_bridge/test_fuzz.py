"""Whatever comes in, a decoder says something that can be published, or why it did not; and it does not grow."""

import json
import math
import random
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from heliograph import topics
from heliograph.messages import Reading as Published
from heliograph.messages import encode, is_value
from services.serial_bridge import formats
from services.serial_bridge.decoder import DecoderFactory, StreamDecoder
from services.serial_bridge.options import PortOptions, SocketOptions
from services.serial_bridge.parsing.lines import MAX_BYTES, LineSplitter
from services.serial_bridge.parsing.readings import Decoder, NotAReading, ParsedPiece, StatusLine
from services.serial_bridge.protocols import checksums
from services.serial_bridge.radio.command_queue import CommandQueue
from services.serial_bridge.radio.encoder import NotSent, PacketEncoder, TransmitOptions
from services.serial_bridge.radio.repeater import RepeaterClient
from services.serial_bridge.radio.settings import RadioOptions
from services.serial_bridge.socket_source import enveloped
from tests import fuzzing
from tests.fuzzing import mutated
from tests.serial_bridge import case_files

AUTO = PortOptions(name="any", port="/x", format="auto")
DECODERS = {
    **{name: case_files.of_format(name)[0].decoders() for name in formats.known()},
    "auto": DecoderFactory(AUTO, case_files.CONTEXT),
}
SEEDS = [data for file in case_files.FILES for data, _ in case_files.load(file).lines]  # all that the cases contain
MARKS = [b"\r\n", b"\x1b\x1b\x1b\x1b", b"!", b"/", b":", b"\t", b"9" * 30, b"\xff", b'"', b",", b"1e999"]
ANSWERS = [b"[RF12demo.12] E i15* g210 @ 433 MHz q1", b" i5 g0 @ 915 MHz", b"> 4v", b"4v", b"[emonPi2.1] i5 g210"]

NUMBERS = st.one_of(st.integers(-300, 300), st.integers(), st.floats()).map(str)
NAMES = st.text("aZ09_.-+/#%é", max_size=5)
PACKETS = st.tuples(
    st.sampled_from(["OK ", "", "? "]),
    st.sampled_from([5, 8, 10, 15, 16, 19, 30, 31]),
    st.lists(st.integers(0, 256), max_size=30),
    st.sampled_from(["", " (-40)", " (0)", " (-4000)", " (x)"]),
).map(lambda parts: f"{parts[0]}{parts[1]} {' '.join(map(str, parts[2]))}{parts[3]}")
PAIRS = st.tuples(NAMES, st.lists(st.tuples(NAMES, st.sampled_from("=:"), NUMBERS).map("".join))).map(
    lambda parts: f"{parts[0]} {','.join(parts[1])}"
)
OBJECTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | NAMES, inner, max_size=5),
)
JSON = st.one_of(
    st.dictionaries(NAMES | st.sampled_from(["device", "time", "p"]), OBJECTS, max_size=5).map(json.dumps),
    OBJECTS.map(json.dumps),
)
ROWS = st.lists(NUMBERS | NAMES, min_size=6, max_size=8).map(";".join)
TEXTS = st.one_of(st.text(), PACKETS, PAIRS, JSON, ROWS).map(lambda line: line.encode("utf-8", "replace") + b"\n")
FIELDS = st.tuples(
    st.sampled_from(["V", "PID", "CS", "LOAD", "OR", "TTG", "T", "ERR", "x"]), NUMBERS | st.text(max_size=9)
)
BLOCKS = st.lists(FIELDS, max_size=8).map(
    lambda fields: with_sum(b"".join(f"\r\n{key}\t{value}".encode("utf-8", "replace") for key, value in fields))
)
OBIS = st.tuples(
    st.sampled_from(["1-0:1.8.1", "0-1:24.2.1", "0-1:24.1.0", "0-2:24.3.0", "1-0:32.7.0", "9-9:9.9.9"]),
    st.sampled_from(["(1*kWh)", "(161129200000W)(1*m3)", "(003)", "(1.2.3*V)", "()", "(999999999999S)(1*GJ)", "(1*x)"]),
).map("".join)
TELEGRAMS = st.lists(OBIS | st.text(max_size=9), max_size=8).map(
    lambda lines: with_arc("/X\r\n" + "\r\n".join(lines) + "\r\n!")
)
SML = st.binary(max_size=60).map(lambda body: with_x25(body))
STREAMS = st.lists(st.one_of(st.binary(max_size=80), TEXTS, BLOCKS, TELEGRAMS, SML), max_size=6).map(b"".join)


def with_sum(block: bytes) -> bytes:
    block += b"\r\nChecksum\t"
    return block + bytes([-sum(block) % 256])


def with_arc(telegram: str) -> bytes:
    data = telegram.encode("utf-8", "replace")
    return data + f"{checksums.arc(data):04X}\r\n".encode()


def with_x25(body: bytes) -> bytes:
    fill = -len(body) % 4
    whole = b"\x1b" * 4 + b"\x01" * 4 + body.replace(b"\x1b" * 4, b"\x1b" * 8) + bytes(fill) + b"\x1b" * 4
    whole += bytes([0x1A, fill])
    return whole + checksums.x25(whole).to_bytes(2, "little")


def check(piece: ParsedPiece) -> None:
    result = piece.result
    assert len(piece.raw) <= 8192 + 4096
    if isinstance(result, NotAReading | StatusLine):
        assert result.counter
        return
    for reading in result if isinstance(result, list) else [result]:
        assert topics.is_name(reading.device)
        for channel, value in reading.values.items():
            assert topics.is_channel(channel)
            assert is_value(value)
        assert reading.at is None or math.isfinite(reading.at)
        encode(Published(0.0, reading.values))


@given(stream=STREAMS, size=st.integers(1, 200))
def test_every_decoder_reads_a_stream_or_rejects_it(stream: bytes, size: int) -> None:
    for name, decoders in DECODERS.items():
        note(name)
        decoder = decoders.decoder(joined_late=False)
        for start in range(0, len(stream), size):
            for piece in decoder.feed(stream[start : start + size]):
                check(piece)


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_survives_lines_of_the_greatest_length(name: str) -> None:
    for piece in ("[", '{"a":', "1 ", "a=1 ", "a=1,", "a ", "9", "OK ", " ", "-", "{}", "\x00", "1;"):
        line = (piece * 4096)[:4095].encode()
        decoder = DECODERS[name].decoder(joined_late=False)
        for parsed in decoder.feed(line + b"\n" + line + b"}\n"):
            check(parsed)


def in_pieces(chance: random.Random, corpus: list[bytes]) -> Iterator[bytes]:
    """Yield something random or nearly right, as a port would hand it over."""
    data = chance.randbytes(500) if chance.random() < 0.1 else mutated(chance, chance.choice(corpus), MARKS)
    size = chance.choice([1, 16, 100, 4096])
    for start in range(0, len(data), size):
        yield data[start : start + size]


def decode(decoder: Decoder, chance: random.Random, corpus: list[bytes]) -> None:
    for data in in_pieces(chance, corpus):
        for piece in decoder.feed(data):
            check(piece)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", DECODERS)
def test_random_and_mutated_bytes_for_a_while_neither_crash_a_decoder_nor_make_it_grow(
    name: str, request: pytest.FixtureRequest
) -> None:
    chance, corpus = random.Random(4), SEEDS
    decoder = DECODERS[name].decoder(joined_late=False)

    assert fuzzing.grows(partial(decode, decoder, chance, corpus), request) < fuzzing.MOST_GROWTH


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("key", "timestamped"), [("k3y", False), ("", True), ("k3y", True)])
def test_any_line_with_a_key_or_a_time_is_a_reading_or_is_rejected(
    key: str, timestamped: bool, request: pytest.FixtureRequest
) -> None:
    socket = SocketOptions(name="door", format="node_values", port=1, key=key, timestamped=timestamped)
    plan = DecoderFactory(socket, case_files.CONTEXT)
    chance, corpus = random.Random(4), [*SEEDS, b"1763633000 30 k3y 205\r\n", b"k3y 1763633001.5 30 206\r\n"]
    decoder = StreamDecoder(LineSplitter(), lambda line: enveloped(line, plan, socket), text=True)

    assert fuzzing.grows(partial(decode, decoder, chance, corpus), request) < fuzzing.MOST_GROWTH


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("line_format", ["rfm2pi", "oem"])
def test_whatever_a_board_and_a_client_send_only_lines_of_printable_characters_are_written(
    line_format: str, request: pytest.FixtureRequest
) -> None:
    now = [0.0]
    radio = RadioOptions(
        group=210, base_id=5, frequency=868, quiet="on", time_broadcast_interval=5.0 if line_format == "rfm2pi" else 0.0
    )
    command_queue = CommandQueue(radio, lambda: now[0], lambda: True, oem=line_format == "oem")
    client = RepeaterClient(command_queue, lambda _counter: None)
    chance, corpus = random.Random(4), [*SEEDS, *ANSWERS]

    def turn() -> None:
        now[0] += chance.choice([0.1, 1.0, 10.0])
        if chance.random() < 0.05:
            command_queue.opened()
        command_queue.received(mutated(chance, chance.choice(corpus), MARKS)[:MAX_BYTES].decode("latin-1"))
        for data in in_pieces(chance, corpus):
            client.feed(data)
        written = command_queue.due()
        assert len(written) <= 257
        assert all(32 <= byte < 127 for byte in written.rstrip(b"\n"))

    command_queue.opened()
    assert fuzzing.grows(turn, request) < fuzzing.MOST_GROWTH


@pytest.mark.timeout(1200)
def test_any_set_message_is_a_packet_or_is_rejected(request: pytest.FixtureRequest) -> None:
    encoder = PacketEncoder(TransmitOptions(names=("relay", "set point"), datacodes=("B", "h"), scales=(1.0, 0.1)))
    chance, corpus = random.Random(4), [b'{"relay": true, "set_point": 20.5}', b"[1, 2e3]", b"[" * 3000, b"1" * 9000]

    def turn() -> None:
        with suppress(NotSent):
            values = encoder.values(mutated(chance, chance.choice(corpus), MARKS))
            assert len(encoder.packet(list(values.values()))) == 3

    assert fuzzing.grows(turn, request) < fuzzing.MOST_GROWTH
