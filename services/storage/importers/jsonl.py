"""JSON lines as `heliograph store export` and the API's /export write them: a value, or a bucket's functions, per line."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from heliograph import tolerant_json, topics
from services.storage.importers.shared.names import SeriesNames
from services.storage.importers.shared.options import channel_metadata, metadata_options
from services.storage.importers.shared.parts import ImportFile, ImportPlan, Part, PartBuilder
from services.storage.importers.shared.text_lines import Line, TextFile

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class _Reading(NamedTuple):
    node: str
    device: str
    time: float
    values: dict[str, Any]
    line: int


@metadata_options
def plan(paths: Sequence[Path], **options: Any) -> ImportPlan:
    """JSON lines, plain or gzip, as `heliograph store export --format jsonl` and the API's /export write them."""
    metadata = channel_metadata(options)
    return ImportPlan([ImportFile(path, partial(read, path)) for path in paths], metadata, given=metadata)


def read(path: Path, names: SeriesNames) -> Iterator[Part]:
    """Yield the readings of one file; raise OSError if it cannot be opened.

    Lines of one device and time that follow each other are one reading.
    """
    file = TextFile(path)
    parts = PartBuilder(path, file)
    current: _Reading | None = None
    for line in file:
        reading = None
        try:
            if line.error:
                raise ValueError(line.error)
            if line.text.strip():
                reading = _reading(line, names)
        except ValueError as error:
            parts.set_aside(line.number, str(error), line.text)
        if reading:
            if current and reading[:3] == current[:3] and not reading.values.keys() & current.values.keys():
                current.values.update(reading.values)
            else:
                _add(parts, current)
                current = reading
        yield from parts.next_record()
    _add(parts, current)
    yield parts.rest()


def _add(parts: PartBuilder, reading: _Reading | None) -> None:
    if reading and reading.values:
        parts.add(
            reading.node, reading.device, tuple(reading.values), [reading.time, *reading.values.values()], reading.line
        )


def _reading(line: Line, names: SeriesNames) -> _Reading:
    """Return the reading of a line; raise ValueError for anything else. A bucket's `mean` of `power` is `power_mean`."""
    try:
        text = line.text
        entries = _decode(text)
        if tolerant_json.written_keys(text) != len(entries):
            tolerant_json.refuse_repeated_keys(text)
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("a line that is not a JSON object") from None
    time, series = entries.pop("time", None), entries.pop("series", None)
    if isinstance(time, bool) or not isinstance(time, int | float):
        raise ValueError("a line without a time in seconds since 1970")
    parts = series.split("/") if isinstance(series, str) else []
    if len(parts) != 3 or not topics.is_name(parts[0]) or not topics.is_name(parts[1]):
        raise ValueError("a line without a series node/device/channel")
    if not entries:
        raise ValueError("a line without a value")
    node, device, channel = parts
    values = {
        names.channel(node, device, channel if key == "value" else f"{channel}.{key}"): value
        for key, value in entries.items()
        if value is not None
    }
    return _Reading(node, device, time, values, line.number)
