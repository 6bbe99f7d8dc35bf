"""Solar Protocol's daily files of an EPEVER Tracer: tracerDataYYYY-MM-DD.csv.

Its logger (charge-controller/csv_datalogger.py) divides each input register by 100 and writes what comes out, with
the naive local time: the words of 32-bit powers apart, the state of charge, which the controller gives in percent,
as a fraction. Files of August 2020 have names like solarVoltage, or spaces before some names; the order is the same.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import tzinfo
from pathlib import Path
from typing import Any

import click

from heliograph.messages import Value
from heliograph.store.buckets import zone
from services.storage.importers.shared.options import device_options
from services.storage.importers.shared.parts import ChannelMetadata, ImportFile, ImportPlan, Part, PartBuilder
from services.storage.importers.shared.text_lines import ZEROS, Line, TextFile
from services.storage.importers.shared.times import TimeParser

# Channel → columns (low word, high word), by their names without spaces, signs and capitals.
COLUMNS: dict[str, tuple[str, ...]] = {
    "pv_voltage": ("pvvoltage",),
    "pv_current": ("pvcurrent",),
    "pv_power": ("pvpowerl", "pvpowerh"),
    "battery_voltage": ("batteryvoltage",),
    "charge_current": ("batterycurrent",),
    "charge_power": ("batterypowerl", "batterypowerh"),
    "load_voltage": ("loadvoltage",),
    "load_current": ("loadcurrent",),
    "load_power": ("loadpower",),
    "battery_soc": ("batterypercentage",),
}
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
def plan(paths: Sequence[Path], *, node: str, device: str, tz: str) -> ImportPlan:
    """Solar Protocol's tracerDataYYYY-MM-DD.csv: files, or folders of them.

    The channels are called as modbus_poller calls those of an EPEVER Tracer.
    """
    local = zone(tz)

    def file(path: Path) -> ImportFile:
        return ImportFile(path, lambda names: read(path, node, device, local))

    return ImportPlan([file(path) for path in files(paths)], ChannelMetadata(UNITS))


def read(path: Path, node: str, device: str, local: tzinfo) -> Iterator[Part]:
    """Yield the readings of one file; raise OSError if it cannot be opened."""
    file = TextFile(path)
    times = TimeParser("iso", local)
    layout: list[tuple[str, list[int]]] = []
    width = 0
    parts = PartBuilder(path, file)
    for line in file:
        if not line.text.strip() and not line.error:
            continue
        cells = line.text.split(",")
        try:
            if not line.error and _column(cells[0]) == "datetime":
                layout, width = _layout(cells), len(cells)
            else:
                parts.add(node, device, *_row(line, cells, width, layout, times))
        except ValueError as error:
            parts.set_aside(line.number, str(error), line.text)
        yield from parts.next_record()
    yield parts.rest()


def _row(
    line: Line, cells: list[str], width: int, layout: list[tuple[str, list[int]]], times: TimeParser
) -> tuple[tuple[str, ...], list[Any]]:
    """Return channels and row of a line; raise ValueError for one that is torn or holds what no register can."""
    if line.error or "\0" in line.text:
        raise ValueError(line.error or ZEROS)
    if not layout:
        raise ValueError("a row without a header of Solar Protocol's logger before it")
    if len(cells) != width:
        raise ValueError("a row with more or fewer cells than the header")
    if not line.end:
        raise ValueError("the last line has no end: its last number may be torn")
    row: list[Any] = [_time(times, cells[0])]
    row += (_value(channel, [_word(cells[index]) for index in indexes]) for channel, indexes in layout)
    return tuple(channel for channel, _ in layout), row


def _layout(header: list[str]) -> list[tuple[str, list[int]]]:
    """Return the channels of a header, each with the indexes of its words."""
    indexes: Mapping[str, int] = {_column(name): index for index, name in enumerate(header)}
    layout = [
        (channel, [indexes[column] for column in columns])
        for channel, columns in COLUMNS.items()
        if all(column in indexes for column in columns)
    ]
    if not layout:
        raise ValueError("a header without any column of Solar Protocol's logger")
    return layout


def _column(name: str) -> str:
    plain = re.sub(r"[^a-z]", "", name.lower())
    return f"pv{plain.removeprefix('solar')}" if plain.startswith("solar") else plain


def _time(times: TimeParser, cell: str) -> float:
    try:
        return times.seconds(cell)
    except ValueError:
        raise ValueError("not a time") from None


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
