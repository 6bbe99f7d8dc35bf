"""One syntax for every user: the API, the uploader's options, heliograph store and the rules of [quality]."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph import rules, series_patterns
from heliograph.errors import ConfigError
from heliograph.store.interface import Series
from services.api import queries
from services.api.errors import RequestRefused
from services.api.live import LiveFeed, Newest
from services.storage.cli.export import matching
from services.uploader.engine.selection import Selection
from services.uploader.options import TargetOptions

PART = st.text("ab*", min_size=1, max_size=8)
NAME = st.text("ab", min_size=1, max_size=8)
PATTERNS = st.tuples(PART, PART, PART).map("/".join)
NAMES = st.tuples(NAME, NAME, NAME).map("/".join)


@given(PATTERNS, NAMES)
def test_a_star_matches_any_text_within_one_part(pattern: str, name: str) -> None:
    expression = re.escape(pattern).replace(r"\*", "[^/]*")
    expected = re.fullmatch(expression, name) is not None
    assert series_patterns.matches(pattern, name) is expected


def test_a_pattern_matches_only_names_with_as_many_parts() -> None:
    assert series_patterns.matches("meter/*", "meter/power")
    assert not series_patterns.matches("*/*", "pi/meter/power")
    assert not series_patterns.matches("*/*/*", "meter/power")


def test_a_pattern_of_many_stars_is_as_quick_as_any_other() -> None:
    assert not series_patterns.matches("*a" * 40 + "/b/c", "a" * 39 + "b/b/c")


def test_a_pattern_may_match_nothing_but_a_name_must_exist() -> None:
    assert series_patterns.select(["x/*/*"], ["a/b/c"]) == []
    with pytest.raises(KeyError, match="x/y/z"):
        series_patterns.select(["x/y/z"], ["a/b/c"])


@given(PATTERNS, st.lists(NAMES, unique=True, max_size=5))
def test_every_user_matches_alike(pattern: str, names: list[str]) -> None:
    expected = sorted(name for name in names if series_patterns.matches(pattern, name))
    parts = [name.split("/") for name in names]
    series = [Series(0, node, device, channel, "", "gauge") for node, device, channel in parts]
    if "*" in pattern:
        assert queries.select(queries.patterns([pattern]), names) == expected
        assert [one.name for one in matching(series, [pattern])] == expected
    feed = LiveFeed()
    feed.subscribe([pattern])
    for name in names:
        feed.offer(name, Newest(0, 0))
    assert sorted(feed._pending) == expected
    selection = Selection(TargetOptions(name="x", channels=(pattern,)))
    assert sorted(one.name for one in series if selection.mapped(one)) == expected
    known = rules.Rules({pattern.partition("/")[2]: rules.Rule(scale=2)})
    for name in names:
        device, channel = name.split("/")[1:]
        assert bool(known.of(device, channel)) == series_patterns.matches(
            pattern.partition("/")[2], f"{device}/{channel}"
        )
        assert known.concern(device) == series_patterns.matches(pattern.split("/")[1], device)


@pytest.mark.parametrize(
    "text", ["a", "a/b", "a/b/c/d", "A/b/c", "a/b/c d", "+/b/c", "a/../c", "a//c", "x" * 300, "gri?/b/c", "[a-m]/b/c"]
)
def test_every_user_refuses_an_invalid_pattern_alike(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not node/device/channel: each part is made of"):
        matching([], [text])
    with pytest.raises(RequestRefused, match="is not node/device/channel: each part is made of"):
        queries.patterns([text])
    with pytest.raises(ValueError, match=r"channels: .* is not node/device/channel: each part is made of"):
        TargetOptions(name="x", channels=(text,))
    if text != "a/b":
        with pytest.raises(ConfigError, match=r'expected \[quality."DEVICE/CHANNEL"\]: each part is made of'):
            rules.read({"quality": {text: {"scale": 2}}}, tmp_path)
