"""Whatever comes down the line, a parser returns something that can be published, or raises NotAReading."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph import config, topics
from heliograph.messages import Reading as Published
from heliograph.messages import encode, is_value
from services.serial_bridge.options import SerialBridge, parser
from services.serial_bridge.readings import Format, NotAReading, Reading

CONFIG = Path(__file__).parent / "cases/config.toml"
OPTIONS = config.section(SerialBridge, config.read(CONFIG), "serial_bridge", CONFIG)
PARSERS = {port.format: parser(port, OPTIONS.nodes) for port in OPTIONS.ports}

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
LINES = st.one_of(st.text(), PACKETS, PAIRS, JSON)


def check(parse: Format, line: str) -> None:
    try:
        said = parse(line)
    except NotAReading:
        return
    if not isinstance(said, Reading):
        assert said.counter
        return
    assert topics.is_name(said.device)
    for channel, value in said.values.items():
        assert topics.is_channel(channel)
        assert is_value(value)
    assert said.at is None or math.isfinite(said.at)
    encode(Published(0.0, said.values))


@pytest.mark.parametrize("name", PARSERS)
@given(line=LINES)
def test_a_parser_says_what_it_heard_or_why_it_did_not(name: str, line: str) -> None:
    check(PARSERS[name], line)


@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.parametrize("piece", ["[", '{"a":', "1 ", "a=1 ", "a=1,", "a ", "9", "OK ", " ", "-", "{}", "\x00"])
def test_a_parser_survives_a_line_of_the_greatest_length(name: str, piece: str) -> None:
    line = (piece * 4096)[:4096]
    check(PARSERS[name], line)
    check(PARSERS[name], line + "}")
