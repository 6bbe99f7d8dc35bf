"""CSV files of any origin."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from heliograph.store.buckets import zone
from services.storage.importers.shared.csv_cells import Splitter, Unfinished, is_unfinished
from services.storage.importers.shared.csv_table import Context, CsvOptions, CsvTable, table_of
from services.storage.importers.shared.options import channel_metadata, checked_name, metadata_options, tz_option
from services.storage.importers.shared.parts import ChannelMetadata, ImportFile, ImportPlan, Part, PartBuilder
from services.storage.importers.shared.text_lines import TextFile, records


@click.option(
    "--node", callback=checked_name, default="", help="The node, for columns that are not called node/device/channel."
)
@click.option("--device", callback=checked_name, default="", help="The device, for the same.")
@click.option("--time", default="", metavar="COLUMN", help="The column of times.  [default: time, timestamp, date …]")
@click.option(
    "--time-format",
    default="auto",
    show_default=True,
    help="auto, iso, s, ms, us, ns, or like %d.%m.%Y %H:%M:%S",
)
@tz_option
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
    """
    metadata = channel_metadata(options)
    units_by_channel = dict(metadata.units)
    if any("=" not in text for text in renamed):
        raise click.BadParameter("write HEADER=CHANNEL", param_hint="--column")
    if len(options["delimiter"]) > 1:
        raise click.BadParameter("one character", param_hint="--delimiter")
    channels = {header: channel for header, _, channel in (text.rpartition("=") for text in renamed)}
    chosen = CsvOptions(zone=zone(tz), channels=channels, **options)

    def file(path: Path) -> ImportFile:
        return ImportFile(path, lambda names: read(path, chosen, Context(names, metadata.kinds, units_by_channel)))

    return ImportPlan([file(path) for path in paths], ChannelMetadata(units_by_channel, metadata.kinds))


def read(path: Path, options: CsvOptions, context: Context) -> Iterator[Part]:
    """Yield the readings of one file; raise OSError if it cannot be opened, CsvError if its header does not suffice."""
    file, splitter = TextFile(path), Splitter(options.delimiter)
    table: CsvTable | None = None
    parts = PartBuilder(path, file)
    for record in records(file, splitter.split, Unfinished, is_unfinished):
        if table is None and record.value:
            table = table_of(path, record.value, options, context)
            splitter.width = len(record.value)
            continue
        try:
            if record.error:
                raise ValueError(record.error)
            if table and record.value:
                table.take(record.value, parts)
        except ValueError as error:
            parts.set_aside(record.number, str(error), record.text)
        yield from parts.next_record()
    if table is None:
        parts.set_aside(0, "an empty file", "")
    yield parts.rest()
