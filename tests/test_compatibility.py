"""docs/compatibility.md names a test for every row."""

import re

from tests.lists import ROOT


def test_every_test_that_the_table_of_compatibility_names_is_there() -> None:
    table = (ROOT / "docs/compatibility.md").read_text()
    there = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for name in re.findall(r"`(test_[a-z0-9_]+)`", table):
        assert f"def {name}(" in there, name
    for case in re.findall(r"`(cases/[a-z0-9_-]+)`", table):
        assert (ROOT / "tests/serial_bridge" / f"{case}.txt").exists(), case
    for file in re.findall(r"`(tests/[a-z0-9_./]+)`", table):
        assert (ROOT / file).exists(), file
