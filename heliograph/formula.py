"""Formulas over channels: `max(grid.power, 0) + tracer.pv_power`, with the precedence of mathematics.

Python's own parser reads them. Only the nodes below are accepted, and each becomes a function, so a formula can access
nothing but its values, and its run time grows with its length only. Everything is computed in double precision.
"""

import ast
import keyword
import math
import operator
import re
import warnings
from collections.abc import Callable, Mapping
from typing import NamedTuple

from heliograph import topics

LONGEST = 2_000  # characters
DEEPEST = 100  # nested operators
MOST_DECIMALS = 12
MANY = 1_000  # arguments

Values = Mapping[str, float]
Step = Callable[[Values], float]

_TOKEN = re.compile(r"""("[^"]*"|'[^']*')|(==|[<>!]=|\*\*|//|[ a-z0-9_A-Z.+\-*/(),<>])|(.)""")
_QUOTED = re.compile(r"(?:([^/]*)/)?([^/.]*)\.([^/.]*)")
_DIGIT_FIRST = re.compile(r"(?<![\w.'\"])\d[\w.]*[a-z_]")
_UNFINISHED = re.compile(r"([-+*/,<>=(]|\b(and|or|not|if|else))\s*$")
_IN_QUOTES = "'my-device.channel'"
_HINTS = {
    "^": "a power is written **",
    "\N{MULTIPLICATION SIGN}": "write *",
    "\N{MIDDLE DOT}": "write *",
    "\N{DIVISION SIGN}": "write /",
    "\N{MINUS SIGN}": "write -",
    "=": "to compare, write ==",
    "&": "write and",
    "|": "write or, or abs(…)",
    "!": "write not, or !=",
    "%": "a percentage is * 100 or / 100",
    "//": "write /, and round(…) around it",
    "@": "for IoTaWatt's formulas there is python -m services.calculator.iotawatt",
    "#": "for IoTaWatt's formulas there is python -m services.calculator.iotawatt",
    "?": "write: a if condition else b",
    "[": "write (",
    "{": "write (",
}


class Function(NamedTuple):
    """One function: how it is written, how many arguments it takes, and what it computes."""

    use: str
    least: int
    most: int
    compute: Callable[..., float]


def _clip(value: float, low: float, high: float) -> float:
    return max(low, min(high, value))


def _round(value: float, decimals: float = 0.0) -> float:
    return float(round(value, int(decimals)))


def finite(value: float) -> float:
    """Return a finite number as it is; raise OverflowError for another."""
    if math.isfinite(value):
        return value
    raise OverflowError


FUNCTIONS = {
    "min": Function("min(a, b, …)", 2, MANY, min),
    "max": Function("max(a, b, …)", 2, MANY, max),
    "abs": Function("abs(a)", 1, 1, abs),
    "round": Function("round(a) or round(a, decimals)", 1, 2, _round),
    "clip": Function("clip(a, lowest, highest)", 3, 3, _clip),
    "sqrt": Function("sqrt(a)", 1, 1, math.sqrt),
    "mean": Function("mean(a, b, …)", 1, MANY, lambda *values: math.fsum(values) / len(values)),
}


class Name(NamedTuple):
    """A channel that a formula uses: of a device of its own node, or of `node`."""

    node: str
    device: str
    channel: str

    def __str__(self) -> str:
        """Return the key of its value: `device.channel` or `node/device.channel`."""
        return f"{self.node}/{self.device}.{self.channel}" if self.node else f"{self.device}.{self.channel}"


class Formula:
    """A formula: parsed once, evaluated often."""

    def __init__(self, text: str) -> None:
        """Parse a formula; raise ValueError, whose one line names the column and what would be right."""
        self.text = text
        self.names: set[Name] = set()
        self._step = _Parser(text, self.names).step()

    def evaluate(self, values: Values) -> float | None:
        """Return the result, None if there is no result: a value is missing, a division by zero, too large a number.

        `values` are finite, by `str(Name)`. Of `a if condition else b` only the branch that is taken needs its values.
        """
        try:
            return self._step(values)
        except (KeyError, ArithmeticError, ValueError):
            return None


