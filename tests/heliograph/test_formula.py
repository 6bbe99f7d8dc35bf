import math
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.formula import DEEPEST, LONGEST, Formula, Name

VALUES = {"grid.power": 100.0, "tracer.pv_power": 50.0, "roof/pump-1.flow": 3.0, "night.sun": 0.0, "a.b": -8.0}


def result(text: str) -> float | None:
    return Formula(text).evaluate(VALUES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("grid.power + tracer.pv_power * 2", 200.0),
        ("(grid.power + tracer.pv_power) * 2", 300.0),
        ("2 - 3 - 4", -5.0),
        ("100 / 10 / 5", 2.0),
        ("-2 ** 2", -4.0),
        ("2 ** 3 ** 2", 512.0),
        ("2 ** -1", 0.5),
        ("-grid.power + +1", -99.0),
        ("1 / 4", 0.25),
        ("min(3, 1, 2) + max(3, 1, 2)", 4.0),
        ("abs(0 - grid.power)", 100.0),
        ("round(2.345, 1) + round(2.6)", 5.3),
        ("clip(grid.power, 0, 60)", 60.0),
        ("clip(a.b, 0, 60)", 0.0),
        ("sqrt(16)", 4.0),
        ("mean(1, 2, 6)", 3.0),
        ("1 if grid.power > 50 else 2", 1.0),
        ("1 if not grid.power else 2", 2.0),
        ("'roof/pump-1.flow' * 2", 6.0),
        ('"grid.power" * 2', 200.0),
        ("  grid.power\n  + 1", 101.0),
        ("1.5e3", 1500.0),
    ],
)
def test_a_formula_is_computed_as_in_mathematics(text: str, expected: float) -> None:
    assert result(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("grid.power > 50 and tracer.pv_power > 50", False),
        ("grid.power > 50 or tracer.pv_power > 50", True),
        ("not night.sun", True),
        ("0 < tracer.pv_power <= 50", True),
        ("0 < tracer.pv_power < 50", False),
        ("grid.power == 100 != 5", True),
    ],
)
def test_comparisons_are_true_or_false(text: str, expected: bool) -> None:
    assert result(text) is expected


@pytest.mark.parametrize(
    "text",
    [
        "grid.power / night.sun",
        "0 / 0",
        "night.sun ** -1",
        "grid.voltage",
        "1 if grid.voltage else 2",
        "sqrt(a.b)",
        "a.b ** 0.5",
        "1e308 * 10",
        "min(1e308 * 10, 5)",
        "1e308 * 10 - 1e308 * 10",
        "9 ** 9 ** 9 ** 9",
        "10 ** 400",
        "mean(1e308, 1e308)",
        "max(1e200 * 1e200 - 1e200 * 1e200, 1)",
    ],
)
def test_a_formula_without_a_result_has_no_value(text: str) -> None:
    assert result(text) is None


def test_a_branch_that_is_not_taken_needs_no_values() -> None:
    assert result("grid.voltage if night.sun else 5") == 5


