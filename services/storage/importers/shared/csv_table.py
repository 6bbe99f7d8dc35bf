"""Tables in CSV files: what their columns are, and their rows as readings.

Wide: a time and a column per channel. Long: a time, a name and a value per row. A series that is called by its full name,
node/device/channel, is one that Heliograph has exported: texts are in quotes there, and only texts.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Literal, NamedTuple

from heliograph import topics, units
from heliograph.messages import Kind, Value
from heliograph.names import NameTaken
from heliograph.store.readings import EARLIEST
from services.storage.importers.shared.csv_cells import Quoted
from services.storage.importers.shared.csv_columns import CellError, Column, is_missing
from services.storage.importers.shared.csv_times import TimeColumns
from services.storage.importers.shared.names import SeriesNames
from services.storage.importers.shared.parts import PartBuilder
from services.storage.importers.shared.repeated_hour import Moment
from services.storage.importers.shared.timed_rows import Hour, TimedRow, TimedRows
from services.storage.importers.shared.times import TimeParser

SERIES_NAMES = ("series", "name", "entity_id", "channel", "sensor")
VALUE_NAMES = ("value", "state", "wert")
NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d*)?")
DATE = re.compile(r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}\b")
UNIT = re.compile(r"(.*?)\s*[\[(]([^\])]*)[\])]\s*")
SAMPLE = 100  # values of each column that are looked at before one is taken
MOST_SAMPLED = 5_000  # rows that wait for that at most

Name = tuple[str, str, str]  # node, device, channel


class CsvError(ValueError):
    """The header does not suffice to read the file; the message names the option that helps."""


class CsvOptions(NamedTuple):
    """How the files are written; empty: as the header shows."""

    node: str = ""
    device: str = ""
    time: Sequence[str] = ()
    time_format: str = "auto"
    zone: tzinfo = UTC
    repeated_hour: Hour = ""
    header: str = ""
    encoding: str = ""
    delimiter: str = ""
    decimal_comma: bool = False
    layout: Literal["auto", "wide", "long"] = "auto"
    series: str = ""
    value: str = ""
    channels: Mapping[str, str] = {}  # by header cell; "": left out


class Context(NamedTuple):
    """What is known of the channels: names and kinds of the store, kinds of the options, and units, which headers add to.

    `renamed` collects the header cells that an option renames, `refused` the series of which nothing is taken.
    """

    names: SeriesNames
    kinds: Mapping[str, Kind]
    units: dict[str, str]
    renamed: set[str]
    refused: set[str]

    def column(self, name: Name, *, exact: bool, decimal_comma: bool) -> Column:
        """Return the column of a channel."""
        kind, stored = self.kinds.get(name[2]), self.names.kind(*name)
        return Column(
            name[2],
            is_text=kind == "text" if kind else None,
            stored_text=stored == "text" if stored else None,
            exact=exact,
            decimal_comma=decimal_comma,
        )


class CsvTable:
    """The rows below one header."""

    def __init__(
        self, path: Path, header: Sequence[str], options: CsvOptions, context: Context, parts: PartBuilder
    ) -> None:
        self._options = options
        self._context = context
        self._parts = parts
        self._rows = TimedRows(parts, options.repeated_hour)
        try:
            self._times = TimeColumns(header, options.time, TimeParser(options.time_format, options.zone))
        except KeyError as error:
            raise CsvError(f"{path}: no column is called {error.args[0]!r}; {_there_are(header)}") from None
        except LookupError:
            raise CsvError(f"{path}: which column is it? Give --time; {_there_are(header)}") from None

    def take(self, line: int, text: str, cells: list[str]) -> None:
        """Take a row with as many cells as the header; raise ValueError for one without a time or a name."""
        try:
            moment = self._times.moment(cells)
        except ValueError as error:
            raise ValueError(f"{error}; see --time, --time-format and --tz") from None
        self._take(_Held(moment, line, text, cells))

    def finish(self) -> None:
        """Add to the parts what still waits."""
        raise NotImplementedError

    def _take(self, row: "_Held") -> None:
        raise NotImplementedError

    def _name(self, text: str) -> Name:
        """Return node, device and channel: the three parts of a series' name, else a channel of the device in the options.

        A bucket's function becomes part of the channel: `power.min` is `power_min`. Raises ValueError if the device is
        unknown, and for a name that another text has already.
        """
        node, device = self._options.node, self._options.device
        match text.split("/"):
            case [first, second, third] if topics.is_name(first) and topics.is_name(second):
                node, device, text = first, second, third
        if not node or not device:
            raise CsvError(f"{text[:80]!r} is not a series (node/device/channel): give --node and --device")
        return node, device, self._context.names.channel(node, device, text)

    def _value(self, column: Column, cell: str, row: "_Held") -> Value | None:
        try:
            return column.value(cell)
        except CellError as error:
            if column.refusal:
                self._context.refused.add(column.name)
            self._parts.set_aside(row.line, str(error), cell)
            return None


class _Held(NamedTuple):
    """A row of which the values are not known yet."""

    moment: Moment
    line: int
    text: str
    cells: list[str]


class _Wide(CsvTable):
    """A column per channel; those of one device make one reading."""

    def __init__(
        self, path: Path, header: Sequence[str], options: CsvOptions, context: Context, parts: PartBuilder
    ) -> None:
        super().__init__(path, header, options, context, parts)
        devices: dict[tuple[str, str], dict[int, Column]] = {}
        taken: set[Name] = set()
        for index, cell in enumerate(header):
            renamed = options.channels.get(cell.strip())
            if renamed is not None:
                context.renamed.add(cell.strip())
            if index in self._times.indexes or renamed == "" or (not cell.strip() and renamed is None):
                continue
            text, unit = (renamed, "") if renamed else split_unit(cell)
            try:
                name = self._name(text)
            except CsvError:
                raise
            except ValueError as error:
                raise CsvError(f"{path}: {error}; rename the column: --column '{cell}=…'") from None
            if name in taken:
                raise CsvError(f"{path}: two columns are called {'/'.join(name)}; rename one: --column '{cell}=…'")
            taken.add(name)
            if unit:
                context.units.setdefault("/".join(name), unit)
            column = context.column(name, exact=_is_exact(cell), decimal_comma=options.decimal_comma)
            devices.setdefault(name[:2], {})[index] = column
        if not devices:
            raise CsvError(f"{path}: the header names a time and nothing else")
        self._devices = [
            (node, device, tuple(column.name for column in columns.values()), list(columns.items()))
            for (node, device), columns in devices.items()
        ]
        self._sample: list[_Held] | None = []

    def finish(self) -> None:
        """Add to the parts what still waits."""
        self._judge()
        self._rows.finish()

    def _take(self, row: _Held) -> None:
        if self._sample is None:
            self._emit(row)
            return
        self._sample.append(row)
        size = len(self._sample)
        if size >= MOST_SAMPLED or (size >= SAMPLE and size & (size - 1) == 0 and self._is_enough(self._sample)):
            self._judge()

    def _is_enough(self, sample: list[_Held]) -> bool:
        return all(
            sum(not is_missing(row.cells[index]) for row in sample) >= SAMPLE
            for _, _, _, columns in self._devices
            for index, _ in columns
        )

    def _judge(self) -> None:
        sample, self._sample = self._sample or [], None
        for _, _, _, columns in self._devices:
            for index, column in columns:
                column.judge([row.cells[index] for row in sample])
        for row in sample:
            self._emit(row)

    def _emit(self, row: _Held) -> None:
        readings = []
        cells = row.cells
        for node, device, channels, columns in self._devices:
            try:
                values = [column.value(cells[index]) for index, column in columns]
            except CellError:
                values = [self._value(column, cells[index], row) for index, column in columns]
            if any(value is not None for value in values):
                readings.append((node, device, channels, values))
        if readings:
            self._rows.take(TimedRow(row.moment, row.line, row.text, readings))


class _Long(CsvTable):
    """A name and a value per row."""

    def __init__(
        self, path: Path, header: Sequence[str], options: CsvOptions, context: Context, parts: PartBuilder
    ) -> None:
        super().__init__(path, header, options, context, parts)
        self._series = _index(path, header, options.series, SERIES_NAMES, "--series-column")
        self._value_index = _index(path, header, options.value, VALUE_NAMES, "--value-column")
        self._entries: dict[str, _Entry | None] = {}
        self._texts: dict[Name, str] = {}

    def finish(self) -> None:
        """Add to the parts what still waits."""
        for entry in self._entries.values():
            if entry:
                self._judge(entry)
        self._rows.finish()

    def _take(self, row: _Held) -> None:
        cell = row.cells[self._series]
        key = cell.strip()
        if key not in self._entries:
            self._entries[key] = self._entry(key, exact=_is_exact(cell))
        entry = self._entries[key]
        if entry is None:
            return
        if entry.sample is None:
            self._emit(entry, row)
        elif row.cells[self._value_index].__class__ is Quoted or not is_missing(row.cells[self._value_index]):
            entry.sample.append(row)
            if len(entry.sample) >= SAMPLE:
                self._judge(entry)

    def _entry(self, key: str, *, exact: bool) -> "_Entry | None":
        renamed = self._options.channels.get(key)
        if renamed is not None:
            self._context.renamed.add(key)
        if renamed == "":
            return None
        name = self._name(renamed or key)
        owner = self._texts.setdefault(name, key)
        if owner != key:
            raise NameTaken(f"{key[:80]!r} would be called {'/'.join(name)}, which is the name of {owner[:80]!r}")
        return _Entry(name, self._context.column(name, exact=exact, decimal_comma=self._options.decimal_comma))

    def _judge(self, entry: "_Entry") -> None:
        sample, entry.sample = entry.sample or [], None
        entry.column.judge([row.cells[self._value_index] for row in sample])
        for row in sample:
            self._emit(entry, row)

    def _emit(self, entry: "_Entry", row: _Held) -> None:
        value = self._value(entry.column, row.cells[self._value_index], row)
        if value is not None:
            node, device, channel = entry.name
            self._rows.take(TimedRow(row.moment, row.line, row.text, [(node, device, (channel,), [value])]))


class _Entry:
    """One series of a long table; `sample` holds its rows until its column is judged."""

    def __init__(self, name: Name, column: Column) -> None:
        self.name = name
        self.column = column
        self.sample: list[_Held] | None = []


def table_of(path: Path, header: Sequence[str], options: CsvOptions, context: Context, parts: PartBuilder) -> CsvTable:
    """Return the table below a header; raise CsvError if the header does not suffice."""
    if not options.header and is_data(header, options):
        raise CsvError(
            f"{path}: the first line has values, not names of columns: name them, --header time,{','.join(['NAME'] * (len(header) - 1))}"
        )
    lower = {cell.strip().lower() for cell in header}
    layout = options.layout
    if layout == "auto":
        is_long = len(header) <= 4 and lower & set(SERIES_NAMES) and lower & set(VALUE_NAMES)
        layout = "long" if is_long or options.series or options.value else "wide"
    return (_Long if layout == "long" else _Wide)(path, header, options, context, parts)


def is_data(header: Sequence[str], options: CsvOptions) -> bool:
    """Whether the first line of a file is no header: a cell is a date, or a number that is a time, or all are numbers."""
    times = TimeParser(options.time_format, options.zone)
    for cell in header:
        try:
            if DATE.match(cell.strip()) or times.moment(cell).first >= EARLIEST:
                return True
        except ValueError:
            continue
    return all(NUMBER.fullmatch(cell.strip()) for cell in header)


def _is_exact(name: str) -> bool:
    """Whether a name is written as Heliograph writes those of series."""
    return name.count("/") == 2 and name.__class__ is not Quoted


def _there_are(header: Sequence[str]) -> str:
    return f"there are: {', '.join(cell.strip() for cell in header)[:300]}"


def _index(path: Path, header: Sequence[str], given: str, usual: Sequence[str], option: str) -> int:
    """Return the index of a column: the given one, else the first with a usual name."""
    names = [cell.strip() for cell in header]
    if given:
        if given not in names:
            raise CsvError(f"{path}: no column is called {given!r}; {_there_are(header)}")
        return names.index(given)
    lower = [name.lower() for name in names]
    for name in usual:
        if name in lower:
            return lower.index(name)
    raise CsvError(f"{path}: which column is it? Give {option}; {_there_are(header)}")


def split_unit(header: str) -> tuple[str, str]:
    """Return name and unit of a header like `Power (W)`; the unit is empty if it names no known one."""
    if match := UNIT.fullmatch(header.strip()):
        try:
            return match[1], units.spelled(match[2].strip())
        except ValueError:
            pass
    return header.strip(), ""
