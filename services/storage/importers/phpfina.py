"""Feeds of emoncms' engine PHPFina: fixed interval, one float32 each.

`<id>.meta` is 16 bytes, four unsigned 32-bit integers, little endian: the id and the number of points (both
unused, whatever they say), the interval in seconds and the time of the first point in seconds since 1970 UTC.
`<id>.dat` is one little-endian float32 per interval from there on, NaN where there is none; its size says how many there are. Source: emoncms, docs/timeseries/Fixed-interval.md and get_meta() in Modules/feed/engine/PHPFina.php.
"""

import struct
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from heliograph.messages import Block
from services.storage.importers.shared.feeds import Feed, feed_options, plan_feeds
from services.storage.importers.shared.parts import ImportPlan, Mistake, Part

META = struct.Struct("<4I")
VALUE_SIZE = 4  # bytes
POINTS = 16_384  # of one part


@feed_options
def plan(paths: Sequence[Path], **options: Any) -> ImportPlan:
    """Feeds of emoncms with a fixed interval (PHPFina): ID.dat with ID.meta beside it, or folders of them."""
    return plan_feeds(feeds(paths), read, **options)


def feeds(paths: Iterable[Path]) -> list[Feed]:
    """Return the feeds that files (`12.dat` or `12.meta`) and folders of them name, each once, by number."""
    dat_files: set[Path] = set()
    for path in paths:
        files = [*path.glob("*.dat"), *path.glob("*.meta")] if path.is_dir() else [path]
        dat_files.update(file.with_suffix(".dat") for file in files if file.suffix in (".dat", ".meta"))
    return sorted(Feed(int(file.stem), file) for file in dat_files if file.stem.isdecimal())


def read(feed: Feed, node: str, device: str, channel: str) -> Iterator[Part]:
    """Yield a feed's values as readings of one channel, float32 widened; raise OSError if a file cannot be read."""
    raw = feed.path.with_suffix(".meta").read_bytes()
    if len(raw) < META.size:
        yield _unreadable(feed, f"the .meta file has {len(raw)} bytes; it needs {META.size}")
        return
    _, _, interval, start = META.unpack_from(raw)
    if not interval:
        yield _unreadable(feed, "the interval in the .meta file is 0 s")
        return
    with feed.path.open("rb") as file:
        index = 0
        while data := file.read(POINTS * VALUE_SIZE):
            mistakes = []
            if rest := len(data) % VALUE_SIZE:
                mistakes.append(Mistake(str(feed.path), "a torn value at the end", data[-rest:].hex()))
            numbers = array("f")
            numbers.frombytes(data[: len(data) - rest])
            if sys.byteorder == "big":
                numbers.byteswap()
            times = range(start + index * interval, start + (index + len(numbers)) * interval, interval)
            rows: list[list[Any]] = [
                [time, number] for time, number in zip(times, numbers, strict=True) if number == number
            ]
            index += len(numbers)
            yield Part([(node, Block(device, (channel,), rows))], mistakes, len(data))


def _unreadable(feed: Feed, why: str) -> Part:
    return Part([], [Mistake(str(feed.path), why)], feed.path.stat().st_size)
