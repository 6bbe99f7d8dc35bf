"""JSON lines as `heliograph-store export` and the API's /export write them: a value, or a bucket's functions, per line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from heliograph import topics
from services.storage.csv_files import channel_name
from services.storage.importing import Blocks, Mistake, Part
from services.storage.text_lines import TextFile

LINES = 1_000  # of one part
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class _Reading(NamedTuple):
    node: str
    device: str
    time: float
    values: dict[str, Any]


def read(path: Path) -> Iterator[Part]:
    """Yield the readings of one file; raise OSError if it cannot be opened.

    Lines of one device and time that follow each other are one reading.
    """
    file = TextFile(path)
    blocks, mistakes, done = Blocks(), list[Mistake](), 0
    open_reading: _Reading | None = None
    for line in file:
        try:
            if line.wrong:
                raise ValueError(line.wrong)
            reading = _reading(line.text) if line.text.strip() else None
        except ValueError as error:
            mistakes.append(Mistake(f"{path}:{line.number}", str(error), line.text[:200]))
            reading = None
        if reading and open_reading:
            if reading[:3] == open_reading[:3] and not reading.values.keys() & open_reading.values.keys():
                open_reading.values.update(reading.values)
                reading = None
            else:
                _add(blocks, open_reading)
        open_reading = reading or open_reading
        if line.number % LINES == 0:
            yield Part(blocks.take(), mistakes, file.position - done)
            mistakes, done = [], file.position
    if open_reading:
        _add(blocks, open_reading)
    yield Part(blocks.take(), mistakes, file.position - done)


def _add(blocks: Blocks, reading: _Reading) -> None:
    if reading.values:
        blocks.add(reading.node, reading.device, tuple(reading.values), [reading.time, *reading.values.values()])


def _reading(text: str) -> _Reading:
    """Return what a line says; raise ValueError for anything else. A bucket's `mean` of `power` is `power_mean`."""
    try:
        entries = _decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("a line that is not a JSON object") from None
    time, series = entries.pop("time", None), entries.pop("series", None)
    if isinstance(time, bool) or not isinstance(time, int | float):
        raise ValueError("a line without a time in seconds since 1970")
    parts = series.split("/") if isinstance(series, str) else []
    if len(parts) != 3 or not topics.is_name(parts[0]) or not topics.is_name(parts[1]):
        raise ValueError("a line without a series node/device/channel")
    node, device, channel = parts
    values = {
        channel_name(channel if key == "value" else f"{channel}_{key}"): value
        for key, value in entries.items()
        if value is not None
    }
    return _Reading(node, device, time, values)
