import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.formula import Formula
from services.calculator.iotawatt import translate

INPUTS = {0: "a.v", 1: "a.x", 2: "a.y", 13: "'my-plug.power'"}
VALUES = {"a.v": 230.0, "a.x": 300.0, "a.y": -100.0, "my-plug.power": 7.0}


@pytest.mark.parametrize(
    ("script", "formula", "value"),
    [
        ("@1", "a.x", 300),
        ("@1+@2*#0.5", "(a.x + a.y) * 0.5", 100),
        ("@1-@2-@13", "(a.x - a.y) - 'my-plug.power'", 393),
        ("@1+(@2*#.5)", "a.x + (a.y * 0.5)", 250),
        ("@1>@2<#0", "min(max(a.x, a.y), 0.0)", 0),
        ("@2|+@1", "abs(a.y) + a.x", 400),
        ("(@2-@1)|", "abs((a.y - a.x))", 400),
        ("-@2", "0 - a.y", 100),
        ("@1*", "a.x * 1", 300),
        ("(@1+@2)*(@1-@2)", "(a.x + a.y) * (a.x - a.y)", 80_000),
        (" @1 / #2 ", "a.x / 2.0", 150),
    ],
)
def test_a_script_becomes_a_formula_that_computes_from_left_to_right(script: str, formula: str, value: float) -> None:
    assert translate(script, INPUTS) == formula
    assert Formula(formula).evaluate(VALUES) == value


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("@5", "column 1: which channel is @5"),
        ("@1+!energy", "column 4: integrators cannot be translated"),
        ("~0", "the simulated sun"),
        ("@1+(@2", "without its \\)"),
        ("@1)", "without its \\("),
        ("@1@2", "an operator is missing"),
        ("@1^2", "column 3"),
    ],
)
def test_what_cannot_be_translated_is_refused_with_its_column(script: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        translate(script, INPUTS)


@given(st.lists(st.sampled_from([*"@12#.+-*/<>|()! ~", "@1", "@2", "#2.5"]), max_size=30).map("".join))
def test_any_script_is_translated_or_refused(script: str) -> None:
    try:
        formula = translate(script, INPUTS)
    except ValueError:
        return
    Formula(formula)


@given(st.lists(st.tuples(st.sampled_from("+-*<>"), st.integers(0, 9)), max_size=12))
def test_a_chain_is_computed_as_iotawatt_does(steps: list[tuple[str, int]]) -> None:
    result = 300.0
    for sign, number in steps:
        result = {
            "+": result + number,
            "-": result - number,
            "*": result * number,
            "<": min(result, number),
            ">": max(result, number),
        }[sign]
    script = "@1" + "".join(f"{sign}#{number}" for sign, number in steps)
    assert Formula(translate(script, INPUTS)).evaluate(VALUES) == result