def test_the_names_of_a_formula_are_known() -> None:
    names = Formula("grid.power + 'roof/pump-1.flow' * grid.power if night.sun else 1").names
    assert names == {Name("", "grid", "power"), Name("roof", "pump-1", "flow"), Name("", "night", "sun")}
    assert {str(name) for name in names} == {"grid.power", "roof/pump-1.flow", "night.sun"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "the formula is empty"),
        ("grid.power ^ 2", "column 12: '^' is not known; a power is written **"),
        ("average(1, 2)", "column 1: average is not a function; there are min, max, abs"),
        ("1 + avg(1)", "column 5: avg is not a function"),
        ("max(1)", "column 1: max(1) should be max(a, b, …)"),
        ("clip(1, 2)", "should be clip(a, lowest, highest)"),
        ("round(1, a.b)", "column 10: a.b is not a number of decimals"),
        ("grid.power +", "column 12: something is missing at the end"),
        ("(1 + 2", "column 1: there are more ( than )"),
        ("1 + 2)", "column 6: there are more ) than ("),
        ("0,5 * grid.power", "write decimals after a point"),
        ("max(0,5) * 1,5", "write decimals after a point"),
        ("2 \N{MULTIPLICATION SIGN} 3", "write *"),
        ("2 \N{MINUS SIGN} 3", "write -"),
        ("50%", "a percentage is"),
        ("7 // 2", "write /, and round(…)"),
        ("@1 + @2", "IoTaWatt"),
        ("a.b = 1", "to compare, write =="),
        ("power", "column 1: power is not a name: that is device.channel"),
        ("pump-1.flow", "column 6: a name that begins with a digit needs quotes"),
        ("my-pump.flow", "column 1: my is not a name: that is device.channel; one with - needs quotes"),
        ("grid.in", "column 6: the name of this channel needs quotes"),
        ("grid.Power", "lower-case letters"),
        ("roof.grid.power", "column 1: roof.grid.power is not a name"),
        ("'grid'", "is not a name"),
        ("'Roof/grid.power'", "no node can be called 'Roof'"),
        ("grid.power grid.power", "column 12: 'grid.power' is not expected here"),
        ("grid.power is 1", "compare with"),
        ("grid.power()", "is not a function"),
        ("True", "write 1 for on"),
        ("1e400", "too large a number"),
        ("max(*a.b)", "only plain ones"),
        ("__import__('os')", "is not a function"),
        ("[1]", "write ("),
        ("f'{a}'", "is not known in formulas"),
        ("grid.power if 1", "column 1"),
        ("~ a.b", "column 1: '~' is not known"),
        ("-" * (DEEPEST + 50) + "1", "too many nested operators"),
        ("(" * 300 + "1" + ")" * 300, "column"),
        ("1" * (LONGEST + 1), "longer than"),
        ("'a.b\u00e9'", "is not a name"),
        ("1\0", "is not known"),
    ],
)
def test_a_mistake_is_reported_with_its_column_and_a_correction(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)) as error:
        Formula(text)
    assert "\n" not in str(error.value)


PIECES = st.sampled_from(
    [
        *"+-*/()<>,.^%@ 019eE'\"\\\n\0",
        *("**", "//", "==", "grid.power", "night.sun", "max", "min(", "round(", "clip(", " if ", " else ", " and "),
        *(" not ", "lambda", "1e308", "'a.b'", "9" * 50, ":=", "[", "{", "é", "for", "import"),
    ]
)


def refusal(text: str) -> str:
    try:
        value = Formula(text).evaluate(VALUES)
    except ValueError as error:
        return str(error)
    return "" if value is None or math.isfinite(value) else f"{text!r} gives {value}"


@given(st.lists(PIECES, max_size=40).map("".join))
def test_any_sequence_of_tokens_is_a_formula_or_a_mistake(text: str) -> None:
    message = refusal(text)
    assert "\n" not in message
    assert " gives " not in message


@given(st.text(max_size=60))
def test_any_text_is_a_formula_or_a_mistake(text: str) -> None:
    message = refusal(text)
    assert "\n" not in message
    assert " gives " not in message


EXPRESSIONS = st.recursive(
    st.sampled_from(["grid.power", "night.sun", "a.b", "2", "0.5", "1e300"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "**", "<", "and"]), inner).map(
            lambda t: f"({' '.join(t)})"
        ),
        inner.map(lambda one: f"abs({one})"),
        st.tuples(inner, inner).map(lambda two: f"max({two[0]}, {two[1]})"),
        st.tuples(inner, inner, inner).map(lambda three: "({} if {} else {})".format(*three)),
    ),
    max_leaves=25,
)


@given(EXPRESSIONS)
def test_every_formula_has_a_finite_result_or_none(text: str) -> None:
    if len(text) <= LONGEST:
        value = Formula(text).evaluate(VALUES)
        assert value is None or math.isfinite(value)


def test_the_deepest_formula_is_far_from_the_limits_of_the_machine() -> None:
    text = "1" + " + 1" * (DEEPEST - 1)
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(600)
    try:
        assert Formula(text).evaluate({}) == DEEPEST
    finally:
        sys.setrecursionlimit(before)
