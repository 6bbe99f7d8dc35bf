"""The [quality."DEVICE/CHANNEL"] sections: corrections and filters that the owner of a node sets for channels."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from heliograph import config, series_patterns, units
from heliograph.config import Config
from heliograph.errors import ConfigError

HEARTBEAT_SECONDS = 300.0
SPIKE_READINGS = 5
MOST_SPIKE_READINGS = 101

_PARTS = ("device", "channel")


class Rule(Config, frozen=True):
    """One section; an option that is not given changes nothing. Numbers are in the unit after scale and offset."""

    scale: float | None = None
    offset: float | None = None
    unit: str | None = None
    label: str | None = None
    min: float | None = None
    max: float | None = None
    spike: float | None = None
    spike_readings: int | None = None
    deadband: float | None = None
    heartbeat: float | None = None
    stuck: float | None = None

    def __post_init__(self) -> None:
        """Refuse what no channel can have."""
        for option in ("scale", "offset", "min", "max", "spike", "deadband", "heartbeat", "stuck"):
            value = getattr(self, option)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{option}: {value} is not a number to compute with")
        if self.scale == 0:
            raise ValueError("scale: 0 would make every value 0")
        for option in ("spike", "deadband", "heartbeat", "stuck"):
            value = getattr(self, option)
            if value is not None and value < 0:
                raise ValueError(f"{option}: {value:g} is less than 0")
        if self.spike_readings is not None and not 3 <= self.spike_readings <= MOST_SPIKE_READINGS:
            raise ValueError(f"spike_readings: {self.spike_readings} is not between 3 and {MOST_SPIKE_READINGS}")
        if self.unit is not None:
            units.spelled(self.unit)

    @property
    def scales(self) -> bool:
        """Whether the rule changes values."""
        return (self.scale, self.offset) not in ((None, None), (1.0, None), (None, 0.0), (1.0, 0.0))

    @property
    def on_change(self) -> bool:
        """Whether only changes are published."""
        return self.heartbeat != 0 and (self.deadband, self.heartbeat) != (None, None)

    @property
    def heartbeat_seconds(self) -> float:
        """The seconds after which a value is published that has not changed."""
        return self.heartbeat or HEARTBEAT_SECONDS


def read(file: Mapping[str, Any], path: Path) -> dict[str, Rule]:
    """Return the rules of a configuration by their patterns, in the order of the file; raise ConfigError if one is wrong."""
    written = file.get("quality", {})
    for pattern in written if isinstance(written, Mapping) else ():
        try:
            series_patterns.check(pattern, _PARTS)
        except ValueError:
            raise ConfigError(
                f'{path}: [quality] {pattern!r:.80}: expected [quality."DEVICE/CHANNEL"]: {series_patterns.SYNTAX}'
            ) from None
    rules = config.tables(Rule, file, "quality", path)
    for pattern, rule in rules.items():
        if rule.min is not None and rule.max is not None and rule.min > rule.max:
            raise ConfigError(f"{path}: [quality] {pattern}: min: {rule.min:g} is more than max, which is {rule.max:g}")
    return rules


class Rules:
    """Finds the rule of a channel; remembers which rules no channel has matched."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self._rules = dict(rules)
        self._matched: set[str] = set()

    def __bool__(self) -> bool:
        """Whether there are any rules."""
        return bool(self._rules)

    def concern(self, device: str) -> bool:
        """Whether any rule is about a device."""
        return any(series_patterns.matches(pattern.partition("/")[0], device) for pattern in self._rules)

    def of(self, device: str, channel: str) -> Rule | None:
        """Return the options of all rules that match, the later ones over the earlier; None if no rule matches."""
        options: dict[str, object] = {}
        matching = [
            (pattern, rule)
            for pattern, rule in self._rules.items()
            if series_patterns.matches(pattern, f"{device}/{channel}")
        ]
        for _, rule in matching:
            options |= {name: value for name, value in msgspec.structs.asdict(rule).items() if value is not None}
        self._matched |= {pattern for pattern, _ in matching}
        return msgspec.convert(options, Rule) if matching else None

    def unmatched(self) -> list[str]:
        """Return the patterns that no channel has matched so far."""
        return [pattern for pattern in self._rules if pattern not in self._matched]
