"""What to write in place of what is not TOML: the mistakes of those who see such a file for the first time."""

import re
from collections.abc import Iterator

_POSITION = re.compile(r"at line (\d+), column (\d+)")
_TWICE = re.compile(r"Cannot declare \((.*)\) twice")
_PART = re.compile(r"'([^']*)'")
_DOTTED = re.compile(r"\s*\[*\s*([\w.-]+)")
_TYPOGRAPHIC = re.compile("[\u2018-\u201f\u00ab\u00bb]")
_WORD = re.compile(r"\s*(true|yes|on|false|no|off)\s*(?:#.*)?$", re.IGNORECASE)
_TRUE = ("true", "yes", "on")
_BARE_TEXT = re.compile(r"[A-Za-z/~][^\s,\]}]*")
_COMMENT = re.compile(r"\s*(;|//|--)")
_LEADING_ZERO = re.compile(r"=\s*[+-]?0\d")
_COLON = re.compile(r"\s*-?\s*[\w.\"-]+\s*:")
_DECIMAL_COMMA = re.compile(r"\d,\d")


def hint(text: str, message: str) -> str:
    """Return what to write in place of the mistake of which tomllib's message tells, after "; ", or "".

    Nothing of the file is repeated: it may be a password.
    """
    position = _POSITION.search(message)
    lines = text.splitlines()
    number, column = (int(position[1]), int(position[2])) if position else (len(lines), 1)
    line = lines[number - 1] if 0 < number <= len(lines) else ""
    return next((f"; {advice}" for advice in _hints(lines, line, line[column - 1 :], message)), "")


def _hints(lines: list[str], line: str, rest: str, message: str) -> Iterator[str]:
    if lines and lines[0].startswith(("{", "---")):
        yield "a configuration is TOML, not JSON or YAML: `heliograph sample` prints one"
    if match := _TWICE.search(message):
        yield _joined(lines, _PART.findall(match[1]))
    if "Cannot overwrite" in message or "Cannot mutate" in message:
        yield "it is there twice: leave one of them out"
    if _TYPOGRAPHIC.search(line.partition("#")[0]):
        yield 'write straight quotes: "…"'
    if line.startswith(("<<<<<<<", "=======", ">>>>>>>")):
        yield "git has left its marks of a conflict: choose one side"
    if _COMMENT.match(line):
        yield "a comment begins with #"
    if _COLON.match(line) and ("Expected '='" in message or "Invalid statement" in message):
        yield "write NAME = VALUE, with = in place of :"
    if "Illegal character" in message or "Unterminated string" in message:
        yield "the quote at the end of a text is missing"
    if "hex value" in message or "Unescaped" in message:
        yield r"write \\ for \, or the text between single quotes"
    if _LEADING_ZERO.search(line):
        yield "a number does not begin with 0"
    if "Expected '='" in message:
        yield "write NAME = VALUE, one on each line"
    if match := _WORD.match(rest):
        yield f"write {'true' if match[1].lower() in _TRUE else 'false'}, in lower case"
    if "Invalid value" in message and _BARE_TEXT.match(rest):
        yield 'a text needs quotes: "…"'
    yield from _after_a_value(line, rest, message)


def _after_a_value(line: str, rest: str, message: str) -> Iterator[str]:
    before = line[: len(line) - len(rest)]
    if before[-1:].isdigit() and re.match(r",\d", rest):
        yield "write a decimal point, not a comma"
    if "Expected newline" in message and rest.startswith((",", ";")):
        yield "nothing stands at the end of a line: leave it out"
    if "Expected newline" in message and re.search(r"\d\s*$", before) and rest[:1].isalpha():
        yield "a number has no unit: leave it out"
    if "inline table" in message:
        yield "} is missing, or a comma between two options"
    if "Unclosed array" in message:
        yield "] is missing, or a comma between two values"
    if "table declaration" in message:
        yield "] is missing"


def _joined(lines: list[str], parts: list[str]) -> str:
    """Return what to do about a section that is there twice, and where it is for the first time."""
    name = ".".join(parts)
    first = next((at for at, line in enumerate(lines, 1) if _is_below(line, name)), 0)
    where = f" in line {first}" if first else ""
    if len(parts) > 1:
        return f"[{name}] is there{where}: put the options together, or, where it is a list, write [[{name}]] for each"
    return f"{name} is there{where}: put all its options below one [{name}]"


def _is_below(line: str, name: str) -> bool:
    match = _DOTTED.match(line)
    return match is not None and f"{match[1]}.".startswith(f"{name}.")
