"""What lines and telegrams say, as files: cases/FORMAT-WHAT.txt has the lines, .jsonl what each of them is.

A telegram that is no line stands in one line all the same, as Python writes it between quotes (\\r, \\t, \\xb5).
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from heliograph import config
from services.serial_bridge import formats
from services.serial_bridge.decoding import Plan
from services.serial_bridge.options import SerialBridge
from services.serial_bridge.readings import Heard, NotAReading, Reading, Remark

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent / "cases"
CONFIG = FOLDER / "config.toml"
CASES = sorted(FOLDER.glob("*.txt"))


def plan_of(name: str) -> Plan:
    options = config.section(SerialBridge, config.read(CONFIG), "serial_bridge", CONFIG)
    port = next(port for port in options.ports if port.format == name)
    return Plan(port, options.nodes)


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


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_every_line_says_what_the_case_says(case: Path) -> None:
    name = case.stem.partition("-")[0]
    text = formats.load(name).cutter is None
    decoder = plan_of(name).decoder(joined_late=False)
    found = []
    for line in case.read_bytes().decode().splitlines():
        data = f"{line}\r\n".encode() if text else line.encode().decode("unicode_escape").encode("latin-1")
        # repr tells 54.8 from 54.800000000000004, and an integer from a float
        found += [repr(outcome(heard)) for heard in decoder.feed(data)]
    expected = case.with_suffix(".jsonl").read_text().splitlines()
    assert found == [repr(json.loads(line)) for line in expected]


def test_every_test_that_the_table_of_compatibility_names_is_there() -> None:
    table = (ROOT / "docs/compatibility.md").read_text()
    there = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for name in re.findall(r"`(test_[a-z0-9_]+)`", table):
        assert f"def {name}(" in there, name
    for case in re.findall(r"`(cases/[a-z0-9_-]+)`", table):
        assert (FOLDER.parent / f"{case}.txt").exists(), case
    for file in re.findall(r"`(tests/[a-z0-9_/]+\.toml)`", table):
        assert (ROOT / file).is_file(), file


def test_every_format_has_a_case() -> None:
    assert {case.stem.partition("-")[0] for case in CASES} == set(formats.known())
