"""Points of the line protocol as readings: which node, device and channel a line means."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from heliograph import line_protocol, topics
from heliograph.line_protocol import Point
from services.storage.csv_files import channel_name
from services.storage.importing import Blocks, Mistake, Part
from services.storage.text_lines import ZEROS, TextFile, records
from services.storage.times import PER_SECOND

RECORDS = 1_000  # of one part
PREAMBLE = "CREATE DATABASE "  # of `influx_inspect export`, below "# DDL"


class Naming(NamedTuple):
    """What the user says about names and times; empty: what the lines say."""

    node: str = ""
    device: str = ""
    device_tag: str = ""
    channel_tag: str = ""
    fields: frozenset[str] = frozenset()
    precision: str = "ns"


def read(path: Path, naming: Naming) -> Iterator[Part]:
    """Yield the readings of one file; raise OSError if it cannot be opened."""
    file = TextFile(path)
    blocks, mistakes, done = Blocks(), list[Mistake](), 0
    points = records(file, _point, line_protocol.Unfinished, line_protocol.is_unfinished)
    for count, record in enumerate(points, 1):
        try:
            if record.wrong:
                raise ValueError(record.wrong)
            if record.value:
                node, device, channels, row = reading(record.value, naming)
                if channels:
                    blocks.add(node, device, channels, row)
        except ValueError as error:
            mistakes.append(Mistake(f"{path}:{record.number}", str(error), record.text[:200]))
        if count % RECORDS == 0:
            yield Part(blocks.take(), mistakes, file.position - done)
            mistakes, done = [], file.position
    yield Part(blocks.take(), mistakes, file.position - done)


def _point(text: str) -> Point | None:
    point = None if text.startswith(PREAMBLE) else line_protocol.parse(text)
    if (
        point
        and "\0" in text
        and "\0" in "".join((point.measurement, *point.fields, *point.tags, *point.tags.values()))
    ):
        raise ValueError(ZEROS)
    return point


def reading(point: Point, naming: Naming) -> tuple[str, str, tuple[str, ...], list[Any]]:
    """Return node, device, channels and row of a point; raise ValueError for one without a time or names.

    Without a tag that names the device, measurement and tag values together do: hosts must not become one.
    """
    if point.time is None:
        raise ValueError("a line without a time")
    tags = dict(point.tags)
    node = naming.node or tags.get("node", "")
    tags.pop("node", None)
    if not topics.is_name(node):
        raise ValueError("no node: say --node")
    prefix = tags.pop(naming.channel_tag, "") if naming.channel_tag else ""
    if naming.device_tag:
        if naming.device_tag not in tags:
            raise ValueError(f"a line without the tag {naming.device_tag}")
        device = _device(tags[naming.device_tag])
    else:
        device = naming.device or _device(tags.get("device") or "_".join([point.measurement, *tags.values()]))
    row: list[Any] = [point.time / PER_SECOND[naming.precision]]
    channels: list[str] = []
    for field, value in point.fields.items():
        if naming.fields and field not in naming.fields:
            continue
        name = (prefix if field == "value" else f"{prefix}_{field}") if prefix else field
        channel = channel_name(name)
        if channel in channels:
            raise ValueError(f"two fields become the channel {channel}")
        channels.append(channel)
        row.append(value)
    return node, device, tuple(channels), row


def _device(text: str) -> str:
    name = re.sub(r"[^a-z0-9_-]+", "_", text.lower()).strip("_-")[:63]
    if not name:
        raise ValueError(f"{text[:80]!r} leaves no name for a device: say --device or --device-tag")
    return name
