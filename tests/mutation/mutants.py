"""The mutants of a module: copies of its source, each with one small fault. Pure.

Left alone are annotations, protocols, log lines, f-strings and what a `raise` says. First assignments to a name are not
removed: any test finds a NameError.
"""

import ast
import random
from collections.abc import Iterator, Sequence
from copy import deepcopy
from itertools import groupby
from typing import NamedTuple

LOGGERS = {"log", "logging", "_log"}
UNSWAPPED = {"isinstance", "issubclass", "getattr", "setattr", "hasattr", "cast", "range"}
MOST_OF_A_KIND = 5  # at most one in so many mutants of a sample is of the same kind, while there are others
LARGE = 1_000  # a larger number is halved and doubled: that it is one more hardly matters

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
}
OPPOSITES = {"min": "max", "max": "min", "any": "all", "all": "any"}
OPERATIONS = (ast.BinOp, ast.BoolOp, ast.UnaryOp, ast.Compare, ast.Attribute, ast.Subscript, ast.Starred)


class Mutant(NamedTuple):
    """One fault: the bytes of the source from `start` to `end` are replaced by `text`."""

    kind: str
    line: int
    start: int
    end: int
    text: bytes

    def applied(self, source: bytes) -> bytes:
        """Return the source with this fault."""
        return source[: self.start] + self.text + source[self.end :]


def find(source: bytes) -> list[Mutant]:
    """Return every mutant of a module that can be compiled and is not the module itself."""
    tree = ast.parse(source)
    same = ast.dump(tree)
    valid = []
    for mutant in dict.fromkeys(_Finder(source, tree).all()):
        try:
            other = ast.parse(mutant.applied(source))
            compile(other, "mutant", "exec")
        except SyntaxError:
            continue
        if ast.dump(other) != same:
            valid.append(mutant)
    return valid


def sample(mutants: Sequence[Mutant], count: int, seed: str) -> list[Mutant]:
    """Return so many of the mutants, or all if there are not as many, in the order of their lines."""
    drawn = list(mutants)
    random.Random(seed).shuffle(drawn)
    most = -(-count // MOST_OF_A_KIND)
    by_kind = {
        kind: list(of_kind)
        for kind, of_kind in groupby(sorted(drawn, key=lambda one: one.kind), key=lambda one: one.kind)
    }
    frequent = {one for of_kind in by_kind.values() for one in of_kind[most:]}
    drawn.sort(key=lambda one: one in frequent)
    return sorted(drawn[:count], key=lambda one: one.start)


class _Finder:
    def __init__(self, source: bytes, tree: ast.Module) -> None:
        self._tree = tree
        self._lines = [0]
        for line in source.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))
        self._parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}

    def all(self) -> Iterator[Mutant]:
        for node in self._walk(self._tree):
            for kind, text in (*_statements(node), *self._removed_assignment(node)):
                yield self._mutant(kind, node, text)
            for kind, other in _expressions(node):
                text = ast.unparse(other)
                if isinstance(self._parents.get(node), OPERATIONS) and isinstance(other, ast.BinOp | ast.BoolOp):
                    text = f"({text})"
                yield self._mutant(kind, node, text)
            for kind, part, other in _parts(node):
                yield self._mutant(kind, part, ast.unparse(other))

    def _mutant(self, kind: str, node: ast.AST, text: str) -> Mutant:
        assert isinstance(node, ast.expr | ast.stmt)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self._lines[node.lineno - 1] + node.col_offset
        end = self._lines[node.end_lineno - 1] + node.end_col_offset
        return Mutant(kind, node.lineno, start, end, text.encode())

    def _walk(self, node: ast.AST) -> Iterator[ast.AST]:
        yield node
        for child in _children(node):
            if not isinstance(child, ast.JoinedStr) and not _is_log_line(child):
                yield from self._walk(child)

    def _removed_assignment(self, node: ast.AST) -> Iterator[tuple[str, str]]:
        """Yield the removal of an assignment that gives a name, an attribute or an item another value."""
        if not isinstance(node, ast.Assign):
            return
        function: ast.AST | None = node
        while function is not None and not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            function = self._parents.get(function)
        if function is None:
            return
        names = [one for target in node.targets for one in ast.walk(target) if isinstance(one, ast.Name)]
        before = {argument.arg for argument in ast.walk(function.args) if isinstance(argument, ast.arg)} | {
            one.id
            for one in ast.walk(function)
            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store) and one.lineno < node.lineno
        }
        is_first = function.name == "__init__" or not before.issuperset(
            one.id for one in names if isinstance(one.ctx, ast.Store)
        )
        if not is_first:
            yield "statement", "pass"


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the parts of a node that have mutants."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        if node.name != "__repr__":
            yield from (default for default in (*node.args.defaults, *node.args.kw_defaults) if default)
            yield from node.body
    elif isinstance(node, ast.ClassDef):
        if not any("Protocol" in ast.unparse(base) for base in node.bases):
            yield from node.body
    elif isinstance(node, ast.AnnAssign):
        if node.value:
            yield node.value
    elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        return
    elif not isinstance(node, ast.Raise):
        yield from ast.iter_child_nodes(node)


