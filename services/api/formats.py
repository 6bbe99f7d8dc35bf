"""The files of /export, a few rows at a time: CSV (RFC 4180), JSON lines, and InfluxDB's line protocol.

A row is a time and one value for each column, None where there is none. A column is a
series, or with buckets one function of it.
"""

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple, get_args

import msgspec

from heliograph.messages import Value
from heliograph.store.interface import Series

Name = Literal["csv", "jsonl", "line"]
NAMES: tuple[Name, ...] = get_args(Name)
Row = tuple[float, Sequence[Value | None]]

# What makes a spreadsheet take a text for a formula (OWASP, "CSV Injection"), and the mark itself.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20", "'")


class Column(NamedTuple):
    """One column: a series, with buckets one function of it."""

    series: Series
    function: str = ""


class Format(ABC):
    """How rows of these columns are written."""

    suffix: str
    media_type: str

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = columns

    def head(self) -> bytes:
        """Return what comes before the first row."""
        return b""

    @abstractmethod
    def rows(self, rows: Iterable[Row]) -> bytes:
        """Return these rows as a part of the file."""


class Csv(Format):
    """A line for each time, a column for each series; lines end with CR LF."""

    suffix = "csv"
    media_type = "text/csv; charset=utf-8; header=present"

    def head(self) -> bytes:
        """Return the line of names: `time`, then series, with buckets `series.function`."""
        names = [f"{one.series.name}.{one.function}" if one.function else one.series.name for one in self.columns]
        return _lines([["time", *names]])

    def rows(self, rows: Iterable[Row]) -> bytes:
        """Return a line for each row; what is missing is empty."""
        return _lines(
            [_iso(time), *[value if value.__class__ is float else _cell(value) for value in values]]
            for time, values in rows
        )


def _lines(lines: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(lines)
    return text.getvalue().encode("utf-8", "replace")


def _iso(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _cell(value: Value | None) -> object:
    """Return what the csv module writes; no text is a formula to a spreadsheet."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


class JsonLines(Format):
    """A line for each value: time, series, value; with buckets for each bucket and series: time, series, functions."""

    suffix = "jsonl"
    media_type = "application/jsonl"

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__(columns)
        self._encoder = msgspec.json.Encoder()
        self._places: dict[str, list[tuple[str, int]]] = {}
        for place, column in enumerate(columns):
            self._places.setdefault(column.series.name, []).append((column.function or "value", place))

    def rows(self, rows: Iterable[Row]) -> bytes:
        """Return a line for each value there is; for a bucket without readings null."""
        lines: list[dict[str, Value | None]] = []
        for time, values in rows:
            for name, places in self._places.items():
                found = {key: values[place] for key, place in places}
                if "value" not in found or found["value"] is not None:
                    lines.append({"time": time, "series": name, **found})
        return self._encoder.encode_lines(lines)


class LineProtocol(Format):
    """A line for each device and time: measurement = device, tag `node`, fields = channels, nanoseconds.

    With buckets a field is `channel_function`. Numbers are always floats, so that a field keeps its type.
    """

    suffix = "lp"
    media_type = "text/plain; charset=utf-8"

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__(columns)
        self._places: dict[str, list[tuple[str, int]]] = {}
        for place, (series, function) in enumerate(columns):
            start = f"{_escaped(series.device, ', ')},node={_escaped(series.node, ',= ')} "
            field = f"{series.channel}_{function}" if function else series.channel
            self._places.setdefault(start, []).append((f"{_escaped(field, ',= ')}=", place))

    def rows(self, rows: Iterable[Row]) -> bytes:
        """Return a line for each device that has something to say."""
        lines = []
        for time, values in rows:
            stamp = f" {round(time * 1000) * 1_000_000}\n"
            for start, places in self._places.items():
                fields = [name + _field(value) for name, place in places if (value := values[place]) is not None]
                if fields:
                    lines.append(start + ",".join(fields) + stamp)
        return "".join(lines).encode("utf-8", "replace")


def _escaped(text: str, special: str) -> str:
    for character in special:
        text = text.replace(character, f"\\{character}")
    return text


def _field(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(float(value))


FORMATS: dict[Name, type[Format]] = {"csv": Csv, "jsonl": JsonLines, "line": LineProtocol}
