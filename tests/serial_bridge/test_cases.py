"""Lines and telegrams have the readings that follow them in the files of cases/."""

from pathlib import Path
from typing import Any

import pytest

from services.serial_bridge import formats
from services.serial_bridge.parsing.readings import NotAReading, ParsedPiece, ParsedReading, StatusLine
from tests.serial_bridge import case_files


def outcome(piece: ParsedPiece) -> dict[str, Any]:
    result = piece.result
    if isinstance(result, NotAReading):
        return {"set_aside": result.counter}
    if isinstance(result, StatusLine):
        status_line = {"status_line": result.counter, "settings": result.settings}
        return {key: text for key, text in status_line.items() if text}
    if isinstance(result, list):
        return {"readings": [as_json(reading) for reading in result]}
    return as_json(result)


def as_json(reading: ParsedReading) -> dict[str, Any]:
    always = {"device": reading.device, "values": reading.values}
    more = {"at": reading.at, "no_sensor": reading.no_sensor, "refused": len(reading.refused) + len(reading.duplicates)}
    return always | {key: value for key, value in more.items() if value}


@pytest.mark.parametrize("file", case_files.FILES, ids=lambda file: file.stem)
def test_every_line_says_what_the_case_says(file: Path) -> None:
    case = case_files.load(file)
    decoder = case.decoders().decoder(joined_late=False)
    for data, expected in case.lines:
        results = [outcome(piece) for piece in decoder.feed(data)]
        assert repr(results) == repr(expected)  # repr tells 54.8 from 54.800000000000004, and an integer from a float


@pytest.mark.parametrize("name", formats.known())
def test_every_format_has_a_case_with_a_reading(name: str) -> None:
    assert any("values" in str(results) for case in case_files.of_format(name) for _, results in case.lines)
