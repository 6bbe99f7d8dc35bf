"""The lists in documents that follow from the code are as the code is."""

import pytest

from tests import lists


@pytest.mark.parametrize("listing", list(lists.every()), ids=str)
def test_a_list_is_as_the_code_is(listing: lists.Listing) -> None:
    text = (lists.ROOT / listing.document).read_text()
    assert listing.updated(text) == text, f"{listing}: run `python -m tests.lists`, which writes this list"


def test_a_list_without_its_place_says_so() -> None:
    listing = lists.Listing("README.md", "| a |", "##", ["| b |"])
    assert listing.updated("x\n| a |\n| old |\n## End") == "x\n| a |\n| b |\n## End"
    with pytest.raises(ValueError, match=r"README.md has no line '| a |' with '##' after it"):
        listing.updated("x\n| a |\n")
