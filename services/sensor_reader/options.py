"""The [sensor_reader] section of the configuration."""

from pathlib import Path
from typing import ClassVar, Literal

import msgspec

from heliograph import topics
from heliograph.config import Config

SHORTEST, LONGEST = 0.1, 86_400.0


def _check_interval(name: str, seconds: float) -> None:
    if not SHORTEST <= seconds <= LONGEST:
        raise ValueError(f"{name}: {seconds} is not between {SHORTEST} and {LONGEST:.0f} seconds")


class Choice(Config, frozen=True):
    """What to do with one sensor, by its automatic name; "" and 0 leave things as they are."""

    name: str = ""
    interval: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a name that no device can have."""
        if self.name:
            topics.name(self.name)
        if self.interval:
            _check_interval("interval", self.interval)


class Counter(Config, frozen=True):
    """Something that gives pulses on a GPIO line: a meter's LED or S0 output, a rain gauge."""

    RENAMED: ClassVar = {"start": "initial_count"}

    name: str
    line: int | str
    chip: str = ""
    edge: Literal["rising", "falling", "both"] = "falling"
    bias: Literal["as-is", "disabled", "pull-up", "pull-down"] = "pull-up"
    debounce: float = 0.005
    initial_count: int = 0
    interval: float = 10.0

    def __post_init__(self) -> None:
        """Refuse a counter that could not count."""
        topics.name(self.name)
        if isinstance(self.line, int) and not 0 <= self.line < 1 << 16:
            raise ValueError(f"line: {self.line} is not the number of a line")
        if self.line == "":
            raise ValueError("line: it is empty")
        if not 0 <= self.debounce <= 10:
            raise ValueError(f"debounce: {self.debounce} is not between 0 and 10 seconds")
        if not 0 <= self.initial_count < 1 << 53:
            raise ValueError(f"initial_count: {self.initial_count} is not a number of pulses")
        _check_interval("interval", self.interval)


class SensorReader(Config, frozen=True):
    """The [sensor_reader] section."""

    interval: float = 10.0
    system_interval: float = 60.0
    ignore: tuple[str, ...] = ()
    sensors: dict[str, Choice] = msgspec.field(default_factory=dict)
    counters: tuple[Counter, ...] = ()
    root: str = "/"

    def __post_init__(self) -> None:
        """Refuse two devices of one name, two counters on one line, and a root that is not there."""
        _check_interval("interval", self.interval)
        _check_interval("system_interval", self.system_interval)
        names = [counter.name for counter in self.counters]
        names += [choice.name for choice in self.sensors.values() if choice.name]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two devices are named {name!r}")
        lines = [(counter.chip, counter.line) for counter in self.counters]
        for counter in self.counters:
            if lines.count((counter.chip, counter.line)) > 1:
                raise ValueError(f"counters: line {counter.line!r} is used twice")
        if not Path(self.root).is_dir():
            raise ValueError(f"root: {self.root[:80]!r} is not a folder")
