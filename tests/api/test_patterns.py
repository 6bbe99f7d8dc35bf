import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api import patterns
from services.api.errors import Refused

PART = st.text("ab*", min_size=1, max_size=8)
NAME = st.text("ab", min_size=1, max_size=8)


@given(st.tuples(PART, PART, PART), st.tuples(NAME, NAME, NAME))
def test_a_star_matches_any_text_within_one_part(pattern: tuple[str, ...], name: tuple[str, ...]) -> None:
    expression = re.escape("/".join(pattern)).replace(r"\*", "[^/]*")
    expected = re.fullmatch(expression, "/".join(name)) is not None
    assert patterns.matches("/".join(pattern), "/".join(name)) is expected


def test_a_pattern_of_many_stars_is_as_quick_as_any_other() -> None:
    assert not patterns.matches("*a" * 40 + "/b/c", "a" * 39 + "b/b/c")


def test_names_are_split_at_commas_and_kept_once() -> None:
    assert patterns.parse(["a/b/c, a/b/*,", "a/b/c"]) == ["a/b/c", "a/b/*"]


@pytest.mark.parametrize("text", ["a", "a/b", "a/b/c/d", "A/b/c", "a/b/c d", "+/b/c", "a/../c", "a//c", "x" * 300])
def test_what_is_no_series_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="is not a series: it is node/device/channel"):
        patterns.parse([text])


def test_no_series_at_all_is_refused() -> None:
    with pytest.raises(Refused, match="series is missing"):
        patterns.parse([" ,,"])


def test_a_huge_list_is_refused() -> None:
    with pytest.raises(Refused, match="at most 200"):
        patterns.parse([f"a/b/c{number}" for number in range(10_000)])


def test_a_pattern_may_match_nothing_but_a_name_must_exist() -> None:
    assert patterns.select(["x/*/*"], ["a/b/c"]) == []
    with pytest.raises(Refused) as refused:
        patterns.select(["x/y/z"], ["a/b/c"])
    assert refused.value.status == 404
