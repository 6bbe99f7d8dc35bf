"""Tables in CSV files: what their columns are, and their rows as readings.

Wide: a time and a column per channel. Long: a time, a name and a value per row. A series that is called by its full name,
node/device/channel, is one that Heliograph has exported: texts are in quotes there, and only texts.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any, Literal, NamedTuple

from heliograph import export_formats, topics, units
from heliograph.messages import Kind, Value
from services.storage.importers.shared.csv_cells import Quoted
from services.storage.importers.shared.names import SeriesNames
from services.storage.importers.shared.parts import PartBuilder
from services.storage.importers.shared.times import TimeParser

TIME_NAMES = ("time", "timestamp", "datetime", "date", "date_time", "utc", "zeit")
SERIES_NAMES = ("series", "name", "entity_id", "channel", "sensor")
VALUE_NAMES = ("value", "state", "wert")
MISSING = frozenset(("", "nan", "null", "none", "na", "n/a", "-", "unavailable", "unknown"))
BOOLEANS = {"true": True, "false": False, "on": True, "off": False}
UNIT = re.compile(r"(.*?)\s*[\[(]([^\])]*)[\])]\s*")

Name = tuple[str, str, str]  # node, device, channel


class CsvError(ValueError):
    """The header does not suffice to read the file; the message names the option that helps."""


class CsvOptions(NamedTuple):
    """How the files are written; empty: as the header shows."""

    node: str = ""
    device: str = ""
    time: str = ""
    time_format: str = "auto"
    zone: tzinfo = UTC
    delimiter: str = ""
    decimal_comma: bool = False
    layout: Literal["auto", "wide", "long"] = "auto"
    series: str = ""
    value: str = ""
    channels: Mapping[str, str] = {}  # by header cell; "": left out


class Context(NamedTuple):
    """What is known of the channels: names and kinds of the store, kinds of the options, and units, which headers add to."""

    names: SeriesNames
    kinds: Mapping[str, Kind]
    units: dict[str, str]

    def is_text(self, name: Name) -> bool | None:
        """Whether a channel holds texts; None if that is unknown."""
        kind = self.kinds.get(name[2]) or self.names.kind(*name)
        return kind == "text" if kind else None


class Column:
    """One channel of a file, which remembers whether its values are texts; `is_text` is None if that is unknown.

    In an `exact` column whatever is in quotes is a text, unless the values are known not to be texts.
    """

    def __init__(self, name: Name, *, is_text: bool | None, exact: bool, decimal_comma: bool) -> None:
        self.name = name
        self._text = bool(is_text)
        self._exact = exact
        self._exact_texts = exact and is_text is not False
        self._number = False
        self._comma = decimal_comma

    def value(self, cell: str) -> Value | None:
        """Return what a cell means; None if it is empty."""
        if self._exact_texts and cell.__class__ is Quoted:
            return export_formats.unguarded(str(cell))
        cell = cell.strip()
        if self._text:
            return (export_formats.unguarded(cell) if self._exact else cell) or None
        try:
            number = float(cell.replace(",", ".") if self._comma else cell)
            if "_" in cell:
                raise ValueError("Python's 1_000 is a number nowhere else")
        except ValueError:
            word = cell.lower()
            if word in MISSING:
                return None
            if word in BOOLEANS:
                return BOOLEANS[word]
            self._text = not self._number  # a word in a column of numbers is a mistake, which the store will name
            return cell
        if number != number:
            return None
        self._number = True
        return number


class CsvTable:
    """The rows below one header."""

    def __init__(self, path: Path, header: Sequence[str], options: CsvOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._time = _index(path, header, options.time, TIME_NAMES, "--time")
        self._times = TimeParser(options.time_format, options.zone)

    def take(self, cells: list[str], parts: PartBuilder) -> None:
        """Add the readings of a row with as many cells as the header; raise ValueError for one without a time or a name."""
        try:
            time = self._times.seconds(cells[self._time])
        except ValueError:
            raise ValueError("not a time; see --time, --time-format and --tz") from None
        self._add(time, cells, parts)

    def _add(self, time: float, cells: list[str], parts: PartBuilder) -> None:
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

    def _column(self, name: Name, *, exact: bool) -> Column:
        return Column(name, is_text=self._context.is_text(name), exact=exact, decimal_comma=self._options.decimal_comma)


class _Wide(CsvTable):
    """A column per channel; those of one device make one reading."""

    def __init__(self, path: Path, header: Sequence[str], options: CsvOptions, context: Context) -> None:
        super().__init__(path, header, options, context)
        devices: dict[tuple[str, str], dict[int, Column]] = {}
        for index, cell in enumerate(header):
            renamed = options.channels.get(cell.strip())
            if index == self._time or renamed == "" or (not cell.strip() and renamed is None):
                continue
            text, unit = (renamed, "") if renamed else split_unit(cell)
            try:
                name = self._name(text)
            except CsvError:
                raise
            except ValueError as error:
                raise CsvError(f"{path}: {error}; rename the column: --column '{cell}=…'") from None
            if any(name == column.name for columns in devices.values() for column in columns.values()):
                raise CsvError(f"{path}: two columns are called {'/'.join(name)}; rename one: --column '{cell}=…'")
            if unit:
                context.units.setdefault(name[2], unit)
            devices.setdefault(name[:2], {})[index] = self._column(name, exact=_is_exact(cell))
        if not devices:
            raise CsvError(f"{path}: the header names a time and nothing else")
        self._devices = [
            (node, device, tuple(column.name[2] for column in columns.values()), list(columns.items()))
            for (node, device), columns in devices.items()
        ]

    def _add(self, time: float, cells: list[str], parts: PartBuilder) -> None:
        for node, device, channels, columns in self._devices:
            values = [column.value(cells[index]) for index, column in columns]
            if any(value is not None for value in values):
                parts.add(node, device, channels, [time, *values])


class _Long(CsvTable):
    """A name and a value per row."""

    def __init__(self, path: Path, header: Sequence[str], options: CsvOptions, context: Context) -> None:
        super().__init__(path, header, options, context)
        self._series = _index(path, header, options.series, SERIES_NAMES, "--series-column")
        self._value = _index(path, header, options.value, VALUE_NAMES, "--value-column")
        self._columns: dict[str, Column | None] = {}

    def _add(self, time: float, cells: list[str], parts: PartBuilder) -> None:
        cell = cells[self._series]
        key = cell.strip()
        if key not in self._columns:
            text = self._options.channels.get(key, key)
            self._columns[key] = self._column(self._name(text), exact=_is_exact(cell)) if text else None
        column = self._columns[key]
        if column is None:
            return
        value = column.value(cells[self._value])
        row: list[Any] = [time, value]
        if value is not None:
            node, device, channel = column.name
            parts.add(node, device, (channel,), row)


def table_of(path: Path, header: Sequence[str], options: CsvOptions, context: Context) -> CsvTable:
    """Return the table below a header; raise CsvError if the header does not suffice."""
    lower = {cell.strip().lower() for cell in header}
    layout = options.layout
    if layout == "auto":
        is_long = len(header) <= 4 and lower & set(SERIES_NAMES) and lower & set(VALUE_NAMES)
        layout = "long" if is_long or options.series else "wide"
    return (_Long if layout == "long" else _Wide)(path, header, options, context)


def _is_exact(name: str) -> bool:
    """Whether a name is written as Heliograph writes those of series."""
    return name.count("/") == 2 and name.__class__ is not Quoted


def _index(path: Path, header: Sequence[str], given: str, usual: Sequence[str], option: str) -> int:
    """Return the index of a column: the given one, else the first with a usual name."""
    names = [cell.strip() for cell in header]
    if given:
        if given not in names:
            raise CsvError(f"{path}: no column is called {given!r}; there are: {', '.join(names)[:300]}")
        return names.index(given)
    lower = [name.lower() for name in names]
    for name in usual:
        if name in lower:
            return lower.index(name)
    raise CsvError(f"{path}: which column is it? Give {option}; there are: {', '.join(names)[:300]}")


def split_unit(header: str) -> tuple[str, str]:
    """Return name and unit of a header like `Power (W)`; the unit is empty if it names no known one."""
    if match := UNIT.fullmatch(header.strip()):
        try:
            return match[1], units.spelled(match[2].strip())
        except ValueError:
            pass
    return header.strip(), ""
