import tomllib
from pathlib import Path
from typing import Any

import msgspec

from services.sensor_reader import options
from services.sensor_reader.options import Choice, Counter, SensorReader
from tests.samples import uncommented

SAMPLE = Path(options.__file__).with_name("sample.toml").read_text()


def section(text: str) -> dict[str, Any]:
    found = tomllib.loads(text)["sensor_reader"]
    assert isinstance(found, dict)
    return found


def test_every_default_in_the_sample_is_the_true_one() -> None:
    spelled_out = section(uncommented(SAMPLE))
    as_shipped = section(SAMPLE)
    assert spelled_out != as_shipped
    assert msgspec.convert(spelled_out, SensorReader) == msgspec.convert(as_shipped, SensorReader)


def test_every_option_is_in_the_sample() -> None:
    whole = section(uncommented(SAMPLE))
    assert set(whole) == {field.name for field in msgspec.structs.fields(SensorReader)}
    (choice,) = whole["sensors"].values()
    assert set(choice) == {field.name for field in msgspec.structs.fields(Choice)}
    assert set(whole["counters"][0]) == {field.name for field in msgspec.structs.fields(Counter)}