def _is_log_line(node: ast.AST) -> bool:
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
        return False
    called: ast.AST = node.value.func
    while isinstance(called, ast.Attribute):
        if called.attr in LOGGERS:
            return True
        called = called.value
    return isinstance(called, ast.Name) and called.id in LOGGERS


def _statements(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield (kind, text) of what may stand in place of a statement."""
    match node:
        case ast.Expr(value=ast.Call() | ast.Await() | ast.Yield() | ast.YieldFrom()):
            yield "statement", "pass"
        case ast.AugAssign() | ast.Delete():
            yield "statement", "pass"
        case ast.Raise():
            yield "exception", "pass"
        case ast.Return(value=None):
            yield "return", "pass"
        case ast.Return(value=ast.Constant(value=None)):
            pass
        case ast.Return():
            yield "return", "return None"
        case ast.Break():
            yield "loop", "continue"
        case ast.Continue():
            yield "loop", "break"
            yield "loop", "pass"


def _expressions(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield (kind, node) of what may stand in place of an expression or an assignment."""
    match node:
        case ast.Compare():
            for at, operator in enumerate(node.ops):
                for other in COMPARISONS[type(operator)]:
                    yield "comparison", _changed(node, ops=[*node.ops[:at], other(), *node.ops[at + 1 :]])
        case ast.BoolOp(op=ast.And()):
            yield "and, or", _changed(node, op=ast.Or())
        case ast.BoolOp():
            yield "and, or", _changed(node, op=ast.And())
        case ast.BinOp(op=operator) | ast.AugAssign(op=operator) if type(operator) in ARITHMETIC:
            yield "arithmetic", _changed(node, op=ARITHMETIC[type(operator)]())
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert()):
            yield "dropped", node.operand
        case ast.Constant(value=bool(value)):
            yield "flag", ast.Constant(not value)
        case ast.Constant(value=int(value)):
            for number in (value * 2, value // 2) if value > LARGE else (value + 1, value - 1):
                yield "number", ast.Constant(number)
        case ast.Constant(value=float(value)):
            for factor in (2.0, 0.5) if value else ():
                yield "number", ast.Constant(value * factor)
            if not value:
                yield "number", ast.Constant(1.0)
        case ast.Call(func=ast.Name(id=name)) if name in OPPOSITES:
            yield "function", _changed(node, func=ast.Name(OPPOSITES[name]))
        case ast.Call(func=ast.Name(id="suppress")):
            yield "exception", _changed(node, args=[])
        case ast.Call(args=[first, second, *rest]):
            starred = isinstance(first, ast.Starred) or isinstance(second, ast.Starred)
            if not starred and not (isinstance(node.func, ast.Name) and node.func.id in UNSWAPPED):
                yield "arguments", _changed(node, args=[second, first, *rest])


def _parts(node: ast.AST) -> Iterator[tuple[str, ast.AST, ast.AST]]:
    """Yield (kind, part, what may stand in its place) of conditions, filters and handled exceptions."""
    match node:
        case ast.If(test=test) | ast.IfExp(test=test):
            if not isinstance(test, ast.Compare | ast.UnaryOp) or (isinstance(test, ast.Compare) and len(test.ops) > 1):
                yield "condition", test, ast.UnaryOp(ast.Not(), test)
        case ast.comprehension(ifs=filters):
            for one in filters:
                yield "condition", one, ast.Constant(value=True)
        case ast.ExceptHandler(type=ast.expr() as caught):
            yield "exception", caught, ast.Tuple([], ast.Load())
            if isinstance(caught, ast.Tuple):
                for at in range(len(caught.elts)):
                    yield "exception", caught, _changed(caught, elts=[*caught.elts[:at], *caught.elts[at + 1 :]])


def _changed(node: ast.AST, **fields: object) -> ast.AST:
    other = deepcopy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other
