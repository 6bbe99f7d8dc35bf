"""The [calculator] section of the configuration."""

import math
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from typing import Literal

import msgspec

from heliograph import nearest, topics, units
from heliograph.config import Claim, Config, ServiceOptions
from heliograph.formula import Formula

MAX_SECONDS = 86_400.0
_formula = cache(Formula)  # each formula is parsed several times, with the same result


class CalculatedChannel(Config, frozen=True):
    """One [calculator.devices.DEVICE.channels.CHANNEL] section."""

    formula: str
    unit: str = ""
    kind: Literal["gauge", "counter", "state"] = "gauge"
    label: str = ""

    def __post_init__(self) -> None:
        """Refuse a malformed formula, and an unknown unit."""
        try:
            _formula(self.formula)
        except ValueError as error:
            raise ValueError(f"formula: {error}") from None
        units.spelled(self.unit)

    @property
    def parsed(self) -> Formula:
        """The parsed formula."""
        return _formula(self.formula)


class CalculatedDevice(Config, frozen=True):
    """One [calculator.devices.DEVICE] section."""

    channels: dict[str, CalculatedChannel]
    interval: float = 10.0
    max_age: float = 60.0
    wait: float = 5.0
    model: str = "Calculated"

    def __post_init__(self) -> None:
        """Refuse impossible times, and names that a channel cannot have."""
        for option, least in (("interval", 0.1), ("max_age", 0.1), ("wait", 0.0)):
            seconds = getattr(self, option)
            if not least <= seconds <= MAX_SECONDS:
                raise ValueError(f"{option}: {seconds:g} is not between {least:g} and {MAX_SECONDS:g} seconds")
        if not math.isclose(self.interval * 1000, round(self.interval * 1000), abs_tol=1e-6):
            raise ValueError(f"interval: {self.interval} is not a whole number of milliseconds")
        if not self.channels:
            raise ValueError("channels: at least one is needed")
        for name in self.channels:
            if not topics.is_channel(name):
                raise ValueError(
                    f"channels: {name[:80]!r} is not the name of a channel; use lower-case letters, digits and _"
                )


class Calculator(ServiceOptions, frozen=True):
    """The [calculator] section."""

    devices: dict[str, CalculatedDevice] = msgspec.field(default_factory=dict)

    def claims(self) -> Iterator[Claim]:
        """Yield the devices, and the channels of this node that their formulas use."""
        for name, device in self.devices.items():
            yield Claim("device", name, f"devices.{name}", " ".join(device.channels))
            for channel, calculated in device.channels.items():
                for used in sorted(calculated.parsed.names):
                    if not used.node:
                        key = f"devices.{name}.channels.{channel}.formula"
                        yield Claim("input", f"{used.device}/{used.channel}", key)

    def __post_init__(self) -> None:
        """Refuse formulas that use each other, and those that use a channel of another calculated device."""
        for name, device in self.devices.items():
            topics.name(name, "devices")
            evaluation_order(name, device)
            for channel, calculated in device.channels.items():
                for used in calculated.parsed.names:
                    if used.device != name and not used.node and used.device in self.devices:
                        raise ValueError(
                            f"devices.{name}.channels.{channel}: formula: {used} is itself calculated by another device:"
                            " only channels of the same one can be used; write its formula out"
                        )


def evaluation_order(name: str, device: CalculatedDevice) -> list[str]:
    """Return the channels of a device so that each comes after those it uses; raise ValueError for a cycle or an unknown channel."""
    uses: dict[str, set[str]] = {}
    for channel, calculated in device.channels.items():
        own = {one.channel for one in calculated.parsed.names if (one.node, one.device) == ("", name)}
        if unknown := own - device.channels.keys():
            raise ValueError(
                f"devices.{name}.channels.{channel}: formula: {name} has no channel {min(unknown)}"
                f"{nearest.choices(min(unknown), device.channels)}"
            )
        uses[channel] = own
    if not any(calculated.parsed.names for calculated in device.channels.values()):
        raise ValueError(f"devices.{name}: none of its formulas uses a channel")
    try:
        return list(TopologicalSorter(uses).static_order())
    except CycleError as error:
        cycle = " -> ".join(reversed(error.args[1]))
        raise ValueError(f"devices.{name}: formulas that use each other: {cycle}") from None
