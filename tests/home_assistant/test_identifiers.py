import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.home_assistant.identifiers import join, split

NAMES = st.from_regex(r"[a-z0-9_][a-z0-9_-]{0,6}", fullmatch=True)


def test_a_node_and_a_device_are_joined_by_an_underscore() -> None:
    assert join("pi-a", "tracer") == "pi-a_tracer"
    assert join("pi_a", "plug_1") == "pi_Ua_plug_U1"


def test_two_devices_whose_names_make_the_same_text_do_not_collide() -> None:
    assert join("a_b", "c") != join("a", "b_c")
    assert join("a_", "b") != join("a", "_b")


@given(st.lists(NAMES, min_size=1, max_size=3))
def test_joined_names_are_split_again(names: list[str]) -> None:
    identifier = join(*names)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", identifier)
    assert split(identifier) == tuple(names)


@given(st.text(max_size=12) | st.from_regex(r"[a-zU_-]{1,8}", fullmatch=True))
def test_an_identifier_of_another_program_is_refused_or_unambiguous(text: str) -> None:
    try:
        names = split(text)
    except ValueError:
        return
    assert join(*names) == text


@pytest.mark.parametrize("identifier", ["", "0x00158d00018255DF", "a__Ub_", "a__b", "shelly plug"])
def test_an_identifier_of_another_program_is_refused(identifier: str) -> None:
    with pytest.raises(ValueError, match="not one of our identifiers"):
        split(identifier)
