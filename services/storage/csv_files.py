"""CSV files of any origin: what their columns are, and their rows as readings.

Wide: a time and a column per channel. Long: a time, a name and a value per row. A series that is called by its full name,
node/device/channel, is one that Heliograph has exported: texts are in quotes there, and only texts.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any, Literal, NamedTuple

from heliograph import export_formats, topics, units
from heliograph.messages import Value
from services.storage.csv_cells import Quoted, Splitter, Unfinished, is_unfinished
from services.storage.importing import Blocks, Mistake, Part
from services.storage.text_lines import TextFile, records
from services.storage.times import Times

RECORDS = 1_000  # of one part
TIME_NAMES = ("time", "timestamp", "datetime", "date", "date_time", "utc", "zeit")
SERIES_NAMES = ("series", "name", "entity_id", "channel", "sensor")
VALUE_NAMES = ("value", "state", "wert")
MISSING = frozenset(("", "nan", "null", "none", "na", "n/a", "-", "unavailable", "unknown"))
BOOLEANS = {"true": True, "false": False, "on": True, "off": False}
UNIT = re.compile(r"(.*?)\s*[\[(]([^\])]*)[\])]\s*")

IsText = Callable[[str, str, str], bool | None]
Name = tuple[str, str, str]  # node, device, channel


class CsvError(ValueError):
    """The file cannot be read as CSV at all; the message says what would help."""


class Options(NamedTuple):
    """How the files are written; empty: found out from the header."""

    node: str
    device: str
    time: str = ""
    form: str = "auto"
    zone: tzinfo = UTC
    delimiter: str = ""
    decimal_comma: bool = False
    layout: Literal["auto", "wide", "long"] = "auto"
    series: str = ""
    value: str = ""
    names: Mapping[str, str] = {}  # header cell → channel; "": left out


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


def read(path: Path, options: Options, is_text: IsText, found_units: dict[str, str]) -> Iterator[Part]:
    """Yield the readings of one file; `found_units` takes the units that headers name.

    Raises OSError if it cannot be opened, CsvError if its header says nothing.
    """
    file, splitter = TextFile(path), Splitter(options.delimiter)
    table: _Table | None = None
    blocks, mistakes, done = Blocks(), list[Mistake](), 0
    for count, record in enumerate(records(file, splitter.split, Unfinished, is_unfinished), 1):
        if table is None and record.value:
            table = _table(path, record.value, options, is_text, found_units)
            splitter.width = len(record.value)
            continue
        try:
            if record.wrong:
                raise ValueError(record.wrong)
            if table and record.value:
                table.take(record.value, blocks)
        except ValueError as error:
            mistakes.append(Mistake(f"{path}:{record.number}", str(error), record.text[:200]))
        if count % RECORDS == 0:
            yield Part(blocks.take(), mistakes, file.position - done)
            mistakes, done = [], file.position
    if table is None:
        mistakes.append(Mistake(str(path), "an empty file"))
    yield Part(blocks.take(), mistakes, file.position - done)


class _Table:
    """The rows below one header."""

    def __init__(self, path: Path, header: Sequence[str], options: Options, is_text: IsText) -> None:
        self._options = options
        self._is_text = is_text
        self._time = _place(path, header, options.time, TIME_NAMES, "--time")
        self._times = Times(options.form, options.zone)

    def take(self, cells: list[str], blocks: Blocks) -> None:
        """Add the readings of a row with as many cells as the header; raise ValueError for one without a time or a name."""
        try:
            time = self._times.seconds(cells[self._time])
        except ValueError:
            raise ValueError("not a time; see --time, --time-format and --tz") from None
        self._add(time, cells, blocks)

    def _add(self, time: float, cells: list[str], blocks: Blocks) -> None:
        raise NotImplementedError

    def _column(self, name: Name, *, exact: bool) -> Column:
        return Column(name, is_text=self._is_text(*name), exact=exact, decimal_comma=self._options.decimal_comma)


class _Wide(_Table):
    """A column per channel; those of one device make one reading."""

    def __init__(
        self, path: Path, header: Sequence[str], options: Options, is_text: IsText, found_units: dict[str, str]
    ) -> None:
        super().__init__(path, header, options, is_text)
        devices: dict[tuple[str, str], dict[int, Column]] = {}
        for place, cell in enumerate(header):
            told = options.names.get(cell.strip())
            if place == self._time or told == "" or (not cell.strip() and told is None):
                continue
            text, unit = (told, "") if told else unit_apart(cell)
            name = full_name(text, options)
            if any(name == column.name for columns in devices.values() for column in columns.values()):
                raise CsvError(f"{path}: two columns are called {'/'.join(name)}; rename one: --column '{cell}=…'")
            if unit:
                found_units.setdefault(name[2], unit)
            devices.setdefault(name[:2], {})[place] = self._column(name, exact=_is_exact(cell))
        if not devices:
            raise CsvError(f"{path}: the header names a time and nothing else")
        self._devices = [
            (node, device, tuple(column.name[2] for column in columns.values()), list(columns.items()))
            for (node, device), columns in devices.items()
        ]

    def _add(self, time: float, cells: list[str], blocks: Blocks) -> None:
        for node, device, channels, columns in self._devices:
            values = [column.value(cells[place]) for place, column in columns]
            if any(value is not None for value in values):
                blocks.add(node, device, channels, [time, *values])


class _Long(_Table):
    """A name and a value per row."""

    def __init__(self, path: Path, header: Sequence[str], options: Options, is_text: IsText) -> None:
        super().__init__(path, header, options, is_text)
        self._series = _place(path, header, options.series, SERIES_NAMES, "--series-column")
        self._value = _place(path, header, options.value, VALUE_NAMES, "--value-column")
        self._columns: dict[str, Column | None] = {}

    def _add(self, time: float, cells: list[str], blocks: Blocks) -> None:
        cell = cells[self._series]
        key = cell.strip()
        if key not in self._columns:
            told = self._options.names.get(key, key)
            self._columns[key] = self._column(full_name(told, self._options), exact=_is_exact(cell)) if told else None
        column = self._columns[key]
        if column is None:
            return
        value = column.value(cells[self._value])
        row: list[Any] = [time, value]
        if value is not None:
            node, device, channel = column.name
            blocks.add(node, device, (channel,), row)


def _table(
    path: Path, header: list[str], options: Options, is_text: IsText, found_units: dict[str, str]
) -> _Wide | _Long:
    lower = {cell.strip().lower() for cell in header}
    layout = options.layout
    if layout == "auto":
        is_long = len(header) <= 4 and lower & set(SERIES_NAMES) and lower & set(VALUE_NAMES)
        layout = "long" if is_long or options.series else "wide"
    if layout == "long":
        return _Long(path, header, options, is_text)
    return _Wide(path, header, options, is_text, found_units)


def _is_exact(name: str) -> bool:
    """Whether a name is written as Heliograph writes those of series."""
    return name.count("/") == 2 and name.__class__ is not Quoted


def _place(path: Path, header: Sequence[str], told: str, usual: Sequence[str], option: str) -> int:
    """Return where a column is: the one that was told, else the first with a usual name."""
    names = [cell.strip() for cell in header]
    if told:
        if told not in names:
            raise CsvError(f"{path}: no column is called {told!r}; there are: {', '.join(names)[:300]}")
        return names.index(told)
    lower = [name.lower() for name in names]
    for name in usual:
        if name in lower:
            return lower.index(name)
    raise CsvError(f"{path}: which column is it? Say {option}; there are: {', '.join(names)[:300]}")


def unit_apart(header: str) -> tuple[str, str]:
    """Return name and unit of a header like `Power (W)`; the unit is empty if there is none that is known."""
    if match := UNIT.fullmatch(header.strip()):
        try:
            return match[1], units.spelled(match[2].strip())
        except ValueError:
            pass
    return header.strip(), ""


def full_name(text: str, options: Options) -> Name:
    """Return node, device and channel: the three parts of a series' name, else a channel of the device in the options.

    A bucket's function becomes part of the channel: `power.min` is `power_min`. Raises CsvError if the device is unknown.
    """
    parts = text.split("/")
    if len(parts) == 3 and topics.is_name(parts[0]) and topics.is_name(parts[1]):
        return parts[0], parts[1], channel_name(parts[2])
    if not options.node or not options.device:
        raise CsvError(f"{text[:80]!r} is no series (node/device/channel): say --node and --device")
    return options.node, options.device, channel_name(text)


def channel_name(text: str) -> str:
    """Return a text as the name of a channel; raise CsvError if nothing is left of it."""
    if topics.is_channel(text):
        return text
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:64]
    if not name:
        raise CsvError(f"{text[:80]!r} leaves no name for a channel: say --column '{text[:80]}=name'")
    return name
