import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from heliograph import config
from heliograph.errors import ConfigError
from services.calculator.calculator import info
from services.calculator.options import CalculatedChannel, CalculatedDevice, Calculator, evaluation_order
from tests.conftest import ROOT, Processes
from tests.samples import sections

SHIPPED, SPELLED_OUT = sections("calculator")


def read(text: str) -> Calculator:
    return config.section(Calculator, tomllib.loads(text), "calculator", Path("config.toml"))


def house(**formulas: str) -> str:
    return "[calculator.devices.house]\n" + "".join(
        f'[calculator.devices.house.channels.{name}]\nformula = "{formula}"\n' for name, formula in formulas.items()
    )


def names(kind: type[msgspec.Struct]) -> set[str]:
    return {field.name for field in msgspec.structs.fields(kind)}


def test_the_sample_documents_every_option_with_its_true_default() -> None:
    assert SHIPPED != SPELLED_OUT
    assert read(SHIPPED) == read(SPELLED_OUT)
    spelled: dict[str, Any] = tomllib.loads(SPELLED_OUT)["calculator"]
    assert set(spelled) == names(Calculator)
    assert set(spelled["devices"]["house"]) == names(CalculatedDevice)
    assert set(spelled["devices"]["house"]["channels"]["consumption"]) == names(CalculatedChannel)


def test_without_a_section_there_is_nothing_to_calculate() -> None:
    assert read("") == Calculator()


def test_the_description_of_a_device_has_its_channels() -> None:
    device = read(SHIPPED).devices["house"]
    description = info(device, "calculator")
    assert (description.model, description.interval, description.service) == ("Calculated", 10.0, "calculator")
    assert description.channels["consumption"].unit == "W"
    assert description.channels["self_sufficiency"].unit == "%"


def test_channels_are_evaluated_after_those_that_they_use() -> None:
    device = read(house(a="house.b + house.c", b="house.c * 2", c="grid.power")).devices["house"]
    assert evaluation_order("house", device) == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            house(x="grid.power ^ 2"),
            "devices.house.channels.x: formula: column 12: '^' is not known; a power is written **",
        ),
        (house(x="gird"), "column 1: gird is not a name"),
        (house(x="house.x + grid.power"), "devices.house: formulas that use each other: x -> x"),
        (house(x="house.y", y="house.x + grid.power"), "formulas that use each other"),
        (house(x="house.y + grid.power"), "house has no channel y; there are x"),
        (house(x="1 + 1"), "devices.house: none of its formulas uses a channel"),
        (house(x="garage.y") + house(y="grid.power").replace("house", "garage"), "garage.y is itself calculated"),
        (house(x="a.b") + 'unit = "Watt"', "devices.house.channels.x: unknown unit 'Watt'"),
        (house(x="a.b") + 'kind = "text"', "channels.x.kind: expected"),
        (house(X="a.b"), "'X' is not the name of a channel"),
        (house(x="a.b").replace("house", "House"), "'House' is not a name"),
        ("[calculator.devices.house.channels]", "channels: at least one is needed"),
        ("[calculator.devices.house]", "missing: channels"),
        ("[calculator.devices.house]\ninterval = 0.01\n" + house(x="a.b").partition("\n")[2], "interval: 0.01 is not"),
        ("[calculator.devices.house]\ninterval = 0.1001\n" + house(x="a.b").partition("\n")[2], "milliseconds"),
        ("[calculator.devices.house]\nmax_age = inf\n" + house(x="a.b").partition("\n")[2], "max_age: inf is not"),
        ("[calculator.devices.house]\nwait = -1\n" + house(x="a.b").partition("\n")[2], "wait: -1 is not between"),
        ("[calculator]\nformula = 1", "no such option: formula; there are devices"),
    ],
)
def test_a_mistake_is_one_line_with_its_location(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(text)
    assert str(error.value).startswith("config.toml: [calculator]")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_formulas_in_the_documentation_are_formulas() -> None:
    text = (ROOT / "docs/quality.md").read_text()
    devices = read(text.split("```toml\n")[2].split("```")[0]).devices
    assert set(devices) == {"house", "heat_pump", "workshop"}


def test_the_configuration_is_checked_without_a_broker(tmp_path: Path, processes: Processes) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[node]\nname = "pi"\n' + house(x="grid.power +"))
    assert processes.start("services.calculator", "--check", str(file)).wait(60) == 1
    where = f"calculator: {file}: [calculator] devices.house.channels.x"
    assert processes.output() == f"{where}: formula: column 12: something is missing at the end\n"