class _Parser:
    """Turns one formula into a function."""

    def __init__(self, text: str, names: set[Name]) -> None:
        self._text = re.sub(r"\s", " ", text)
        self._shift = len(self._text) - len(self._text.lstrip())
        self._names = names

    def step(self) -> Step:
        """Return the function that computes the formula."""
        if not self._text.strip():
            raise ValueError("the formula is empty")
        if len(self._text) > LONGEST:
            raise ValueError(f"the formula is longer than {LONGEST} characters")
        for match in _TOKEN.finditer(self._text):
            quoted, plain, stray = match.groups()
            character = stray or (plain if plain == "//" else "")
            if character:
                raise self._wrong(match.start(), f"{character!r} is not known; {_HINTS.get(character, _KNOWN)}")
            if quoted and not quoted.isascii():
                raise self._wrong(match.start(), f"{quoted} is not a name")
        return self._take(self._parsed(), 0)

    def _parsed(self) -> ast.expr:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                return ast.parse(self._text.strip(), mode="eval").body
        except (RecursionError, MemoryError):
            raise ValueError("too many nested operators") from None
        except SyntaxError as error:
            at = self._shift + max(0, (error.offset or 1) - 1)
        except ValueError:
            raise ValueError("a number with too many digits") from None
        raise self._wrong(*self._misread(at))

    def _misread(self, at: int) -> tuple[int, str]:
        """Return where and why Python could not parse the formula; Python noticed it at position `at`."""
        word = re.match(r"\w*", self._text[at:])
        if match := _DIGIT_FIRST.search(self._text):
            return match.start(), f"a name that begins with a digit needs quotes, as {_IN_QUOTES}"
        if match := _UNFINISHED.search(self._text):
            return match.end() - 1, "something is missing at the end"
        if word and keyword.iskeyword(word[0]) and self._text[:at].endswith("."):
            return at, f"the name of this channel needs quotes, as {_IN_QUOTES}"
        if self._text.count("(") > self._text.count(")"):
            return self._text.rindex("("), "there are more ( than )"
        if self._text.count("(") < self._text.count(")"):
            return self._text.rindex(")"), "there are more ) than ("
        return at, f"{self._text[at : at + 20].strip()!r} is not expected here; {_KNOWN}"

    def _take(self, node: ast.expr, depth: int) -> Step:
        """Return the function that computes one node of the tree; raise ValueError for a node that formulas do not have."""
        if depth > DEEPEST:
            raise ValueError("too many nested operators")
        taker = _TAKERS.get(type(node))
        if isinstance(node, ast.Tuple):
            raise self._wrong_node(node, "holds a comma; write decimals after a point")
        if taker is None:
            raise self._wrong_node(node, "is not known in formulas")
        return taker(self, node, depth + 1)

    def constant(self, node: ast.Constant, _depth: int) -> Step:
        if isinstance(node.value, str):
            return self._quoted(node)
        if not isinstance(node.value, int | float) or isinstance(node.value, bool):
            raise self._wrong_node(node, "is not a number; write 1 for on and 0 for off")
        try:
            value = finite(float(node.value))
        except OverflowError:
            raise self._wrong_node(node, "is too large a number") from None
        return lambda _: value

    def attribute(self, node: ast.Attribute, _depth: int) -> Step:
        if not isinstance(node.value, ast.Name):
            raise self._wrong_node(node, "is not a name: that is device.channel, or 'node/device.channel' in quotes")
        return self._named(node, "", node.value.id, node.attr)

    def name(self, node: ast.Name, _depth: int) -> Step:
        raise self._wrong_node(
            node, "is not a name: that is device.channel; one with - needs quotes: 'my-device.channel'"
        )

    def unary(self, node: ast.UnaryOp, depth: int) -> Step:
        inner = self._take(node.operand, depth)
        match node.op:
            case ast.USub():
                return lambda values: -inner(values)
            case ast.Not():
                return lambda values: not inner(values)
            case ast.UAdd():
                return inner
        raise self._wrong_node(node, "is not known in formulas")

    def binary(self, node: ast.BinOp, depth: int) -> Step:
        compute = _BINARY.get(type(node.op))
        if compute is None:
            raise self._wrong_node(node, "is not known in formulas")
        left, right = self._take(node.left, depth), self._take(node.right, depth)
        return lambda values: finite(compute(left(values), right(values)))

    def comparison(self, node: ast.Compare, depth: int) -> Step:
        if not all(type(one) in _COMPARISONS for one in node.ops):
            raise self._wrong_node(node, "is not known in formulas; compare with < <= == != >= >")
        compares = [_COMPARISONS[type(one)] for one in node.ops]
        steps = [self._take(one, depth) for one in (node.left, *node.comparators)]

        def compare(values: Values) -> bool:
            sides = [step(values) for step in steps]
            return all(one(left, right) for one, left, right in zip(compares, sides, sides[1:], strict=False))

        return compare

    def logic(self, node: ast.BoolOp, depth: int) -> Step:
        steps = [self._take(one, depth) for one in node.values]
        decide = all if isinstance(node.op, ast.And) else any
        return lambda values: decide(step(values) for step in steps)

    def choice(self, node: ast.IfExp, depth: int) -> Step:
        condition, yes, no = (self._take(one, depth) for one in (node.test, node.body, node.orelse))
        return lambda values: yes(values) if condition(values) else no(values)

    def call(self, node: ast.Call, depth: int) -> Step:
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
            raise self._wrong_node(node.func, f"is not a function; there are {', '.join(FUNCTIONS)}")
        if node.keywords or any(isinstance(one, ast.Starred) for one in node.args):
            raise self._wrong_node(node, "has arguments with names or stars; only plain ones are known")
        function = FUNCTIONS[node.func.id]
        if not function.least <= len(node.args) <= function.most:
            raise self._wrong_node(node, f"should be {function.use}")
        if node.func.id == "round" and len(node.args) == 2:
            self._check_decimals(node.args[1])
        steps = [self._take(one, depth) for one in node.args]
        compute = function.compute
        return lambda values: finite(compute(*[step(values) for step in steps]))

    def _check_decimals(self, node: ast.expr) -> None:
        if not (isinstance(node, ast.Constant) and type(node.value) is int and node.value <= MOST_DECIMALS):
            raise self._wrong_node(node, f"is not a number of decimals: 0 to {MOST_DECIMALS}")

    def _quoted(self, node: ast.Constant) -> Step:
        if not (match := _QUOTED.fullmatch(str(node.value))):
            raise self._wrong_node(node, "is not a name: that is 'device.channel' or 'node/device.channel'")
        if match[1] is not None and not topics.is_name(match[1]):
            raise self._wrong_node(node, f"is not a name: no node can be called {match[1]!r}")
        return self._named(node, match[1] or "", match[2], match[3])

    def _named(self, node: ast.expr, of: str, device: str, channel: str) -> Step:
        if not topics.is_name(device) or not topics.is_channel(channel):
            raise self._wrong_node(
                node, "is not a name: device and channel consist of lower-case letters, digits and _"
            )
        name = Name(of, device, channel)
        self._names.add(name)
        return operator.itemgetter(str(name))

    def _wrong_node(self, node: ast.expr, why: str) -> ValueError:
        end = node.end_col_offset or node.col_offset
        text = self._text[self._shift :][node.col_offset : end]
        return self._wrong(self._shift + node.col_offset, f"{text[:40]} {why}")

    def _wrong(self, at: int, why: str) -> ValueError:
        return ValueError(f"column {at + 1}: {why}")


_KNOWN = "there are + - * / ** ( ), comparisons, and or not, a if b else c, " + ", ".join(FUNCTIONS)
_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: math.pow,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_TAKERS: dict[type[ast.expr], Callable[..., Step]] = {
    ast.Constant: _Parser.constant,
    ast.Attribute: _Parser.attribute,
    ast.Name: _Parser.name,
    ast.UnaryOp: _Parser.unary,
    ast.BinOp: _Parser.binary,
    ast.Compare: _Parser.comparison,
    ast.BoolOp: _Parser.logic,
    ast.IfExp: _Parser.choice,
    ast.Call: _Parser.call,
}
