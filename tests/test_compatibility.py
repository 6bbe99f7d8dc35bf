"""docs/compatibility.md and docs/field-cases.md name a test for every row."""

import re

import pytest

from tests.lists import ROOT


@pytest.mark.parametrize("page", ["compatibility", "field-cases"])
def test_every_test_that_the_table_names_is_there(page: str) -> None:
    table = (ROOT / f"docs/{page}.md").read_text()
    there = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for name in re.findall(r"`(test_[a-z0-9_]+)`", table):
        assert f"def {name}(" in there, name
    for case in re.findall(r"`(cases/[a-z0-9_-]+)`", table):
        assert (ROOT / "tests/serial_bridge" / f"{case}.txt").exists(), case
    for file in re.findall(r"`(tests/[a-z0-9_./]+)`", table):
        assert (ROOT / file).exists(), file


def test_every_case_from_the_field_names_its_test() -> None:
    table = (ROOT / "docs/field-cases.md").read_text()
    rows = [line.split(" | ") for line in table.splitlines() if re.match(r"\| [FODCYM]\d", line)]
    for row in rows:
        assert len(row) == 4, row
        assert re.search(r"`(test_|tests/)", row[2]), row
