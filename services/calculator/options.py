"""The [calculator] section of the configuration."""

import math
from functools import cache
from graphlib import CycleError, TopologicalSorter
from typing import Literal

import msgspec

from heliograph import topics, units
from heliograph.config import Config
from heliograph.formula import Formula

LONGEST_SECONDS = 86_400.0
_formula = cache(Formula)  # the same is asked for several times, and says the same


class Derived(Config, frozen=True):
    """One [calculator.devices.DEVICE.channels.CHANNEL] section."""

    formula: str
    unit: str = ""
    kind: Literal["gauge", "counter", "state"] = "gauge"
    label: str = ""

    def __post_init__(self) -> None:
        """Refuse a formula that is none, and a unit that nobody knows."""
        try:
            _formula(self.formula)
        except ValueError as error:
            raise ValueError(f"formula: {error}") from None
        units.spelled(self.unit)

    @property
    def parsed(self) -> Formula:
        """The formula, read."""
        return _formula(self.formula)


class Device(Config, frozen=True):
    """One [calculator.devices.DEVICE] section."""

    channels: dict[str, Derived]
    interval: float = 10.0
    max_age: float = 60.0
    wait: float = 5.0
    model: str = "Calculated"

    def __post_init__(self) -> None:
        """Refuse times that are none, and names that no channel can have."""
        for option, least in (("interval", 0.1), ("max_age", 0.1), ("wait", 0.0)):
            seconds = getattr(self, option)
            if not least <= seconds <= LONGEST_SECONDS:
                raise ValueError(f"{option}: {seconds:g} is not between {least:g} and {LONGEST_SECONDS:g} seconds")
        if not math.isclose(self.interval * 1000, round(self.interval * 1000), abs_tol=1e-6):
            raise ValueError(f"interval: {self.interval} is no whole number of milliseconds")
        if not self.channels:
            raise ValueError("channels: there are none")
        for name in self.channels:
            if not topics.is_channel(name):
                raise ValueError(
                    f"channels: {name[:80]!r} is not the name of a channel: lower-case letters, digits and _ are"
                )


class Calculator(Config, frozen=True):
    """The [calculator] section."""

    devices: dict[str, Device] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse formulas that ask for each other, and for channels that another calculated device has."""
        for name, device in self.devices.items():
            topics.name(name)
            order(name, device)
            for channel, derived in device.channels.items():
                for asked in derived.parsed.names:
                    if asked.device != name and not asked.node and asked.device in self.devices:
                        raise ValueError(
                            f"devices.{name}.channels.{channel}: formula: {asked} is calculated itself, by another device:"
                            " only channels of the same one can be used; write its formula out"
                        )


def order(name: str, device: Device) -> list[str]:
    """Return the channels of a device so that each comes after those it asks for; raise ValueError if that cannot be."""
    asked: dict[str, set[str]] = {}
    for channel, derived in device.channels.items():
        own = {one.channel for one in derived.parsed.names if (one.node, one.device) == ("", name)}
        if strange := own - device.channels.keys():
            raise ValueError(
                f"devices.{name}.channels.{channel}: formula: {name} has no channel {min(strange)};"
                f" it has {', '.join(device.channels)}"
            )
        asked[channel] = own
    if not any(derived.parsed.names for derived in device.channels.values()):
        raise ValueError(f"devices.{name}: none of its formulas asks for a channel")
    try:
        return list(TopologicalSorter(asked).static_order())
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        raise ValueError(f"devices.{name}: formulas that ask for each other: {circle}") from None
