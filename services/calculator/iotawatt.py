"""Translate an IoTaWatt output into a formula: python -m services.calculator.iotawatt '@1+@2*#0.5' 1=grid.power 2=solar.power.

IoTaWatt computes strictly from left to right, `@1+@2*#0.5` is (@1+@2)*0.5, so the formula has a parenthesis around every step.
`<` is the minimum of two, `>` the maximum, `|` after an operand its absolute value; a missing operand is 0, after * and
/ it is 1 (IotaScript.cpp, Script::runRecursive). One difference is intended: dividing by zero gives no value instead of 0.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Mapping

from heliograph.formula import Formula

_TOKEN = re.compile(r"\s*(?:@(\d+)|#(\d+\.?\d*|\.\d+)|([-+*/<>|()]))")
_CALLS = {"<": "min", ">": "max"}


def translate(script: str, inputs: Mapping[int, str]) -> str:
    """Return the formula that computes the same as a script, with these channels as inputs; raise ValueError if there is none."""
    tokens = _tokens(script.strip(), inputs)
    formula = _sequence(tokens, ends_with="")
    formula = formula[1:-1] if formula.startswith("(") else formula
    Formula(formula)
    return formula


def _tokens(script: str, inputs: Mapping[int, str]) -> Iterator[str]:
    at = 0
    while at < len(script):
        match = _TOKEN.match(script, at)
        if match is None:
            what = {"!": "integrators", "~": "the simulated sun"}.get(script[at], f"{script[at]!r}")
            raise ValueError(f"column {at + 1}: {what} cannot be translated; known are @1 #2.5 + - * / < > | ( )")
        number, constant, sign = match.groups()
        if number is not None and int(number) not in inputs:
            raise ValueError(f"column {at + 1}: which channel is @{number}? Add {number}=device.channel")
        yield inputs[int(number)] if number is not None else sign or str(float(constant))
        at = match.end()


def _sequence(tokens: Iterator[str], ends_with: str) -> str:
    """Return the formula of a script up to its end, or to the end of its parenthesis."""
    result, pending, operand = "", "+", ""
    for token in tokens:
        if token == "(":
            operand = _sequence(tokens, ")")
        elif token == ")":
            if not ends_with:
                raise ValueError("there is a ) without its (")
            return _combined(result, pending, operand)
        elif token == "|":
            operand = f"abs({operand or 0})"
        elif token in tuple("+-*/<>"):
            result, pending, operand = _combined(result, pending, operand), token, ""
        elif operand:
            raise ValueError(f"an operator is missing between {operand} and {token}")
        else:
            operand = token
    if ends_with:
        raise ValueError("there is a ( without its )")
    return _combined(result, pending, operand)


def _combined(result: str, sign: str, operand: str) -> str:
    operand = operand or ("1" if sign in ("*", "/") else "0")
    if not result:
        return operand
    return f"{_CALLS[sign]}({result}, {operand})" if sign in _CALLS else f"({result} {sign} {operand})"


def main() -> None:
    """Print the formula of the script in the arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m services.calculator.iotawatt", description="Translate an IoTaWatt script into a formula."
    )
    parser.add_argument("script", help="for example '@1+@2*#0.5'")
    parser.add_argument("inputs", nargs="*", metavar="N=DEVICE.CHANNEL", help="the channel of an input")
    arguments = parser.parse_args()
    try:
        inputs = {int(number): name for number, _, name in (one.partition("=") for one in arguments.inputs)}
        sys.stdout.write(f"{translate(arguments.script, inputs)}\n")
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
