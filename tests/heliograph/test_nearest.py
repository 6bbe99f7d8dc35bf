"""Which name a misspelt one is taken for."""

import pytest

from heliograph.nearest import nearest


@pytest.mark.parametrize(
    ("written", "known", "right"),
    [
        ("por", ["port", "baud"], "port"),
        ("nmae", ["name", "host"], "name"),
        ("Europe/Berln", ["Europe/Rome", "Europe/Berlin"], "Europe/Berlin"),
        ("on", ["auto", "off"], ""),
        ("x", ["min", "max"], ""),
        ("", ["port"], ""),
    ],
)
def test_the_nearest_name_is_one_that_a_slip_of_the_keyboard_explains(
    written: str, known: list[str], right: str
) -> None:
    assert nearest(written, known) == right
