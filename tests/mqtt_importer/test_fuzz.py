"""Whatever is published, a family says what it heard or why it did not, and what it says can be published."""

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
from services.mqtt_importer import families, filters, naming, paths, times
from services.mqtt_importer.devices import Device
from services.mqtt_importer.heard import Family, Heard, NotUnderstood, Silence
from tests import fuzzing
from tests.mqtt_importer import family_cases

KEY = re.compile(r'"([^"\\]+)":')
CASES = {name: family_cases.of(name) for name in families.known()}
FAMILIES = {
    name: [case.family(name) for case in cases] for name, cases in CASES.items()
}  # one with each case's options
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


def check(family: Family, topic: str, payload: bytes, device: Device) -> None:
    try:
        said = family.read(topic, payload)
    except NotUnderstood:
        return
    if said is None or isinstance(said, Silence):
        return
    assert isinstance(said, Heard)
    values, refused = device.take(said)
    assert all(isinstance(why, str) for why in refused)
    for channel, value in values.items():
        assert topics.is_channel(channel)
        assert is_value(value)
        assert channel in device.info.channels
    assert all(topics.is_channel(channel) for channel in device.info.channels)
    encode(Reading(0.0, values))
    encode(device.info)
    for switch in said.switches.values():
        for wanted in (True, 1.5, "text"):
            try:
                switch.payload(wanted).encode()
            except ValueError:
                continue
        assert not {"+", "#"} & set(switch.topic) or {"+", "#"} & set(topic)
    times.believed(said.time, None, 1.7e9, 600)


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
def test_a_family_says_what_it_heard_or_why_it_did_not(name: str, data: st.DataObject) -> None:
    device = Device("", "mqtt_importer", 0, {})
    index = data.draw(st.integers(0, len(CASES[name]) - 1))
    own_topics = st.sampled_from([message.topic for message in CASES[name][index].message])
    for topic, payload in data.draw(st.lists(st.tuples(own_topics | TOPICS, PAYLOADS), max_size=4)):
        check(FAMILIES[name][index], topic, payload, device)


MARKS = [b"[" * 5000, b'{"a":' * 3000, b"}", b'"', b",", b"1e999", b"null", b"\\ud800", b"\xff", b"9" * 5000, b"NaN"]
LIVED = 500  # messages of one device: then it is another, so that noise does not fill it for ever


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", CASES)
def test_random_and_mutated_messages_for_a_while_neither_crash_a_family_nor_make_it_grow(
    name: str, request: pytest.FixtureRequest
) -> None:
    chance, turns = random.Random(4), itertools.count()
    device = Device("", "mqtt_importer", 0, {})

    def turn() -> None:
        nonlocal device
        if next(turns) % LIVED == 0:
            device = Device("", "mqtt_importer", 0, {})
        index = chance.randrange(len(CASES[name]))
        topic = chance.choice(CASES[name][index].message).topic
        if chance.random() < 0.2:
            topic = fuzzing.mutated(chance, topic.encode(), [b"/", b"0", b"x"]).decode("utf-8", "replace")
        payload = chance.randbytes(100) if chance.random() < 0.1 else b""
        payload = payload or fuzzing.mutated(chance, chance.choice(PAYLOADS_SEEN), MARKS)
        check(FAMILIES[name][index], topic, payload, device)

    assert fuzzing.grows(turn, fuzzing.seconds(request)) < fuzzing.MOST_GROWTH


@given(path=st.text('ab.[]0"1', max_size=12), document=VALUES)
def test_a_path_leads_somewhere_or_is_refused(path: str, document: Any) -> None:
    try:
        steps = paths.parse(path)
    except ValueError:
        return
    try:
        paths.follow(steps, document)
    except LookupError:
        return


@given(text=st.text())
def test_a_name_is_one_or_is_refused(text: str) -> None:
    for made, is_one in ((naming.device, topics.is_name), (naming.channel, topics.is_channel)):
        try:
            assert is_one(made(text))
        except ValueError:
            continue


@given(given=VALUES, now=st.floats(1.6e9, 4e9), past=st.floats(0, 1e9))
def test_a_time_is_near_or_not_believed(given: Any, now: float, past: float) -> None:
    at = times.believed(given, None, now, past)
    assert at is None or now - past <= at <= now + times.FUTURE_SECONDS


LEVEL = st.sampled_from(["a", "b", "", "+"])


@given(
    one=st.lists(LEVEL | st.just("#"), min_size=1, max_size=4).map("/".join).filter(filters.is_filter),
    other=st.lists(LEVEL | st.just("#"), min_size=1, max_size=4).map("/".join).filter(filters.is_filter),
    topic=st.lists(st.sampled_from(["a", "b", ""]), min_size=1, max_size=5).map("/".join),
)
def test_a_filter_that_covers_another_matches_all_that_it_matches(one: str, other: str, topic: str) -> None:
    if filters.covers(one, other) and filters.wildcards(other, topic) is not None:
        assert filters.wildcards(one, topic) is not None
    assert any(filters.covers(kept, one) for kept in filters.needed([one, other]))


def test_names_that_cannot_be_read_back_are_made_anew(tmp_path: Path) -> None:
    file = tmp_path / "devices.json"
    file.write_text("{")
    names = naming.Names(file, {("z", "b"): "a_2"})
    assert [names.name("z", foreign) for foreign in ("A", "a", "b", "A")] == ["a", "a_3", "a_2", "a"]
    assert naming.Names(file, {}).name("z", "a") == "a_3"
