"""CSV files of any origin."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from heliograph.store.buckets import zone
from services.storage.importers.shared.csv_cells import Splitter, Unfinished, is_unfinished
from services.storage.importers.shared.csv_table import Context, CsvError, CsvOptions, CsvTable, table_of
from services.storage.importers.shared.options import (
    channel_metadata,
    checked_name,
    encoding_option,
    metadata_options,
    repeated_hour_option,
    tz_option,
)
from services.storage.importers.shared.parts import ChannelMetadata, ImportFile, ImportPlan, Part, PartBuilder
from services.storage.importers.shared.text_lines import TextFile, records


@click.option(
    "--node", callback=checked_name, default="", help="The node, for columns that are not called node/device/channel."
)
@click.option("--device", callback=checked_name, default="", help="The device, for the same.")
@click.option(
    "--time",
    multiple=True,
    metavar="COLUMN",
    help="The column of times; given twice, those of dates and of times of day.  [default: time, timestamp, date …]",
)
@click.option(
    "--header", default="", metavar="NAMES", help="Names of the columns of a file without a header: time,power"
)
@encoding_option
@click.option(
    "--time-format",
    default="auto",
    show_default=True,
    help="auto, iso, s, ms, us, ns, or like %d.%m.%Y %H:%M:%S",
)
@tz_option
@repeated_hour_option
@click.option(
    "--layout",
    type=click.Choice(["auto", "wide", "long"]),
    default="auto",
    show_default=True,
    help="wide: a column per channel; long: a row per value.",
)
@click.option(
    "--series-column",
    "series",
    default="",
    metavar="COLUMN",
    help="Long: the column of names.  [default: series, name …]",
)
@click.option(
    "--value-column", "value", default="", metavar="COLUMN", help="Long: the column of values.  [default: value, state]"
)
@click.option(
    "--column", "renamed", multiple=True, metavar="HEADER=CHANNEL", help="Rename a column; HEADER= leaves it out."
)
@click.option(
    "--delimiter", default="", metavar="CHARACTER", help="[default: , ; tab or |, whichever the header has most of]"
)
@click.option("--decimal-comma", is_flag=True, help="1,5 is one and a half.")
@metadata_options
def plan(paths: Sequence[Path], *, renamed: Sequence[str], tz: str, **options: Any) -> ImportPlan:
    """CSV files, plain or gzip, with a header.

    A column called `Power (W)` becomes the channel power with the unit W; one called roof/meter/power is that series.
    Of the hour that comes twice, the order of the rows tells which is which; rows of which it does not are set aside.
    """
    metadata = channel_metadata(options)
    units_by_channel = dict(metadata.units)
    if any("=" not in text for text in renamed):
        raise click.BadParameter("write HEADER=CHANNEL", param_hint="--column")
    if len(options["delimiter"]) > 1:
        raise click.BadParameter("one character", param_hint="--delimiter")
    channels = {header: channel for header, _, channel in (text.rpartition("=") for text in renamed)}
    options["repeated_hour"] = options["repeated_hour"] or ""
    chosen = CsvOptions(zone=zone(tz), channels=channels, **options)
    used: set[str] = set()
    refused: set[str] = set()

    def file(path: Path) -> ImportFile:
        return ImportFile(
            path, lambda names: read(path, chosen, Context(names, metadata.kinds, units_by_channel, used, refused))
        )

    def complaints() -> list[str]:
        return [
            *(f"--column: no column and no series is called {header!r}" for header in channels if header not in used),
            *(f"nothing of {channel} was imported; the lines set aside say why" for channel in sorted(refused)),
        ]

    return ImportPlan(
        [file(path) for path in paths], ChannelMetadata(units_by_channel, metadata.kinds), complaints, metadata
    )


def read(path: Path, options: CsvOptions, context: Context) -> Iterator[Part]:
    """Yield the readings of one file; raise OSError if it cannot be opened, CsvError if its header does not suffice."""
    file = TextFile(path, options.encoding)
    splitter = Splitter(options.delimiter, decimal_comma=options.decimal_comma)
    parts = PartBuilder(path, file)
    table: CsvTable | None = None
    if options.header:
        names = Splitter(",").split(options.header)
        table = table_of(path, names, options, context, parts)
        splitter.width = len(names)
    for record in records(file, splitter.split, Unfinished, is_unfinished):
        if table is None and record.error:
            raise CsvError(f"{path}: the first line cannot be read: {record.error}")
        if table is None and record.value:
            table = table_of(path, record.value, options, context, parts)
            splitter.width = len(record.value)
            continue
        try:
            if record.error:
                raise ValueError(record.error)
            if table and record.value:
                table.take(record.number, record.text, record.value)
        except ValueError as error:
            parts.set_aside(record.number, str(error), record.text)
        yield from parts.next_record()
    if table is None:
        parts.set_aside(0, "an empty file", "")
    else:
        table.finish()
    yield parts.rest()
