"""The word list of docs/glossary.md finds what it should, and nothing else."""

from pathlib import Path

import pytest

from scripts.glossary import WordList

PAGE = """\
# Glossary

## Words we do not use

| not | but |
|---|---|
| lane | worker |
| is none | is not a |
| found (name) | what it holds |

## Exceptions

| phrase | where | reason |
|---|---|---|
| bus lane | | a road |
| memory lane | docs/*.md | a saying |
| * | tests/quotes.py | it quotes the list |
"""


def words(text: str, path: str = "services/api/app.py") -> list[tuple[int, str]]:
    return [(finding.line, finding.word) for finding in WordList(PAGE).findings(Path(path), text)]


@pytest.mark.parametrize("text", ["lane = 1", "# Lane", "old_lane = 1", "class OldLane: ...", "'the lane'", "_lane_()"])
def test_a_word_is_found_in_prose_and_in_identifiers(text: str) -> None:
    assert words(text) == [(1, "lane")]


@pytest.mark.parametrize("text", ["planes = 1", "x is None", "# it was found", "found_rows = 1", "# the bus lane"])
def test_what_only_looks_like_a_word_of_the_list_is_not_reported(text: str) -> None:
    assert words(text) == []


def test_a_phrase_and_a_whole_name_are_found() -> None:
    assert words("found = 1\n# it is none of these\n") == [(2, "is none"), (1, "found")]


def test_an_exception_may_be_limited_to_some_files() -> None:
    assert words("memory lane", "docs/api.md") == []
    assert words("memory lane", "README.md") == [(1, "lane")]


def test_a_whole_file_may_be_an_exception() -> None:
    assert words("lane = found", "tests/quotes.py") == []


def test_an_exception_that_no_text_needs_is_reported() -> None:
    checked = WordList(PAGE)
    list(checked.findings(Path("README.md"), "the bus lane"))
    assert checked.unused == {("memory lane", "docs/*.md"), ("*", "tests/quotes.py")}
