"""Feeds of emoncms' engine PHPTimeSeries: a time and a float32 each.

`feed_<id>.MYD` is a row of records of 9 bytes: 249, the time in seconds since 1970 UTC as an unsigned 32-bit
integer, the value as a float32, both little endian. Source: emoncms, docs/timeseries/Variable-interval.md and
post() in Modules/feed/engine/PHPTimeSeries.php (`pack("CIf", 249, …)`; a file whose size is not a multiple of 9 was
torn by a power cut, and written on from the next multiple).
"""

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from heliograph.messages import Block
from heliograph.store.readings import EARLIEST, LATEST
from services.storage.importers.shared.feeds import Feed, feed_options, plan_feeds
from services.storage.importers.shared.parts import ImportPlan, Mistake, Part

RECORD = struct.Struct("<BIf")
MARK = 249
NAME = re.compile(r"feed_(\d+)")
RECORDS = 16_384  # of one part
LOOKAHEAD = 4 * RECORD.size  # what has to be known after a record to judge it


@feed_options
def plan(paths: Sequence[Path], **options: Any) -> ImportPlan:
    """Feeds of emoncms with times of their own (PHPTimeSeries): feed_ID.MYD, or folders of them."""
    return plan_feeds(feeds(paths), read, **options)


def feeds(paths: Iterable[Path]) -> list[Feed]:
    """Return the feeds that files (`feed_12.MYD`) and folders of them name, by number."""
    files = {file for path in paths for file in (path.glob("feed_*.MYD") if path.is_dir() else [path])}
    named = ((NAME.fullmatch(file.stem), file) for file in files)
    return sorted(Feed(int(match[1]), file) for match, file in named if match)


def read(feed: Feed, node: str, device: str, channel: str) -> Iterator[Part]:
    """Yield a feed's values as readings of one channel, float32 widened; raise OSError if the file cannot be read.

    What is not a record is set aside up to where records begin again.
    """
    with feed.path.open("rb") as file:
        position, data, lost = 0, b"", False
        while True:
            fresh = file.read(RECORDS * RECORD.size)
            data += fresh
            rows, mistakes, used, lost = _records(data, f"{feed.path} at byte ", position, lost=lost, last=not fresh)
            yield Part([(node, Block(device, (channel,), rows))], mistakes, len(fresh))
            if not fresh:
                return
            position, data = position + used, data[used:]


def _records(
    data: bytes, where: str, start: int, *, lost: bool, last: bool
) -> tuple[list[list[Any]], list[Mistake], int, bool]:
    """Return the rows in the data, the mistakes, how many bytes are consumed, and whether they end in noise.

    `lost` is whether the data before ended in noise, which has been counted.
    """
    rows: list[list[Any]] = []
    mistakes = []
    at = 0
    while at + (RECORD.size if last else LOOKAHEAD) <= len(data):
        if _is_record(data, at) and (_is_followed(data, at) or not (lost or _is_torn(data, at))):
            _, time, number = RECORD.unpack_from(data, at)
            if number == number:
                rows.append([time, number])
            at += RECORD.size
            lost = False
            continue
        if not lost:
            mistakes.append(Mistake(f"{where}{start + at}", "not a record", data[at : at + RECORD.size].hex()))
            lost = True
        at += 1
        mark = data.find(MARK, at)
        at = min(mark if mark >= 0 else len(data), max(at, len(data) - (RECORD.size if last else LOOKAHEAD) + 1))
    if last and at < len(data) and not lost:
        mistakes.append(Mistake(f"{where}{start + at}", "a torn record at the end", data[at:].hex()))
    return rows, mistakes, at, lost


def _is_record(data: bytes, at: int) -> bool:
    if data[at] != MARK:
        return False
    return EARLIEST <= int.from_bytes(data[at + 1 : at + 5], "little") <= LATEST


def _is_followed(data: bytes, at: int) -> bool:
    """Whether a record is followed by another one, or by the end."""
    follower = at + RECORD.size
    if follower + RECORD.size > len(data):
        return follower == len(data)
    return _is_record(data, follower)


def _is_torn(data: bytes, at: int) -> bool:
    """Whether records continue before this one could have ended."""
    later = range(at + 1, min(at + RECORD.size, len(data) - RECORD.size + 1))
    return any(_is_record(data, start) and _is_followed(data, start) for start in later)
