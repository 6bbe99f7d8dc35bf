import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.home_assistant.identifiers import joined, taken_apart

NAMES = st.from_regex(r"[a-z0-9_][a-z0-9_-]{0,6}", fullmatch=True)


def test_a_node_and_a_device_are_joined_by_an_underscore() -> None:
    assert joined("pi-a", "tracer") == "pi-a_tracer"
    assert joined("pi_a", "plug_1") == "pi_Ua_plug_U1"


def test_two_devices_whose_names_make_the_same_text_do_not_collide() -> None:
    assert joined("a_b", "c") != joined("a", "b_c")
    assert joined("a_", "b") != joined("a", "_b")


@given(st.lists(NAMES, min_size=1, max_size=3))
def test_names_come_out_of_an_identifier_as_they_went_in(names: list[str]) -> None:
    identifier = joined(*names)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", identifier)
    assert taken_apart(identifier) == tuple(names)


@given(st.text(max_size=12) | st.from_regex(r"[a-zU_-]{1,8}", fullmatch=True))
def test_whatever_others_call_their_devices_is_refused_or_means_one_thing(text: str) -> None:
    try:
        names = taken_apart(text)
    except ValueError:
        return
    assert joined(*names) == text


@pytest.mark.parametrize("identifier", ["", "0x00158d00018255DF", "a__Ub_", "a__b", "shelly plug"])
def test_what_others_made_is_refused(identifier: str) -> None:
    with pytest.raises(ValueError, match="none of ours"):
        taken_apart(identifier)
