r"""InfluxDB's line protocol: read, and written.

    measurement,tag=value field=1.5,other=2i,text="a \"b\"",on=t 1556813561098000000

In names and tag values a backslash escapes comma, equals sign and space (in a measurement only comma and space),
in strings the quote and the backslash; before anything else it is an ordinary character. Numbers are floats, with
`i` integers, with `u` unsigned ones. Source: InfluxDB, "Line protocol reference". A string that goes on in the
next line is not understood.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from heliograph.messages import Value

MEASUREMENT = re.compile(r"(?:\\[, ]|[^, ])++")
TAG = re.compile(r",((?:\\[,= ]|[^,= ])++)=((?:\\[,= ]|[^,= ])++)")
SPACE = re.compile(r" ++")
FIELD = re.compile(r'((?:\\[,= ]|[^,= ])++)=("(?:\\.|[^"\\])*+"|[^," ]++)')
TIME = re.compile(r" ++(-?\d{1,20})")
FLOAT = re.compile(r"[+-]?(?:\d++\.?\d*+|\.\d++)(?:[eE][+-]?\d++)?")
INTEGER = re.compile(r"([+-]?\d{1,20})i|(\d{1,20})u")
BOOLEANS = {
    **dict.fromkeys(("t", "T", "true", "True", "TRUE"), True),
    **dict.fromkeys(("f", "F", "false", "False", "FALSE"), False),
}
ESCAPED_IN_MEASUREMENT = re.compile(r"\\([, ])")
ESCAPED_IN_NAME = re.compile(r"\\([,= ])")
ESCAPED_IN_STRING = re.compile(r'\\(["\\])')
SIGNED, UNSIGNED = range(-(1 << 63), 1 << 63), range(1 << 64)


class LineError(ValueError):
    """This is no line protocol; the message says what is wrong, without the line."""


class Point(NamedTuple):
    """One line: measurement, tags, fields, and the time in the unit of the file; None if there is none."""

    measurement: str
    tags: dict[str, str]
    fields: dict[str, Value]
    time: int | None


def parse(line: str) -> Point | None:
    """Read one line; None for one that is empty or a comment. Raises LineError, saying what is wrong, for anything else."""
    line = line.strip(" \r\n")
    if not line or line[0] == "#":
        return None
    found = MEASUREMENT.match(line)
    if not found:
        raise LineError("a line without a measurement")
    tags: dict[str, str] = {}
    at = found.end()
    while tag := TAG.match(line, at):
        tags[ESCAPED_IN_NAME.sub(r"\1", tag[1])] = ESCAPED_IN_NAME.sub(r"\1", tag[2])
        at = tag.end()
    space = SPACE.match(line, at)
    if not space:
        raise LineError("tags that are not key=value" if line[at : at + 1] == "," else "a line without fields")
    fields: dict[str, Value] = {}
    at = space.end()
    while True:
        field = FIELD.match(line, at)
        if not field:
            raise LineError("fields that are not key=value")
        fields[ESCAPED_IN_NAME.sub(r"\1", field[1])] = _value(field[2])
        at = field.end()
        if line[at : at + 1] != ",":
            break
        at += 1
    time = TIME.match(line, at)
    if time:
        at = time.end()
    if at < len(line):
        raise LineError("more behind the fields than a time")
    measurement = ESCAPED_IN_MEASUREMENT.sub(r"\1", found[0])
    return Point(measurement, tags, fields, int(time[1]) if time else None)


def _value(text: str) -> Value:
    if text[0] == '"':
        return ESCAPED_IN_STRING.sub(r"\1", text[1:-1])
    if text in BOOLEANS:
        return BOOLEANS[text]
    if FLOAT.fullmatch(text):
        return float(text)
    if match := INTEGER.fullmatch(text):
        number = int(match[1] or match[2])
        if number in (SIGNED if match[1] else UNSIGNED):
            return number
    raise LineError("a field that is no number, boolean or string")


def name(text: str) -> str:
    """Return a tag or field key, or a tag's value, as it stands in a line."""
    return re.sub(r"([,= ])", r"\\\1", text)


def written(measurement: str, tags: Mapping[str, str], fields: Mapping[str, Value], time: int) -> str:
    """Return a line, without its end."""
    head = re.sub(r"([, ])", r"\\\1", measurement)
    head += "".join(f",{name(key)}={name(value)}" for key, value in tags.items())
    return f"{head} {','.join(f'{name(key)}={_written(value)}' for key, value in fields.items())} {time}"


def _written(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + re.sub(r'(["\\])', r"\\\1", value.replace("\r", " ").replace("\n", " ")) + '"'
    return repr(float(value))
