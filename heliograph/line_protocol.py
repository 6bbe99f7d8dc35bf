r"""InfluxDB's line protocol, written and read: what is written here is read here again, and is equal.

    measurement,tag=value field=1.5,other=2i,text="a \"b\"",on=t 1556813561098000000

In names and tag values a backslash escapes comma, equals sign and space (in a measurement only comma and space), in
strings the quote and the backslash; before anything else it is an ordinary character. Numbers are floats, with `i`
integers, with `u` unsigned ones. A string may hold line feeds, and so continue in the next line; a name cannot.
Source: InfluxDB, "Line protocol reference".
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from heliograph.messages import Value

# Groups are atomic, not possessive: before Python 3.11.5 a possessive group matches wrongly (CPython issue 106052), and
# Debian 12 has 3.11.2.
_NAME = r"(?=[^,= \n])(?>[^,= \n\\]*(?:\\[,= ]?[^,= \n\\]*)*)"
_STRING = r'(?>[^"\\]*(?:\\.[^"\\]*)*)"'
_MEASUREMENT = re.compile(r"(?=[^, \n])(?>[^, \n\\]*(?:\\[, ]?[^, \n\\]*)*)")
_TAG = re.compile(rf",({_NAME})=({_NAME})")
_SPACE = re.compile(r" ++")
_FIELD = re.compile(rf'({_NAME})=("{_STRING}|[^," \n]++|(?="))', re.DOTALL)
_TIME = re.compile(r" ++(-?\d{1,20})")
_FLOAT = re.compile(r"[+-]?(?:\d++\.?\d*+|\.\d++)(?:[eE][+-]?\d++)?")
_INTEGER = re.compile(r"([+-]?\d{1,20})i|(\d{1,20})u")
_BOOLEANS = {
    **dict.fromkeys(("t", "T", "true", "True", "TRUE"), True),
    **dict.fromkeys(("f", "F", "false", "False", "FALSE"), False),
}
_ESCAPED_IN_MEASUREMENT = re.compile(r"\\([, ])")
_ESCAPED_IN_NAME = re.compile(r"\\([,= ])")
_ESCAPED_IN_STRING = re.compile(r'\\(["\\])')
_SIGNED, _UNSIGNED = range(-(1 << 63), 1 << 63), range(1 << 64)
_STRING_END = re.compile(_STRING, re.DOTALL)
_STRING_START = re.compile(r'(?>[^=\\]*(?:(?:\\[,= ]?|=(?!"))[^=\\]*)*)="')

_NAME_ESCAPES = str.maketrans({",": r"\,", "=": r"\=", " ": r"\ ", "\n": r"\ ", "\r": r"\ "})
_MEASUREMENT_ESCAPES = str.maketrans({",": r"\,", " ": r"\ ", "\n": r"\ ", "\r": r"\ "})


class LineError(ValueError):
    """A line that is not line protocol; the message names the error, without the line."""


class UnfinishedLine(LineError):
    """The line ends within a string, which may continue in the next line."""


class LinePoint(NamedTuple):
    """One line: measurement, tags, fields, and the time in the unit of the file; None if it has none."""

    measurement: str
    tags: dict[str, str]
    fields: dict[str, Value]
    time: int | None


def parse(line: str) -> LinePoint | None:
    """Return the point of a line, None for an empty line or a comment; raise LineError for anything else.

    Raises UnfinishedLine for a line that may continue; `is_unfinished` finds the last line that belongs to it.
    """
    line = line.strip(" \r\n")
    if not line or line[0] == "#":
        return None
    measurement = _MEASUREMENT.match(line)
    if not measurement:
        raise LineError("a line without a measurement")
    tags: dict[str, str] = {}
    position, written = measurement.end(), 0
    while tag := _TAG.match(line, position):
        tags[_ESCAPED_IN_NAME.sub(r"\1", tag[1])] = _ESCAPED_IN_NAME.sub(r"\1", tag[2])
        position, written = tag.end(), written + 1
    space = _SPACE.match(line, position)
    if not space:
        raise LineError(
            "tags that are not key=value" if line[position : position + 1] == "," else "a line without fields"
        )
    fields: dict[str, Value] = {}
    position = space.end()
    while True:
        field = _FIELD.match(line, position)
        if not field:
            raise LineError("fields that are not key=value")
        if not field[2]:
            raise UnfinishedLine("a string that does not end")
        fields[_ESCAPED_IN_NAME.sub(r"\1", field[1])] = _value(field[2])
        position, written = field.end(), written + 1
        if line[position : position + 1] != ",":
            break
        position += 1
    time = _TIME.match(line, position)
    if time:
        position = time.end()
    if position < len(line):
        raise LineError("more than a time after the fields")
    if written != len(tags) + len(fields):
        raise LineError("a tag or field that comes twice")
    return LinePoint(_ESCAPED_IN_MEASUREMENT.sub(r"\1", measurement[0]), tags, fields, int(time[1]) if time else None)


def is_unfinished(line: str) -> bool:
    """Whether a point, of which a string was open before this line, continues after it too."""
    position = 0
    while end := _STRING_END.match(line, position):
        start = _STRING_START.match(line, end.end())
        if not start:
            return False
        position = start.end()
    return True


def _value(text: str) -> Value:
    if text[0] == '"':
        return _ESCAPED_IN_STRING.sub(r"\1", text[1:-1])
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _FLOAT.fullmatch(text):
        return float(text)
    if match := _INTEGER.fullmatch(text):
        number = int(match[1] or match[2])
        if number in (_SIGNED if match[1] else _UNSIGNED):
            return number
    raise LineError("a field that is not a number, boolean or string")


def line(measurement: str, tags: Mapping[str, str], fields: Mapping[str, Value], time: int) -> str:
    """Return a line, without its end."""
    values = ",".join(f"{name(key)}={field(value)}" for key, value in fields.items())
    return f"{head(measurement, tags)} {values} {time}"


def head(measurement: str, tags: Mapping[str, str]) -> str:
    """Return what a line begins with: measurement and tags, up to the space before the fields."""
    return _escaped(measurement, _MEASUREMENT_ESCAPES) + "".join(
        f",{name(key)}={name(value)}" for key, value in tags.items()
    )


def name(text: str) -> str:
    r"""Return a tag or field key, or a tag's value, as a line has it.

    The protocol has no line feed in a name, and none that ends with a backslash: they become a space and `\_`.
    """
    return _escaped(text, _NAME_ESCAPES)


def _escaped(text: str, escapes: dict[int, str]) -> str:
    return text.translate(escapes) + ("_" if text.endswith("\\") else "")


def field(value: Value) -> str:
    """Return a field's value. Numbers are always floats, so that a field keeps its type."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return string(value) if isinstance(value, str) else number(value)


def number(value: float) -> str:
    """Return a number as a float with all its digits."""
    return repr(float(value))


def string(text: str) -> str:
    """Return a text as a string in quotes; its line feeds stay as they are."""
    return '"' + text.replace("\\", r"\\").replace('"', r"\"") + '"'
