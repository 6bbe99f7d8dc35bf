import tomllib
from pathlib import Path
from typing import Any

import msgspec

from services.modbus_poller import models
from services.modbus_poller.options import Device, Line, ModbusPoller
from tests.samples import uncommented

SAMPLE = Path(models.__file__).with_name("sample.toml").read_text()


def section(text: str) -> dict[str, Any]:
    found = tomllib.loads(text)["modbus_poller"]
    assert isinstance(found, dict)
    return found


def test_every_default_in_the_sample_is_the_true_one() -> None:
    spelled_out = section(uncommented(SAMPLE))
    as_shipped = section(SAMPLE)
    assert spelled_out != as_shipped
    assert msgspec.convert(spelled_out, ModbusPoller) == msgspec.convert(as_shipped, ModbusPoller)


def test_every_option_is_in_the_sample() -> None:
    lines = section(uncommented(SAMPLE))["lines"]
    assert set(lines[0]) == {field.name for field in msgspec.structs.fields(Line)}
    assert set(lines[0]["devices"][0]) == {field.name for field in msgspec.structs.fields(Device)}


def test_the_sample_names_every_model() -> None:
    assert ", ".join(models.names()) in SAMPLE
