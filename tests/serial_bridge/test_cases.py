"""What lines say, as files: cases/FORMAT-WHAT.txt has the lines, .jsonl what each of them is."""

import json
from pathlib import Path
from typing import Any

import pytest

from heliograph import config
from services.serial_bridge import formats
from services.serial_bridge.options import SerialBridge, parser
from services.serial_bridge.readings import Format, NotAReading, Remark

FOLDER = Path(__file__).parent / "cases"
CONFIG = FOLDER / "config.toml"
CASES = sorted(FOLDER.glob("*.txt"))


def format_of(name: str) -> Format:
    options = config.section(SerialBridge, config.read(CONFIG), "serial_bridge", CONFIG)
    port = next(port for port in options.ports if port.format == name)
    return parser(port, options.nodes)


def outcome(parse: Format, line: str) -> dict[str, Any]:
    try:
        said = parse(line)
    except NotAReading as error:
        return {"set_aside": error.counter}
    if isinstance(said, Remark):
        remark = {"remark": said.counter, "settings": said.settings}
        return {key: text for key, text in remark.items() if text}
    result = {"device": said.device, "values": said.values}
    more = {"at": said.at, "no_sensor": said.no_sensor, "refused": len(said.refused)}
    return result | {key: value for key, value in more.items() if value}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_every_line_says_what_the_case_says(case: Path) -> None:
    parse = format_of(case.stem.partition("-")[0])
    lines = case.read_bytes().decode().splitlines()
    expected = case.with_suffix(".jsonl").read_text().splitlines()
    # repr tells 54.8 from 54.800000000000004, and an integer from a float
    found = [repr(outcome(parse, line)) for line in lines]
    assert found == [repr(json.loads(line)) for line in expected]


def test_every_format_has_a_case() -> None:
    assert {case.stem.partition("-")[0] for case in CASES} == set(formats.known())
