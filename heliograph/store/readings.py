"""Which readings a store takes: the checks between a frame and a row, for all implementations. Pure."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol, TypeVar

from heliograph import topics
from heliograph.messages import Block, Info, Kind, Value, is_value
from heliograph.store.interface import Refusal

EARLIEST = 946_684_800.0  # 2000-01-01: the hardware did not exist before
LATEST = 4_102_444_800.0  # 2100-01-01: the limit while the system clock is not set
FUTURE_SECONDS = 86_400.0  # a producer's clock this far ahead is wrong
MOST_CHANNELS = 1_000
NAN = math.nan
TIMES = (float, int)  # not bool, which is an int too


class RowLayout(Protocol):
    """The channels of one kind of reading, in the order of its values."""

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kind of each channel."""
        ...

    @property
    def texts(self) -> bool:
        """Whether a channel is a text."""
        ...


L = TypeVar("L", bound=RowLayout)
L_co = TypeVar("L_co", bound=RowLayout, covariant=True)


class NameIndex(Protocol[L_co]):
    """Gives numbers to names."""

    def layout(self, node: str, device: str, channels: tuple[str, ...], example: list[Value]) -> L_co:
        """Return the layout of a device's reading; a channel that was not declared gets its kind from the example."""
        ...

    def word(self, text: str) -> int:
        """Return the number of a text."""
        ...


def latest_time(now: float, *, clock_is_right: bool) -> float:
    """Return the latest time that a reading may have when the clock shows `now`; both in seconds UTC."""
    return now + FUTURE_SECONDS if clock_is_right else LATEST


def refused_info(device: str, info: Info) -> list[Refusal]:
    """Return why a store refuses the info of a device; empty if it is good."""
    if topics.is_name(device) and len(info.channels) <= MOST_CHANNELS and _are_channels(tuple(info.channels)):
        return []
    return [Refusal(_why(device, tuple(info.channels)), f"{device[:80]}: {list(info.channels)[:5]}")]


def _why(device: str, channels: tuple[str, ...]) -> str:
    """Return why a store refuses what a device and its channels are called."""
    if not topics.is_name(device):
        return "not the name of a device"
    if len(channels) > MOST_CHANNELS:
        return f"{len(channels)} channels of one device, which has at most {MOST_CHANNELS}"
    return "not the names of channels, each once"


def refused_kind(device: str, channel: str) -> Refusal:
    """Return the refusal of a channel whose kind would change between number and text."""
    return Refusal("a channel cannot change between text and number", f"{device}/{channel}")


def rows(
    names: NameIndex[L], node: str, block: Block, latest: float, refusals: list[Refusal]
) -> list[tuple[L, int, Sequence[float]]]:
    """Return (layout, ms UTC, numbers) of each reading of a block, NaN for an absent value; add bad rows to `refusals`."""
    channels = block.channels
    if not topics.is_name(block.device) or not 0 < len(channels) <= MOST_CHANNELS or not _are_channels(channels):
        refusals.append(Refusal(_why(block.device, channels), f"{block.device}: {channels}"[:200]))
        return []
    checked: list[tuple[L, int, Sequence[float]]] = []
    layout: L | None = None
    width = len(channels) + 1
    finite = math.isfinite
    for row in block.rows:
        if len(row) != width or type(row[0]) not in TIMES or not EARLIEST <= row[0] <= latest:
            refusals.append(Refusal("not a time and values", repr(row)[:200]))
            continue
        values = row[1:]
        if layout is None:
            layout = names.layout(node, block.device, channels, values)
        try:
            # finite numbers and booleans are taken as they are; other values are checked one by one
            plain = not layout.texts and finite(sum(values))
            numbers = values if plain else _numbers(names, layout, values, refusals)
        except (TypeError, OverflowError):
            numbers = _numbers(names, layout, values, refusals)
        checked.append((layout, round(row[0] * 1000), numbers))
    return checked


def _numbers(names: NameIndex[L], layout: L, values: list[Value | None], refusals: list[Refusal]) -> list[float]:
    numbers: list[float] = []
    for value, kind in zip(values, layout.kinds, strict=True):
        if value is None:
            numbers.append(NAN)
        elif not is_value(value) or (isinstance(value, str) and kind != "text"):
            refusals.append(Refusal(f"not a value of kind {kind}", repr(value)[:200]))
            numbers.append(NAN)
        elif kind == "text":
            numbers.append(names.word(value if isinstance(value, str) else str(value)))
        else:
            numbers.append(float(value))
    return numbers


@lru_cache(1024)
def _are_channels(channels: tuple[str, ...]) -> bool:
    return all(map(topics.is_channel, channels)) and len(set(channels)) == len(channels)
