"""Series as files, a few rows at a time: CSV (RFC 4180), JSON lines, and InfluxDB's line protocol.

The API's /export and `heliograph store export` write these formats, `heliograph store import` reads them: what was exported,
imported and exported again is equal. A row is a time and one value for each column, None where there is none. A
column is a series, with buckets one function of it. docs/api.md describes the formats for their readers.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from operator import itemgetter
from typing import Literal, NamedTuple, get_args

import msgspec

from heliograph import line_protocol
from heliograph.messages import Value
from heliograph.store.interface import Function, Reader, Series

Name = Literal["csv", "jsonl", "line"]
NAMES: tuple[Name, ...] = get_args(Name)
Row = tuple[float, Sequence[Value | None]]

# What makes a spreadsheet take a text for a formula (OWASP, "CSV Injection"), and the mark itself.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20", "'")


class ExportColumn(NamedTuple):
    """One column: a series, with buckets one function of it."""

    series: Series
    function: str = ""

    @property
    def name(self) -> str:
        """The name of the column: `node/device/channel`, with buckets `node/device/channel.function`."""
        return f"{self.series.name}.{self.function}" if self.function else self.series.name


def columns(series: Iterable[Series], functions: Sequence[Function] = ()) -> list[ExportColumn]:
    """Return the columns of an export: of each series one, with buckets one for each function."""
    return [ExportColumn(one, function) for one in series for function in (functions or ("",))]


def raw_rows(points: Iterable[tuple[float, int, Value]], series: Sequence[Series]) -> Iterator[Row]:
    """Yield a row for each time of points (time, series, value), which come in order of time."""
    indexes = {one.id: index for index, one in enumerate(series)}
    for time, group in itertools.groupby(points, itemgetter(0)):
        values: list[Value | None] = [None] * len(indexes)
        for _, series_id, value in group:
            values[indexes[series_id]] = value
        yield time, values


def bucket_rows(
    reader: Reader, series: Iterable[Series], edges: Sequence[float], functions: Sequence[Function]
) -> Iterator[Row]:
    """Yield a row for each bucket, at its beginning; one without readings has n = 0 and no other values."""
    columns: list[list[Value | None]] = []
    for one in series:
        values = reader.aggregate(one.id, edges, functions)
        columns += [values[function] for function in functions]
    return zip(edges[:-1], zip(*columns, strict=True), strict=True)


class ExportFormat(ABC):
    """How rows of these columns are written; local times are those of a time zone."""

    suffix: str
    media_type: str

    def __init__(self, columns: Sequence[ExportColumn], zone: tzinfo = UTC) -> None:
        self.columns = columns
        self._zone = zone

    def head(self) -> bytes:
        """Return what comes before the first row."""
        return b""

    @abstractmethod
    def rows(self, rows: Iterable[Row]) -> bytes:
        """Return these rows as a part of the file."""


class Csv(ExportFormat):
    """A line for each time, a column for each series; lines end with CR LF.

    Texts, and nothing else, are in quotes: so "" is an empty text, and an empty cell a missing value.
    """

    suffix = "csv"
    media_type = "text/csv; charset=utf-8; header=present"

    def head(self) -> bytes:
        """Return the line of names: `time`, then those of the columns."""
        return _lines([["time", *(column.name for column in self.columns)]])

    def rows(self, rows: Iterable[Row]) -> bytes:
        """Return a line for each row; what is missing is empty."""
        return _lines(
            [self._time(time), *[repr(value) if value.__class__ is float else _cell(value) for value in values]]
            for time, values in rows
        )

    def _time(self, time: float) -> str:
        return datetime.fromtimestamp(time, self._zone).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class LongCsv(Csv):
    """A line for each value: time, series, value; with buckets the series is called `series.function`."""

    def head(self) -> bytes:
        """Return the line of names."""
        return _lines([["time", "series", "value"]])

    def rows(self, rows: Iterable[Row]) -> bytes:
        """Return a line for each value that there is."""
        names = [column.name for column in self.columns]
        return _lines(
            [text, name, _cell(value)]
            for time, values in rows
            for text in [self._time(time)]
            for name, value in zip(names, values, strict=True)
            if value is not None
        )


def _lines(lines: Iterable[Sequence[str]]) -> bytes:
    return "".join([f"{','.join(cells)}\r\n" for cells in lines]).encode("utf-8", "replace")


def _cell(value: Value | None) -> str:
    if value is None:
        return ""
    text = csv_text(value)
    return '"' + text.replace('"', '""') + '"' if isinstance(value, str) else text


def csv_text(value: Value) -> str:
    """Return what a CSV cell has of a value, without quotation marks; no text is a formula to a spreadsheet."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return ("'" if value.startswith(_FORMULA) else "") + value
    return repr(value)


def unguarded(text: str) -> str:
    """Return the text of a CSV cell without the mark that keeps spreadsheets from taking it for a formula."""
    return text.removeprefix("'")


class JsonLines(ExportFormat):
    """A line for each value: time, series, value; with buckets for each bucket and series: time, series, functions."""

    suffix = "jsonl"
    media_type = "application/jsonl"

    def __init__(self, columns: Sequence[ExportColumn], zone: tzinfo = UTC) -> None:
        super().__init__(columns, zone)
        self._encoder = msgspec.json.Encoder()
        self._keys: dict[str, list[tuple[str, int]]] = {}
        for index, column in enumerate(columns):
            self._keys.setdefault(column.series.name, []).append((column.function or "value", index))

    def rows(self, rows: Iterable[Row]) -> bytes:
        """Return a line for each value there is; for a bucket without readings null."""
        lines: list[dict[str, Value | None]] = []
        for time, values in rows:
            for name, keys in self._keys.items():
                entries = {key: values[index] for key, index in keys}
                if "value" not in entries or entries["value"] is not None:
                    lines.append({"time": time, "series": name, **entries})
        return self._encoder.encode_lines(lines)


class LineProtocol(ExportFormat):
    """A line for each device and time: measurement = device, tag `node`, fields = channels, nanoseconds.

    With buckets a field is `channel_function`. Numbers are always floats, so that a field keeps its type.
    """

    suffix = "lp"
    media_type = "text/plain; charset=utf-8"

    def __init__(self, columns: Sequence[ExportColumn], zone: tzinfo = UTC) -> None:
        super().__init__(columns, zone)
        self._fields: dict[str, list[tuple[str, int]]] = {}
        for index, (series, function) in enumerate(columns):
            head = line_protocol.head(series.device, {"node": series.node})
            key = f"{series.channel}_{function}" if function else series.channel
            self._fields.setdefault(head, []).append((f"{line_protocol.name(key)}=", index))

    def rows(self, rows: Iterable[Row]) -> bytes:
        """Return a line for each device that has a value at that time."""
        lines = []
        for time, values in rows:
            end = f" {round(time * 1000) * 1_000_000}\n"
            for head, keys in self._fields.items():
                fields = [
                    key + (repr(value) if value.__class__ is float else line_protocol.field(value))
                    for key, index in keys
                    if (value := values[index]) is not None
                ]
                if fields:
                    lines.append(f"{head} {','.join(fields)}{end}")
        return "".join(lines).encode("utf-8", "replace")


FORMATS: dict[Name, type[ExportFormat]] = {"csv": Csv, "jsonl": JsonLines, "line": LineProtocol}
CSV_LAYOUTS: dict[str, type[ExportFormat]] = {"wide": Csv, "long": LongCsv}
