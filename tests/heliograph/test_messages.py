import json
import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from heliograph.errors import MessageError
from heliograph.messages import (
    TEXT_LIMIT,
    Block,
    Channel,
    Frame,
    Info,
    Reading,
    SetAside,
    Status,
    Watermark,
    decode,
    encode,
    is_value,
)

KINDS = [Info, Reading, Block, Frame, Watermark, Status]


def decoded_or_refused(kind: type[Struct], payload: bytes) -> Struct | str:
    try:
        return decode(kind, payload)
    except MessageError as error:
        return str(error)


text = st.text(st.characters(codec="utf-8"))
value = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**63), 2**63 - 1), st.booleans(), text
)
anything = st.recursive(st.none() | value, lambda inner: st.lists(inner) | st.dictionaries(text, inner), max_leaves=10)
count = st.integers(0, 1 << 62)
sequence = st.integers(0, 1 << 53)
rows = st.lists(st.lists(value, min_size=1), max_size=4)
frames = st.builds(
    Frame,
    st.lists(st.builds(Block, text, st.lists(text, max_size=3).map(tuple), rows), max_size=3),
    st.text(st.characters(codec="utf-8"), max_size=64),
    sequence,
    sequence,
    count,
)


@given(
    st.one_of(
        frames,
        st.builds(Reading, st.floats(0, 1e11), st.dictionaries(text, value), st.sampled_from(["", "unsynced"])),
        st.builds(Info, text, st.dictionaries(text, st.builds(Channel, text))),
        st.builds(Watermark, text, count, count, text, st.floats(0, 60), st.booleans()),
        st.builds(
            Status,
            st.sampled_from(["online", "offline"]),
            counters=st.dictionaries(text, count),
            set_aside=st.lists(st.builds(SetAside, st.floats(0, 1e11), text, text, text), max_size=2),
        ),
    )
)
def test_a_message_is_decoded_as_it_was_encoded(message: Info | Reading | Frame | Watermark | Status) -> None:
    again = decode(type(message), encode(message))
    assert repr(again) == repr(message)


@given(st.sampled_from(KINDS), st.binary() | anything.map(lambda thing: json.dumps(thing).encode()))
def test_any_payload_is_a_message_or_a_message_error_in_one_line(kind: type[Info], payload: bytes) -> None:
    decoded = decoded_or_refused(kind, payload)
    assert isinstance(decoded, kind) or (kind.__name__ in str(decoded) and "\n" not in str(decoded))


@given(frames.map(encode), st.data())
def test_a_frame_with_damage_is_a_frame_or_a_message_error(payload: bytes, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(payload) - 1))
    damaged = payload[:position] + data.draw(st.binary(max_size=3)) + payload[position + data.draw(st.integers(0, 5)) :]
    decoded = decoded_or_refused(Frame, damaged)
    assert isinstance(decoded, Frame) or "Frame" in str(decoded)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"e":"x","q":-1}',
        b'{"e":"x","q":1e3000}',
        b'{"e":"x","q":9223372036854775808}',
        b'{"i":[{"d":"meter","k":["a"],"r":[[1,NaN]]}]}',
        b'{"i":[{"d":"meter","k":["a"],"r":[[1,1e999]]}]}',
        b'{"i":[{"d":"meter","k":["a"],"r":[["\\ud800"]]}]}',
        b'{"i":[{"d":"meter","k":"ab","r":[]}]}',
        b'{"e":"' + b"x" * 65 + b'"}',
    ],
)
def test_a_payload_that_is_not_a_frame_is_a_message_error(payload: bytes) -> None:
    with pytest.raises(MessageError):
        decode(Frame, payload)


def test_a_field_of_a_newer_version_is_ignored() -> None:
    assert decode(Reading, b'{"time":1,"values":{"a":1},"new":[1]}') == Reading(1.0, {"a": 1})


@pytest.mark.parametrize("good", [0, -0.0, 1.5, True, "", "x" * TEXT_LIMIT, sys.float_info.max, 2**1023])
def test_finite_numbers_booleans_and_short_texts_are_values(good: object) -> None:
    assert is_value(good)


@pytest.mark.parametrize(
    "bad", [math.nan, math.inf, -math.inf, 10**400, "x" * (TEXT_LIMIT + 1), None, [], {}, b"x", 1j]
)
def test_anything_else_is_no_value(bad: object) -> None:
    assert not is_value(bad)
