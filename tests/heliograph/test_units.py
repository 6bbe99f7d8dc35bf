import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.units import DEVICE_CLASSES, spelled


def test_a_unit_as_home_assistant_spells_it_stays() -> None:
    assert {unit: spelled(unit) for unit in DEVICE_CLASSES} == {unit: unit for unit in DEVICE_CLASSES}


@pytest.mark.parametrize(
    ("written", "unit"),
    [("C", "°C"), ("degC", "°C"), ("VAr", "var"), ("kwh", "kWh"), ("p", ""), ("W/m2", "W/m²"), ("lux", "lx")],
)
def test_common_spellings_are_understood(written: str, unit: str) -> None:
    assert spelled(written) == unit


@pytest.mark.parametrize("unit", ["furlong", "w ", "WW", "\n", "°"[:0] + "°X"])
def test_an_unknown_unit_is_refused_in_one_line(unit: str) -> None:
    with pytest.raises(ValueError, match="unknown unit") as error:
        spelled(unit)
    assert "\n" not in str(error.value)


def spelled_or_refused(text: str) -> str:
    try:
        return spelled(text)
    except ValueError as error:
        return str(error)


@given(st.text())
def test_any_text_is_a_known_unit_or_a_value_error(text: str) -> None:
    result = spelled_or_refused(text)
    assert result in DEVICE_CLASSES or (result.startswith("unknown unit") and "\n" not in result)


def test_spelling_twice_changes_nothing() -> None:
    for written in ("C", "degC", "wh", "VAR", "m3", "pf", "none"):
        assert spelled(spelled(written)) == spelled(written)
