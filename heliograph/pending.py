"""Readings on their way into a frame: pure."""

import math
from collections.abc import Mapping, Sequence
from itertools import islice, takewhile
from typing import NamedTuple

from heliograph import topics
from heliograph.messages import Block, Value, is_value


class Pending(NamedTuple):
    """A reading that is not in the outbox yet."""

    device: str
    boot: str  # of the boot whose seconds `time` counts; empty: time is UTC
    time: float
    values: dict[str, Value]
    shown: float  # what the system clock said, right or wrong


def columnar(readings: list[Pending]) -> list[Block]:
    """Return readings as blocks: one per device and set of channels, in the order of first appearance."""
    blocks: dict[tuple[str, tuple[str, ...]], Block] = {}
    for reading in readings:
        channels = tuple(reading.values)
        block = blocks.get((reading.device, channels))
        if block is None:
            block = blocks[reading.device, channels] = Block(reading.device, channels, [])
        block.rows.append([reading.time, *reading.values.values()])
    return list(blocks.values())


def finite(values: Mapping[str, Value]) -> bool:
    """Whether all values are finite numbers: at the price of one sum, for the case that is nearly all of them."""
    try:
        return math.isfinite(sum(values.values()))  # type: ignore[arg-type]
    except (TypeError, OverflowError):
        return False


def same_boot(readings: Sequence[Pending], most: int) -> list[Pending]:
    """Return the first readings, at most so many, whose times all count from the same moment."""
    boot = readings[0].boot
    return list(takewhile(lambda reading: reading.boot == boot, islice(readings, most)))


def is_good(channel: str, value: object) -> bool:
    """Whether a channel may be called this and have this value; half a surrogate pair cannot be written as JSON."""
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        return False
    return topics.is_channel(channel) and is_value(value)


def shown(value: object) -> str:
    """Return how a bad value began, whatever it is."""
    try:
        return repr(value)[:200]
    except ValueError:
        return "a number with thousands of digits"
