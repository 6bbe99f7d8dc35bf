"""Readings on their way into a frame: which values are good, and how readings are put together. Pure."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import islice, takewhile
from typing import NamedTuple

from heliograph import topics
from heliograph.messages import Block, Value, is_value

KNOWN_NAMES = 10_000
LATEST = 1 << 40  # seconds; storage decides which times are absurd, but a time must be a number

SetAside = Callable[[str, str, str], None]  # why, what, where


class Pending(NamedTuple):
    """A reading that is not in the outbox yet."""

    device: str
    boot: str  # of the boot whose seconds `time` counts; empty: time is UTC
    time: float
    values: dict[str, Value]
    shown: float  # the system clock's time, right or wrong


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


class ValueCheck:
    """Sorts out what cannot be stored: NaN, infinity, long texts, names that would change the topic tree."""

    def __init__(self, set_aside: SetAside) -> None:
        self._set_aside = set_aside
        self._devices: set[str] = set()  # names that are known to be good
        self._channels: set[str] = set()

    def good(self, device: str, values: Mapping[str, Value], at: float | None) -> dict[str, Value]:
        """Return the good values of a reading, and set the others aside one by one; none if device or time is bad."""
        if device not in self._devices:
            if not topics.is_name(device):
                self._set_aside("not the name of a device", shown(device), "")
                return {}
            if len(self._devices) < KNOWN_NAMES:
                self._devices.add(device)
        if at is not None and not 0 <= at <= LATEST:
            self._set_aside("not a time", shown(at), device)
            return {}
        if self._channels.issuperset(values) and are_finite(values):
            return dict(values)
        good = {channel: value for channel, value in values.items() if is_good(channel, value)}
        for channel in [name for name in values if name not in good]:
            self._set_aside("not a channel and value", f"{shown(channel)}={shown(values[channel])}", device)
        if len(self._channels) < KNOWN_NAMES:
            self._channels.update(good)
        return good


def are_finite(values: Mapping[str, Value]) -> bool:
    """Whether all values are finite numbers: at the price of one sum, for the case that is nearly all of them."""
    try:
        return math.isfinite(sum(values.values()))  # type: ignore[arg-type]
    except (TypeError, OverflowError):
        return False


def same_boot(readings: Sequence[Pending], most: int) -> list[Pending]:
    """Return the first readings, at most `most` of them, whose times all count from the same moment."""
    boot = readings[0].boot
    return list(takewhile(lambda reading: reading.boot == boot, islice(readings, most)))


def is_good(channel: str, value: object) -> bool:
    """Whether a channel may have this name and this value; half a surrogate pair cannot be written as JSON."""
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        return False
    return topics.is_channel(channel) and is_value(value)


def shown(value: object) -> str:
    """Return the first 200 characters of a bad value of any type."""
    try:
        return repr(value)[:200]
    except ValueError:
        return "a number with thousands of digits"
