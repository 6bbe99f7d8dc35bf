"""Solar Protocol's daily files of an EPEVER Tracer: tracerDataYYYY-MM-DD.csv.

Its logger (charge-controller/csv_datalogger.py) divides each input register by 100 and writes what comes out, with
the naive local time: the words of 32-bit powers apart, the state of charge, which the controller gives in percent,
as a fraction. Files of August 2020 have names like solarVoltage, or spaces before some names; the order is the same.
Those of its first months have the columns in alphabetical order, from `PV current` on, with the time in the column `date`
and what the battery gets as `charge current`, `charge power L` and `charge power H` (tracerData2020-08-04.csv there).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import tzinfo
from pathlib import Path
from typing import Any, NamedTuple

import click

from heliograph.messages import Value
from heliograph.store.buckets import zone
from services.storage.importers.shared.options import device_options, repeated_hour_option
from services.storage.importers.shared.parts import ChannelMetadata, ImportFile, ImportPlan, Part, PartBuilder
from services.storage.importers.shared.repeated_hour import Moment
from services.storage.importers.shared.text_lines import ZEROS, Line, TextFile
from services.storage.importers.shared.timed_rows import Hour, TimedRow, TimedRows
from services.storage.importers.shared.times import TimeParser

# Channel → columns (low word, high word), all that there have been, by their names without spaces, signs and capitals.
COLUMNS: dict[str, tuple[tuple[str, ...], ...]] = {
    "pv_voltage": (("pvvoltage",),),
    "pv_current": (("pvcurrent",),),
    "pv_power": (("pvpowerl", "pvpowerh"),),
    "battery_voltage": (("batteryvoltage",),),
    "charge_current": (("batterycurrent",), ("chargecurrent",)),
    "charge_power": (("batterypowerl", "batterypowerh"), ("chargepowerl", "chargepowerh")),
    "load_voltage": (("loadvoltage",),),
    "load_current": (("loadcurrent",),),
    "load_power": (("loadpower",),),
    "battery_soc": (("batterypercentage",),),
}
TIMES = ("datetime", "date")  # the columns of times
UNITS = {
    "pv_voltage": "V",
    "pv_current": "A",
    "pv_power": "W",
    "battery_voltage": "V",
    "charge_current": "A",
    "charge_power": "W",
    "load_voltage": "V",
    "load_current": "A",
    "load_power": "W",
    "battery_soc": "%",
}
HUNDREDTHS = frozenset(COLUMNS) - {"battery_soc"}


def files(paths: Iterable[Path]) -> list[Path]:
    """Return the daily files that paths and folders name, in order of their days."""
    unsorted = {file for path in paths for file in (path.glob("tracerData*.csv*") if path.is_dir() else [path])}
    return sorted(unsorted, key=lambda path: (path.name, path))


@device_options
@click.option("--tz", required=True, help="Time zone in which the files were written: America/New_York")
@repeated_hour_option
def plan(paths: Sequence[Path], *, node: str, device: str, tz: str, repeated_hour: Hour | None) -> ImportPlan:
    """Solar Protocol's tracerDataYYYY-MM-DD.csv: files, or folders of them.

    The channels are called as modbus_poller calls those of an EPEVER Tracer.
    """
    local = zone(tz)

    def file(path: Path) -> ImportFile:
        return ImportFile(path, lambda names: read(path, node, device, local, repeated_hour or ""))

    return ImportPlan([file(path) for path in files(paths)], ChannelMetadata(UNITS))


class _Layout(NamedTuple):
    """What a header says: the column of times, the channels with the columns of their words, and how many columns there are."""

    time: int
    words: list[tuple[str, list[int]]]
    width: int

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels of the columns."""
        return tuple(channel for channel, _ in self.words)


def read(path: Path, node: str, device: str, local: tzinfo, hour: Hour = "") -> Iterator[Part]:
    """Yield the readings of one file; raise OSError if it cannot be opened."""
    file = TextFile(path)
    times = TimeParser("iso", local)
    layout: _Layout | None = None
    parts = PartBuilder(path, file)
    rows = TimedRows(parts, hour)
    for line in file:
        if not line.text.strip() and not line.error:
            continue
        cells = line.text.split(",")
        try:
            if not line.error and (header := _layout(cells)):
                layout = header
            else:
                row = _row(line, cells, layout, times)
                values = [(node, device, row.channels, row.values)]
                rows.take(TimedRow(row.moment, line.number, line.text, values))
        except ValueError as error:
            parts.set_aside(line.number, str(error), line.text)
        yield from parts.next_record()
    rows.finish()
    yield parts.rest()


class _Row(NamedTuple):
    moment: Moment
    channels: tuple[str, ...]
    values: list[Any]


def _row(line: Line, cells: list[str], layout: _Layout | None, times: TimeParser) -> _Row:
    """Return the values of a line; raise ValueError for one that is torn or holds what no register can."""
    if line.error or "\0" in line.text:
        raise ValueError(line.error or ZEROS)
    if not layout:
        raise ValueError("a row without a header of Solar Protocol's logger before it")
    if len(cells) != layout.width:
        raise ValueError("a row with more or fewer cells than the header")
    if not line.end:
        raise ValueError("the last line has no end: its last number may be torn")
    moment = times.moment(cells[layout.time])
    values = [_value(channel, [_word(cells[index]) for index in indexes]) for channel, indexes in layout.words]
    return _Row(moment, layout.channels, values)


def _layout(cells: list[str]) -> _Layout | None:
    """Return what a header says, None for any other line; raise ValueError for the header of other files."""
    names = [_column(name) for name in cells]
    time = next((names.index(name) for name in TIMES if name in names), None)
    if time is None:
        return None
    words = [
        (channel, [names.index(column) for column in columns])
        for channel, choices in COLUMNS.items()
        for columns in choices
        if all(column in names for column in columns)
    ]
    if not words:
        raise ValueError("a header without any column of Solar Protocol's logger")
    if twice := [name for name in {*names} if name and names.count(name) > 1]:
        raise ValueError(f"a header with two columns {' and '.join(sorted(twice))}")
    return _Layout(time, words, len(cells))


def _column(name: str) -> str:
    plain = re.sub(r"[^a-z]", "", name.lower())
    return f"pv{plain.removeprefix('solar')}" if plain.startswith("solar") else plain


def _word(cell: str) -> int:
    try:
        value = float(cell) * 100
    except ValueError:
        raise ValueError("a cell that is not a number") from None
    if not 0 <= value < 65_536:
        raise ValueError("a number that no register holds")
    return round(value)


def _value(channel: str, words: list[int]) -> Value:
    """Return a value as services/modbus_poller's model epever_tracer has it: hundredths, and whole percents."""
    number = words[0] | words[1] << 16 if len(words) == 2 else words[0]
    return number / 100 if channel in HUNDREDTHS else number
