"""Points of InfluxDB's line protocol as readings: which node, device and channel a line means."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click

from heliograph import line_protocol, topics
from heliograph.line_protocol import LinePoint
from services.storage.importers.shared.names import SeriesNames
from services.storage.importers.shared.options import channel_metadata, checked_name, metadata_options
from services.storage.importers.shared.parts import ImportFile, ImportPlan, Part, PartBuilder
from services.storage.importers.shared.text_lines import ZEROS, TextFile, records
from services.storage.importers.shared.times import PER_SECOND

PREAMBLE = "CREATE DATABASE "  # of `influx_inspect export`, below "# DDL"


class Options(NamedTuple):
    """What the user states about names and times; empty: what the lines state."""

    node: str = ""
    device: str = ""
    device_tag: str = ""
    channel_tag: str = ""
    fields: frozenset[str] = frozenset()
    precision: str = "ns"
    merge: bool = False


class ImportedReading(NamedTuple):
    """A point as a row: its time, and a value for each channel; mistakes are fields that are left out."""

    node: str
    device: str
    channels: list[str]
    row: list[Any]
    mistakes: list[str]


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
@click.option("--field", "fields", multiple=True, help="Import only this field; may be repeated.")
@click.option(
    "--precision",
    type=click.Choice(["ns", "us", "ms", "s"]),
    default="ns",
    show_default=True,
    help="Unit of the times.",
)
@click.option(
    "--merge",
    is_flag=True,
    help="With --device or --device-tag: lines that differ in measurement or other tags may be one series.",
)
@metadata_options
def plan(paths: Sequence[Path], *, fields: Sequence[str], **options: Any) -> ImportPlan:
    """InfluxDB's line protocol, plain or gzip: what `influx_inspect export` and `influxd inspect export-lp` write."""
    metadata = channel_metadata(options)
    chosen = Options(fields=frozenset(fields), **options)
    named = {
        **dict.fromkeys(fields, "--field"),
        **({chosen.channel_tag: "--channel-tag"} if chosen.channel_tag else {}),
    }
    used: set[str] = set()

    def complaints() -> list[str]:
        return [f"{option}: no line has {name!r}" for name, option in named.items() if name not in used]

    files = [ImportFile(path, partial(read, path, chosen, used=used)) for path in paths]
    return ImportPlan(files, metadata, complaints, given=metadata)


def read(path: Path, options: Options, names: SeriesNames, used: set[str]) -> Iterator[Part]:
    """Yield the readings of one file, and add its tags and fields to those `used`; raise OSError if it cannot be opened."""
    file = TextFile(path)
    parts = PartBuilder(path, file)
    for record in records(file, _point, line_protocol.UnfinishedLine, line_protocol.is_unfinished):
        try:
            if record.error:
                raise ValueError(record.error)
            if record.value:
                used.update(record.value.tags, record.value.fields)
                reading = reading_of(record.value, options, names)
                for mistake in reading.mistakes:
                    parts.set_aside(record.number, mistake, record.text)
                if reading.channels:
                    parts.add(reading.node, reading.device, tuple(reading.channels), reading.row, record.number)
        except ValueError as error:
            parts.set_aside(record.number, str(error), record.text)
        yield from parts.next_record()
    yield parts.rest()


def _point(text: str) -> LinePoint | None:
    point = None if text.startswith(PREAMBLE) else line_protocol.parse(text)
    if (
        point
        and "\0" in text
        and "\0" in "".join((point.measurement, *point.fields, *point.tags, *point.tags.values()))
    ):
        raise ValueError(ZEROS)
    return point


def reading_of(point: LinePoint, options: Options, names: SeriesNames) -> ImportedReading:
    """Return the reading that a point is; raise ValueError for one without a time, a node or a device.

    Without a tag that names the device, measurement and tag values together do: hosts must not become one. With one,
    a field is left out if a line of another measurement or with other tags had the same series before.
    """
    if point.time is None:
        raise ValueError("a line without a time")
    tags = dict(point.tags)
    origin = line_protocol.head(point.measurement, tags)
    node = options.node or tags.get("node", "")
    tags.pop("node", None)
    if not topics.is_name(node):
        raise ValueError("no node: give --node")
    prefix = tags.pop(options.channel_tag, "") if options.channel_tag else ""
    device = options.device or _device(node, point.measurement, tags, options.device_tag, names)
    reading = ImportedReading(node, device, [], [point.time / PER_SECOND[options.precision]], [])
    for field, value in point.fields.items():
        if options.fields and field not in options.fields:
            continue
        text = (prefix if field == "value" else f"{prefix}_{field}") if prefix else field
        try:
            channel = names.channel(node, device, text)
            if not options.merge:
                names.claim((node, device, channel), f"{origin} {field}", "--merge takes them for one series")
        except ValueError as error:
            reading.mistakes.append(str(error))
        else:
            reading.channels.append(channel)
            reading.row.append(value)
    return reading


def _device(node: str, measurement: str, tags: dict[str, str], device_tag: str, names: SeriesNames) -> str:
    if device_tag and device_tag not in tags:
        raise ValueError(f"a line without the tag {device_tag}")
    if tag := tags.get(device_tag or "device"):
        return names.device(node, tag)
    return names.device(node, "_".join([measurement, *tags.values()]), line_protocol.head(measurement, tags))
