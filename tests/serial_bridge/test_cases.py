"""What lines and telegrams say is what stands below them in the files of cases/."""

import re
from pathlib import Path
from typing import Any

import pytest

from services.serial_bridge import formats
from services.serial_bridge.readings import Heard, NotAReading, Reading, Remark
from tests.serial_bridge import case_files

ROOT = Path(__file__).parents[2]


def outcome(heard: Heard) -> dict[str, Any]:
    said = heard.said
    if isinstance(said, NotAReading):
        return {"set_aside": said.counter}
    if isinstance(said, Remark):
        remark = {"remark": said.counter, "settings": said.settings}
        return {key: text for key, text in remark.items() if text}
    if isinstance(said, list):
        return {"readings": [shown(reading) for reading in said]}
    return shown(said)


def shown(said: Reading) -> dict[str, Any]:
    result = {"device": said.device, "values": said.values}
    more = {"at": said.at, "no_sensor": said.no_sensor, "refused": len(said.refused)}
    return result | {key: value for key, value in more.items() if value}


@pytest.mark.parametrize("file", case_files.FILES, ids=lambda file: file.stem)
def test_every_line_says_what_the_case_says(file: Path) -> None:
    case = case_files.load(file)
    decoder = case.plan().decoder(joined_late=False)
    for data, expected in case.lines:
        found = [outcome(heard) for heard in decoder.feed(data)]
        assert repr(found) == repr(expected)  # repr tells 54.8 from 54.800000000000004, and an integer from a float


def test_every_test_that_the_table_of_compatibility_names_is_there() -> None:
    table = (ROOT / "docs/compatibility.md").read_text()
    there = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for name in re.findall(r"`(test_[a-z0-9_]+)`", table):
        assert f"def {name}(" in there, name
    for case in re.findall(r"`(cases/[a-z0-9_-]+)`", table):
        assert (case_files.FOLDER.parent / f"{case}.txt").exists(), case
    for file in re.findall(r"`(tests/[a-z0-9_./]+)`", table):
        assert (ROOT / file).exists(), file


@pytest.mark.parametrize("name", formats.known())
def test_every_format_has_a_case_with_a_reading(name: str) -> None:
    assert any("values" in str(said) for case in case_files.of_format(name) for _, said in case.lines)
