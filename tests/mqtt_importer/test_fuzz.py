"""A family parses any message or says why not, and what it has parsed can be published."""

import itertools
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph import topics
from heliograph.messages import Reading, encode, is_value
from services.mqtt_importer import families
from services.mqtt_importer.device_registry import DeviceNames
from services.mqtt_importer.devices import ImportedDevice
from services.mqtt_importer.parsing import json_paths, timestamps, topic_filters
from services.mqtt_importer.parsing.parsed import Family, Ignored, NotUnderstood, ParsedMessage
from tests import fuzzing
from tests.mqtt_importer import family_cases

KEY = re.compile(r'"([^"\\]+)":')
CASES = {name: family_cases.of(name) for name in families.known()}
FAMILIES = {name: [case.family(name) for case in cases] for name, cases in CASES.items()}  # with each case's options
MESSAGES = [message for cases in CASES.values() for case in cases for message in case.message]
LEVELS = sorted({level for message in MESSAGES for level in message.topic.split("/")} | {"cmnd", "switch:x", ":", "0"})
TOPICS = st.lists(st.sampled_from(LEVELS) | st.text(max_size=6), min_size=1, max_size=6).map("/".join)
PAYLOADS_SEEN = sorted({message.payload.encode() for message in MESSAGES})
KEYS = st.text(max_size=4) | st.sampled_from(sorted({*KEY.findall(b" ".join(PAYLOADS_SEEN).decode()), "~", "src"}))
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=300)
    | st.sampled_from(["ON", "OFF", "NotifyStatus", "binary", "numeric", "enum", "composite", "W", "\ud800", "kitchen"])
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6))


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    payload = bytearray(draw(st.sampled_from(PAYLOADS_SEEN)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(payload)))
        payload[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(payload)


PAYLOADS = st.binary(max_size=64) | VALUES.map(json.dumps).map(str.encode) | mutated()


def check(family: Family, topic: str, payload: bytes, device: ImportedDevice) -> None:
    try:
        parsed = family.parse(topic, payload)
    except NotUnderstood:
        return
    if parsed is None or isinstance(parsed, Ignored):
        return
    assert isinstance(parsed, ParsedMessage)
    values, rejected = device.update(parsed)
    assert all(isinstance(reason, str) for reason in rejected)
    for channel, value in values.items():
        assert topics.is_channel(channel)
        assert is_value(value)
        assert channel in device.info.channels
    assert all(topics.is_channel(channel) for channel in device.info.channels)
    encode(Reading(0.0, values))
    encode(device.info)
    for command_topic in parsed.command_topics.values():
        for command in (True, 1.5, "text"):
            try:
                command_topic.payload(command).encode()
            except ValueError:
                continue
        assert not {"+", "#"} & set(command_topic.topic) or {"+", "#"} & set(topic)
    timestamps.credible(parsed.time, None, 1.7e9, 600)


@given(messages=st.lists(st.tuples(st.integers(0, 99) | TOPICS, PAYLOADS), max_size=4), number=st.integers(0, 9))
def test_every_family_parses_any_message_or_says_why_not(messages: list[tuple[int | str, bytes]], number: int) -> None:
    for name, cases in CASES.items():
        index = number % len(cases)
        own_topics = [message.topic for message in cases[index].message]
        device = family_cases.new_device()
        for topic, payload in messages:
            chosen = own_topics[topic % len(own_topics)] if isinstance(topic, int) else topic
            check(FAMILIES[name][index], chosen, payload, device)


MARKS = [b"[" * 5000, b'{"a":' * 3000, b"}", b'"', b",", b"1e999", b"null", b"\\ud800", b"\xff", b"9" * 5000, b"NaN"]
MESSAGES_OF_A_DEVICE = 500  # then comes another one, so that noise does not fill it forever


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", CASES)
def test_random_and_mutated_messages_for_a_while_neither_crash_a_family_nor_make_it_grow(
    name: str, request: pytest.FixtureRequest
) -> None:
    chance, turns = random.Random(4), itertools.count()
    device = family_cases.new_device()

    def turn() -> None:
        nonlocal device
        if next(turns) % MESSAGES_OF_A_DEVICE == 0:
            device = family_cases.new_device()
        index = chance.randrange(len(CASES[name]))
        topic = chance.choice(CASES[name][index].message).topic
        if chance.random() < 0.2:
            topic = fuzzing.mutated(chance, topic.encode(), [b"/", b"0", b"x"]).decode("utf-8", "replace")
        payload = chance.randbytes(100) if chance.random() < 0.1 else b""
        payload = payload or fuzzing.mutated(chance, chance.choice(PAYLOADS_SEEN), MARKS)
        check(FAMILIES[name][index], topic, payload, device)

    assert fuzzing.grows(turn, request) < fuzzing.MOST_GROWTH


@given(path=st.text('ab.[]0"1', max_size=12), document=VALUES)
def test_a_path_can_be_followed_or_is_refused(path: str, document: Any) -> None:
    try:
        steps = json_paths.parse(path)
    except ValueError:
        return
    try:
        json_paths.follow(steps, document)
    except LookupError:
        return


@given(timestamp=VALUES, now=st.floats(1.6e9, 4e9), max_age=st.floats(0, 1e9))
def test_a_timestamp_is_near_or_not_used(timestamp: Any, now: float, max_age: float) -> None:
    at = timestamps.credible(timestamp, None, now, max_age)
    assert at is None or now - max_age <= at <= now + timestamps.FUTURE_SECONDS


LEVEL = st.sampled_from(["a", "b", "", "+"])


@given(
    one=st.lists(LEVEL | st.just("#"), min_size=1, max_size=4).map("/".join).filter(topic_filters.is_filter),
    other=st.lists(LEVEL | st.just("#"), min_size=1, max_size=4).map("/".join).filter(topic_filters.is_filter),
    topic=st.lists(st.sampled_from(["a", "b", ""]), min_size=1, max_size=5).map("/".join),
)
def test_a_filter_that_covers_another_matches_all_that_it_matches(one: str, other: str, topic: str) -> None:
    if topic_filters.covers(one, other) and topic_filters.matches(other, topic):
        assert topic_filters.matches(one, topic)
    assert any(topic_filters.covers(kept, one) for kept in topic_filters.without_covered([one, other]))


def test_names_that_cannot_be_read_back_are_made_again(tmp_path: Path) -> None:
    file = tmp_path / "devices.json"
    file.write_text("{")
    device_names = DeviceNames(file, {("z", "b"): "a_2"})
    assert [device_names.name("z", foreign) for foreign in ("A", "a", "b", "A")] == ["a", "a_3", "a_2", "a"]
    assert DeviceNames(file, {}).name("z", "a") == "a_3"
