"""`heliograph-store import …`: a command for each kind of files."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from heliograph import topics
from heliograph.store.buckets import zone
from heliograph.store.interface import Series
from services.storage import csv_files, json_lines, line_points, phpfina, phptimeseries, tracer_files
from services.storage.import_options import (
    checked_name,
    device_options,
    dry_run_option,
    meaning_options,
    paths_argument,
    said,
    tz_option,
)
from services.storage.import_session import Source, run
from services.storage.importing import Meaning, Part
from services.storage.place import Place, store_options

feed_option = click.option(
    "--feed",
    "named",
    multiple=True,
    metavar="ID=CHANNEL",
    help="Import this feed, under this name.  [default: every feed, as feed_ID]",
)


@click.group("import")
def import_group() -> None:
    """Bring readings of other systems into the store.

    Storage must be stopped meanwhile. Importing the same again changes nothing, so an import that was cut off is
    simply repeated. What cannot be used is counted and shown; the rest is kept.
    """


@import_group.command("tracer")
@store_options
@paths_argument
@device_options
@click.option("--tz", required=True, help="Time zone in which the files were written: America/New_York")
@dry_run_option
def tracer_command(place: Place, paths: tuple[Path, ...], node: str, device: str, tz: str, dry_run: bool) -> None:
    """Solar Protocol's tracerDataYYYY-MM-DD.csv: files, or folders of them.

    The channels are called as modbus_poller calls those of an EPEVER Tracer.
    """
    local = zone(tz)
    files = tracer_files.files(list(paths))
    source = Source(files, lambda number, known: tracer_files.read(files[number], node, device, local))
    run(place, source, tracer_files.MEANING, dry_run=dry_run)


@import_group.command("phpfina")
@store_options
@paths_argument
@device_options
@feed_option
@meaning_options
@dry_run_option
def phpfina_command(place: Place, paths: tuple[Path, ...], dry_run: bool, **options: Any) -> None:
    """Feeds of emoncms with a fixed interval (PHPFina): ID.dat with ID.meta beside it, or folders of them."""
    _feeds(place, phpfina.feeds(list(paths)), phpfina.read, dry_run=dry_run, **options)


@import_group.command("phptimeseries")
@store_options
@paths_argument
@device_options
@feed_option
@meaning_options
@dry_run_option
def phptimeseries_command(place: Place, paths: tuple[Path, ...], dry_run: bool, **options: Any) -> None:
    """Feeds of emoncms with times of their own (PHPTimeSeries): feed_ID.MYD, or folders of them."""
    _feeds(place, phptimeseries.feeds(list(paths)), phptimeseries.read, dry_run=dry_run, **options)


def _feeds(
    place: Place,
    feeds: list[phpfina.Feed],
    read: Callable[[phpfina.Feed, str, str, str], Iterator[Part]],
    *,
    node: str,
    device: str,
    named: tuple[str, ...],
    dry_run: bool,
    **given: Any,
) -> None:
    channels: dict[int, str] = {}
    for name in named:
        number, equals, channel = name.partition("=")
        if not equals or not number.isdecimal() or not topics.is_channel(channel):
            raise click.BadParameter(f"{name!r} is not ID=CHANNEL, as in 12=power", param_hint="--feed")
        channels[int(number)] = channel
    missing = set(channels) - {feed.id for feed in feeds}
    if missing or not feeds:
        raise click.ClickException(f"no feed {', '.join(map(str, sorted(missing))) or 'at all'} in the files given")
    chosen = [feed for feed in feeds if not channels or feed.id in channels]
    names = [channels.get(feed.id, f"feed_{feed.id}") for feed in chosen]
    source = Source(
        [feed.path for feed in chosen], lambda number, known: read(chosen[number], node, device, names[number])
    )
    run(place, source, said(given), dry_run=dry_run)


@import_group.command("csv")
@store_options
@paths_argument
@click.option(
    "--node", callback=checked_name, default="", help="The node, for columns that are not called node/device/channel."
)
@click.option("--device", callback=checked_name, default="", help="The device, for the same.")
@click.option("--time", default="", metavar="COLUMN", help="The column of times.  [default: time, timestamp, date …]")
@click.option(
    "--time-format",
    "form",
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
    "--column", "renamed", multiple=True, metavar="HEADER=CHANNEL", help="Call a column so; HEADER= leaves it out."
)
@click.option(
    "--delimiter", default="", metavar="CHARACTER", help="[default: , ; tab or |, whichever the header has most of]"
)
@click.option("--decimal-comma", is_flag=True, help="1,5 is one and a half.")
@meaning_options
@dry_run_option
def csv_command(
    place: Place, paths: tuple[Path, ...], renamed: tuple[str, ...], tz: str, dry_run: bool, **options: Any
) -> None:
    """CSV files, plain or gzip, with a header.

    A column called `Power (W)` becomes the channel power with the unit W; one called roof/meter/power is that series.
    """
    told = said(options)
    found_units = dict(told.units)
    if any("=" not in text for text in renamed):
        raise click.BadParameter("write HEADER=CHANNEL", param_hint="--column")
    if len(options["delimiter"]) > 1:
        raise click.BadParameter("one character", param_hint="--delimiter")
    names = {header: channel for header, _, channel in (text.rpartition("=") for text in renamed)}
    chosen = csv_files.Options(zone=zone(tz), names=names, **options)

    def read(number: int, known: list[Series]) -> Iterable[Part]:
        kinds = {(series.node, series.device, series.channel): series.kind for series in known}

        def is_text(node: str, device: str, channel: str) -> bool | None:
            kind = told.kinds.get(channel) or kinds.get((node, device, channel))
            return kind == "text" if kind else None

        return csv_files.read(paths[number], chosen, is_text, found_units)

    run(place, Source(paths, read), Meaning(found_units, told.kinds), dry_run=dry_run)


@import_group.command("jsonl")
@store_options
@paths_argument
@meaning_options
@dry_run_option
def jsonl_command(place: Place, paths: tuple[Path, ...], dry_run: bool, **options: Any) -> None:
    """JSON lines, plain or gzip, as `heliograph-store export --format jsonl` and the API's /export write them."""
    run(place, Source(paths, lambda number, known: json_lines.read(paths[number])), said(options), dry_run=dry_run)


@import_group.command("line")
@store_options
@paths_argument
@click.option("--node", callback=checked_name, default="", help="The node.  [default: each line's tag `node`]")
@click.option(
    "--device",
    callback=checked_name,
    default="",
    help="One device for all.  [default: the tag `device`, else measurement and tags]",
)
@click.option("--device-tag", default="", metavar="TAG", help="The tag that names the device.")
@click.option(
    "--channel-tag", default="", metavar="TAG", help="The tag that names the channel, where the field is `value`."
)
@click.option("--field", "fields", multiple=True, help="Import this field only (several times: these).")
@click.option(
    "--precision",
    type=click.Choice(["ns", "us", "ms", "s"]),
    default="ns",
    show_default=True,
    help="Unit of the times.",
)
@meaning_options
@dry_run_option
def line_command(place: Place, paths: tuple[Path, ...], dry_run: bool, fields: tuple[str, ...], **options: Any) -> None:
    """InfluxDB's line protocol, plain or gzip: what `influx_inspect export` and `influxd inspect export-lp` write."""
    told = said(options)
    naming = line_points.Naming(fields=frozenset(fields), **options)
    run(place, Source(paths, lambda number, known: line_points.read(paths[number], naming)), told, dry_run=dry_run)
