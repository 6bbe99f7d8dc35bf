"""The devices of the simulated years: what they measure, how often, and in which weeks they live."""

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from heliograph.messages import Channel, Info
from tests.system.year_lists import ChannelType

WORDS = ("float", "bulk", "absorption", "night", "")
LEVEL, RISES = 9_999, 30  # the most that a gauge shows; the most by which a counter rises between two readings
TANK = {
    "level": ChannelType("gauge", 1),
    "energy": ChannelType("counter", 2),
    "today": ChannelType("counter", 3),
    "mode": ChannelType("text", words=WORDS),
    "heating": ChannelType("state"),
}
METER = {"power": ChannelType("gauge", 1), "energy": ChannelType("counter", 2), "temperature": ChannelType("gauge", 2)}
PULSES = {"pulses": ChannelType("counter", 0, rollover=65_536), "voltage": ChannelType("gauge", 1)}
HOUSE = {"net": ChannelType("gauge", 1), "full": ChannelType("state")}
Span = tuple[int, int]  # s UTC, from and up to


class Reading(NamedTuple):
    """One reading: ms UTC, and a whole number for each channel, None where there is none."""

    time: int
    numbers: tuple[int | None, ...]


class Device:
    """Measures every so many seconds in some spans of time; with `jitter` not exactly then."""

    def __init__(
        self, name: str, every: int, channels: dict[str, ChannelType], spans: Sequence[Span], seed: int, *, jitter: bool
    ) -> None:
        self.name = name
        self.channels = channels
        self._every = every
        self._spans = merged(spans)
        self._jitter = jitter
        self._chance = random.Random(f"{seed} {name}")
        self._numbers = dict.fromkeys(channels, 0)
        self._midnights: list[int] = []

    @property
    def info(self) -> Info:
        """What the device says of itself."""
        return Info(
            "Model", {name: Channel("", one.kind, rollover=one.rollover) for name, one in self.channels.items()}
        )

    def restart_daily(self, midnights: Sequence[int]) -> None:
        """Let the counter `today` begin again at these moments (s UTC)."""
        self._midnights = sorted(midnights)

    def set(self, channel: str, number: int) -> None:
        """Let a counter continue from another number: another meter."""
        self._numbers[channel] = number

    def measured(self, after: int, upto: int) -> Iterator[Reading]:
        """Yield the readings after a moment (s UTC) and up to another."""
        for begin, end in self._spans:
            first = max(begin, after + 1)
            for moment in range(-(-first // self._every) * self._every, min(end, upto + 1), self._every):
                yield self._reading(moment)

    def _reading(self, moment: int) -> Reading:
        chance = self._chance.random
        late = int(chance() * 900) - 999 if self._jitter else 0  # never after the moment
        numbers: list[int | None] = []
        while self._midnights and self._midnights[0] <= moment:
            del self._midnights[0]
            self._numbers["today"] = -RISES
        for name, channel in self.channels.items():
            number = self._numbers[name]
            if channel.kind == "gauge":
                number = min(max(number + int(chance() * 41) - 20, -LEVEL), LEVEL)
            elif channel.kind == "counter":
                number = max(0, number + int(chance() * RISES))
                number = number % channel.rollover if channel.rollover else number
            elif chance() < 0.02:
                number = int(chance() * (len(channel.words) or 2))
            self._numbers[name] = number
            numbers.append(None if channel.kind == "gauge" and chance() < 0.01 else number)
        return Reading(moment * 1000 + late, tuple(numbers))


def merged(spans: Sequence[Span]) -> list[Span]:
    """Spans that do not overlap, in order."""
    result: list[Span] = []
    for begin, end in sorted(spans):
        if result and begin <= result[-1][1]:
            result[-1] = result[-1][0], max(end, result[-1][1])
        else:
            result.append((begin, end))
    return result
