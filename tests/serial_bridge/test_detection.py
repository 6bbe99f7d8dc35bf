"""`format = "auto"` finds out which format it is: every format that says how it is detected, by its own cases."""

import pytest

from services.serial_bridge import formats
from services.serial_bridge.decoder import DecoderFactory
from services.serial_bridge.detection import MAX_FAILURES, FormatDetector
from services.serial_bridge.options import PortOptions
from services.serial_bridge.parsing.readings import ParsedReading
from tests.serial_bridge import case_files

KEY_VALUE = b"boiler t=1\n"
JSON_LINES = b'{"t": 1}\n'
CHECKED = [kind.name for kind in formats.detectable() if kind.detection and kind.detection.readings == 1]
LINES = [kind.name for kind in formats.detectable() if kind.name not in CHECKED]


def detector() -> FormatDetector:
    decoder = DecoderFactory(PortOptions(name="any", port="/x", format="auto"), case_files.CONTEXT).decoder(
        joined_late=False
    )
    assert isinstance(decoder, FormatDetector)
    return decoder


def detectable(data: bytes) -> str:
    decoder = detector()
    readings(decoder, data)
    return decoder.format


def readings(decoder: FormatDetector, data: bytes) -> list[ParsedReading]:
    results: list[ParsedReading] = []
    for piece in decoder.feed(data):
        if isinstance(piece.result, list):
            results += piece.result
        elif isinstance(piece.result, ParsedReading):
            results.append(piece.result)
    return results


def sample(name: str) -> bytes:
    """Return a line of the cases by which the format is detected when it comes often enough."""
    lines = [data for case in case_files.of_format(name) for data, _ in case.lines if detectable(data * 2) == name]
    assert lines, f"no line of tests/serial_bridge/cases/{name}-*.txt is detected as {name} by auto"
    return lines[0]


@pytest.mark.parametrize("name", LINES)
def test_a_format_of_lines_is_detected_by_two_of_them_and_neither_is_lost(name: str) -> None:
    decoder, line = detector(), sample(name)
    assert readings(decoder, b"Hello, this is a device\r\n") == []
    assert readings(decoder, line) == []
    assert decoder.format == ""
    results = readings(decoder, line)
    assert decoder.format == name
    assert len(results) == 2
    assert len(readings(decoder, line * 3)) == 3


def test_a_format_with_a_checksum_is_detected_by_a_single_reading() -> None:
    assert set(CHECKED) == {"dsmr_p1", "sml", "vedirect"}


@pytest.mark.parametrize("name", CHECKED)
@pytest.mark.parametrize("size", [1, 64, 10_000])
def test_a_format_with_a_checksum_is_detected_by_the_first_good_one(name: str, size: int) -> None:
    decoder, data = detector(), sample(name)
    results = [one for start in range(0, len(data), size) for one in readings(decoder, data[start : start + size])]
    assert decoder.format == name
    assert results
    assert all(one.values for one in results)


def test_a_receiver_whose_nodes_are_not_listed_is_a_receiver_all_the_same() -> None:
    decoder = detector()
    assert readings(decoder, b"OK 25 1 0 (-40)\r\nOK 26 1 0 (-40)\r\n") == []
    assert decoder.format == "rfm2pi"


def test_noise_is_no_format() -> None:
    decoder = detector()
    assert readings(decoder, b"hello world\r\n\xff\xfe\n" * 500) == []
    assert decoder.format == ""


def test_another_device_at_the_same_port_is_detected_after_a_while() -> None:
    decoder = detector()
    readings(decoder, KEY_VALUE * 2)
    assert decoder.format == "key_value"
    readings(decoder, b"?? ??\n" * 3 + KEY_VALUE + b"?? ??\n" * (MAX_FAILURES - 1))
    assert decoder.format == "key_value"
    readings(decoder, JSON_LINES * (MAX_FAILURES + 1))
    assert decoder.format == ""
    assert len(readings(decoder, JSON_LINES * 2)) == 2
    assert decoder.format == "json_lines"
