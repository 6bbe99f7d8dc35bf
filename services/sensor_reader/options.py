"""The [sensor_reader] section of the configuration."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

import msgspec

from heliograph import topics
from heliograph.config import Claim, Config, ServiceOptions

PULSES = "pulses"  # the channel of a counter
MIN_SECONDS, MAX_SECONDS = 0.1, 86_400.0


def _check_interval(name: str, seconds: float) -> None:
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise ValueError(f"{name}: {seconds} is not between {MIN_SECONDS} and {MAX_SECONDS:.0f} seconds")


class SensorOptions(Config, frozen=True):
    """Name and interval of one sensor, by its automatic name; "" and 0 keep the automatic name and the common interval."""

    name: str = ""
    interval: float = 0.0

    def __post_init__(self) -> None:
        """Refuse an invalid name or interval."""
        if self.name:
            topics.name(self.name, "name")
        if self.interval:
            _check_interval("interval", self.interval)


class CounterOptions(Config, frozen=True):
    """A pulse counter on a GPIO line: the LED or S0 output of a meter, a rain gauge."""

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
        """Refuse a line that cannot exist, and values out of range."""
        topics.name(self.name, "name")
        if isinstance(self.line, int) and not 0 <= self.line < 1 << 16:
            raise ValueError(f"line: {self.line} is not the number of a line")
        if self.line == "":
            raise ValueError("line: is empty")
        if not 0 <= self.debounce <= 10:
            raise ValueError(f"debounce: {self.debounce} is not between 0 and 10 seconds")
        if not 0 <= self.initial_count < 1 << 53:
            raise ValueError(f"initial_count: {self.initial_count} is not a number of pulses")
        _check_interval("interval", self.interval)


class SensorReader(ServiceOptions, frozen=True):
    """The [sensor_reader] section."""

    interval: float = 10.0
    system_interval: float = 60.0
    ignore: tuple[str, ...] = ()
    sensors: dict[str, SensorOptions] = msgspec.field(default_factory=dict)
    counters: tuple[CounterOptions, ...] = ()
    root: str = "/"

    def claims(self) -> Iterator[Claim]:
        """Yield the devices that the configuration names."""
        for number, counter in enumerate(self.counters):
            yield Claim("device", counter.name, f"counters[{number}].name", PULSES)
        for key, sensor in self.sensors.items():
            if sensor.name:
                yield Claim("device", sensor.name, f"sensors.{key}.name")

    def __post_init__(self) -> None:
        """Refuse two devices with one name, two counters on one line, and a missing root."""
        _check_interval("interval", self.interval)
        _check_interval("system_interval", self.system_interval)
        names = [counter.name for counter in self.counters]
        names += [sensor.name for sensor in self.sensors.values() if sensor.name]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two devices are named {name!r}")
        lines = [(counter.chip, counter.line) for counter in self.counters]
        for counter in self.counters:
            if lines.count((counter.chip, counter.line)) > 1:
                raise ValueError(f"counters: line {counter.line!r} is used twice")
        if not Path(self.root).is_dir():
            raise ValueError(f"root: {self.root[:80]!r} is not a folder")
