"""What is called what after renames, and what it was called before."""

import pytest

from heliograph.errors import StoreDamaged
from heliograph.renames import Rename, Renames, decode, encode

CHAIN = Renames([Rename("alpha", "beta", "old"), Rename("beta/meter", "beta/main"), Rename("beta", "gamma", "old")])


def test_names_are_followed_forwards_and_backwards() -> None:
    assert CHAIN.present("alpha/meter/power") == "gamma/main/power"
    assert CHAIN.present("alphabet/meter") == "alphabet/meter"
    assert CHAIN.former("gamma/main/power") == ["beta/main/power", "beta/meter/power", "alpha/meter/power"]
    assert CHAIN.origin("gamma/main") == ("alpha/meter", 0)
    assert CHAIN.in_uploads("gamma/main/power") == "beta/main/power"
    assert CHAIN.in_uploads("gamma/other/power") == "alpha/other/power"
    assert decode(encode(CHAIN)).entries == CHAIN.entries
    assert len(decode(None)) == 0


def test_what_takes_a_name_that_was_given_up_is_something_else() -> None:
    twice = Renames([Rename("a/x", "a/y"), Rename("a/x", "a/z")])
    assert [twice.origin(f"a/{name}") for name in "yzx"] == [("a/x", 0), ("a/x", 1), ("a/x", 2)]


def test_what_is_no_list_of_renames_is_refused() -> None:
    for text in ("{", '[{"old": 1}]', b"\xff"):
        with pytest.raises(StoreDamaged):
            decode(text)
