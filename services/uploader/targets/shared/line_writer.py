"""Rows as lines of the line protocol (heliograph/line_protocol.py), types fixed per channel.

Gauges, counters and states are floats, whatever a value looks like; channels that are declared as
integers are integers; texts are strings. So no value can conflict with the one before it. A line feed in a text is
written as a space: InfluxDB takes it within quotes, VictoriaMetrics drops the whole line without an error.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import msgspec

from heliograph import line_protocol
from heliograph.messages import Value
from heliograph.series_patterns import matches
from services.uploader import templates
from services.uploader.options import CHANNEL_FIELDS
from services.uploader.target import MappedChannel, Row

TEMPLATE_NAMES = (*CHANNEL_FIELDS, "name")
MOST_LAYOUTS = 10_000
LINE_FEEDS = re.compile(r"[\r\n]+")
_encode = msgspec.json.Encoder().encode


class LineField(NamedTuple):
    """Where the value of one channel goes."""

    measurement: str
    tags: tuple[tuple[str, str], ...]
    name: str


class LineTemplate(NamedTuple):
    """The format of one line of rows with the same channels: its values, of which `special` ones are converted first, and its time."""

    form: bytes
    fields: tuple[LineField, ...]
    indexes: tuple[int, ...]
    special: dict[int, Callable[[Value], bytes]]  # how to write the value at an index


class LineNames:
    """Templates for the three names a value has: `$node $device $channel $unit` and `$name`."""

    def __init__(self, measurement: str, field: str, tags: Mapping[str, str], integers: Sequence[str]) -> None:
        self._measurement = measurement
        self._field = field
        self._tags = tags
        self._integers = integers

    def field(self, mapped: MappedChannel) -> LineField:
        """Return where the value of a channel goes; tags that would be empty are left out, others are in order of their keys."""
        fill = partial(templates.filled, values=mapped._asdict())
        tags = tuple((key, value) for key, text in sorted(self._tags.items()) if (value := fill(text)))
        return LineField(fill(self._measurement), tags, fill(self._field))

    def is_integer(self, mapped: MappedChannel) -> bool:
        """Whether a channel was declared to have whole numbers only."""
        return any(matches(pattern, mapped.series) for pattern in self._integers)


class LineWriter:
    """Writes rows as lines; remembers what lines of the same channels have in common."""

    def __init__(self, names: LineNames, scale: int) -> None:
        """`scale` is the number of units of the lines' times in a second."""
        self._names = names
        self._scale = scale
        self._layouts: dict[tuple[MappedChannel, ...], list[LineTemplate]] = {}
        self._last: tuple[tuple[MappedChannel, ...], list[LineTemplate]] = ((), [])

    def write(self, rows: Iterable[Row], without: Collection[tuple[str, str]] = ()) -> list[list[bytes]]:
        """Return the lines of each row, each with its end, but not the fields (measurement, name) in `without`."""
        return [self._row(row, without) for row in rows]

    def body(self, rows: Iterable[Row]) -> bytes:
        """Return all lines of many rows, each with its end."""
        scale = self._scale
        parts: list[bytes] = []
        for channels, alike in groupby(rows, itemgetter(1)):
            lines = self.lines(channels)
            if len(lines) == 1 and not lines[0].special:
                numbers: list[Value] = []
                for time, _, values, _ in alike:
                    numbers += values
                    numbers.append(round(time * scale))
                # far faster than repr(), with the same digits
                texts = _encode(numbers)[1:-1].split(b",")
                parts.append(lines[0].form * (len(texts) // (len(channels) + 1)) % tuple(texts))
            else:
                parts += (line for row in alike for line in self._row(row, ()))
        return b"".join(parts)

    def lines(self, channels: tuple[MappedChannel, ...]) -> list[LineTemplate]:
        """Return the formats of the lines of rows with these channels."""
        if self._last[0] is channels:
            return self._last[1]
        lines = self._layouts.get(channels)
        if lines is None:
            groups: dict[tuple[object, ...], list[tuple[int, LineField]]] = {}
            for index, mapped in enumerate(channels):
                field = self._names.field(mapped)
                groups.setdefault((field.measurement, field.tags), []).append((index, field))
            lines = [self._line(group, channels) for group in groups.values()]
            if len(self._layouts) >= MOST_LAYOUTS:
                self._layouts.clear()
            self._layouts[channels] = lines
        self._last = (channels, lines)
        return lines

    def _row(self, row: Row, without: Collection[tuple[str, str]]) -> list[bytes]:
        at = b"%d" % round(row.time * self._scale)
        lines = self.lines(row.channels)
        if without:
            lines = [kept for line in lines if (kept := self._kept(line, row.channels, without))]
        return [line.form % (*_written(line, row.values), at) for line in lines]

    def _kept(
        self, line: LineTemplate, channels: tuple[MappedChannel, ...], without: Collection[tuple[str, str]]
    ) -> LineTemplate | None:
        """Return a line without some fields, None if no other is left."""
        group = [
            (index, field)
            for index, field in zip(line.indexes, line.fields, strict=True)
            if (field.measurement, field.name) not in without
        ]
        return self._line(group, channels) if group else None

    def _line(self, group: Sequence[tuple[int, LineField]], channels: tuple[MappedChannel, ...]) -> LineTemplate:
        measurement, tags, _ = group[0][1]
        special: dict[int, Callable[[Value], bytes]] = {}
        parts: list[str] = []
        for index, field in group:
            mapped = channels[index]
            if mapped.kind == "text":
                special[index] = _string
            elif self._names.is_integer(mapped):
                special[index] = _integer
            elif mapped.kind == "state":
                special[index] = _float
            parts.append(f"{_literal(line_protocol.name(field.name))}=%b")
        head = _literal(line_protocol.head(measurement, dict(tags)))
        fields = tuple(field for _, field in group)
        form = f"{head} {','.join(parts)} %b\n".encode()
        return LineTemplate(form, fields, tuple(index for index, _ in group), special)


def _written(line: LineTemplate, values: Sequence[Value]) -> list[bytes]:
    special = line.special
    return [special.get(index, _float)(values[index]) for index in line.indexes]


def _string(value: Value) -> bytes:
    return line_protocol.string(LINE_FEEDS.sub(" ", str(value))).encode()


def _integer(value: Value) -> bytes:
    return b"%di" % round(float(value))


def _float(value: Value) -> bytes:
    return line_protocol.number(float(value)).encode()


def _literal(text: str) -> str:
    return text.replace("%", "%%")
