"""What ports and sockets have in common, and what a format needs of it."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from heliograph import names, topics
from heliograph.config import Config
from heliograph.messages import Channel, Kind
from services.serial_bridge.channels import MISSED, channel, named
from services.serial_bridge.nodes import Layout
from services.serial_bridge.readings import About, NotAReading


class Source(Config, frozen=True):
    """What comes in at a port or socket, and which device it is from."""

    name: str
    format: str
    device: str = ""
    model: str = ""
    units: dict[str, str] = msgspec.field(default_factory=dict)
    kinds: dict[str, Kind] = msgspec.field(default_factory=dict)
    interval: float = 0.0
    node_offset: int = 0
    columns: tuple[str, ...] = ()
    separator: str = ","
    pattern: str = ""

    @property
    def called(self) -> str:
        """The device whose values come in, unless a line names another."""
        return self.device or self.name

    def check(self) -> None:
        """Raise ValueError for what no source can have."""
        topics.name(self.name)
        topics.name(self.called)
        if not (math.isfinite(self.interval) and self.interval >= 0):
            raise ValueError(f"interval: {self.interval!r} is not a number of seconds")
        if not 0 <= self.node_offset <= 1000:
            raise ValueError(f"node_offset: {self.node_offset} is not between 0 and 1000")
        if len(self.separator) != 1:
            raise ValueError(f"separator: {self.separator!r} is not one character")

    def refuse(self, *options: str) -> None:
        """Raise ValueError if one of these options, for which the format has no use, is given."""
        for option in options:
            if self.format != "auto" and getattr(self, option):
                raise ValueError(f"{option}: {self.format} has no use for it")


class Context(NamedTuple):
    """What all sources share: the decoders of radio nodes, and the rule by which texts become names."""

    layouts: Mapping[int, Layout]
    rule: names.Rule = names.PRESENT

    def device(self, text: str | None, source: Source) -> str:
        """Return the device that a line names, else that of the source; raise NotAReading if none can be called this."""
        if text is None:
            return source.called
        try:
            return self.rule.device(text)
        except ValueError as error:
            raise NotAReading(str(error)) from None

    def about(self, source: Source, model: str = "", known: Mapping[str, Channel] | None = None) -> About:
        """Return what the options of a source say of its channels, over what is `known` of them.

        Raises ValueError if they contradict themselves.
        """
        described: dict[str, Channel] = {"missed": MISSED, **(known or {})}
        kinds = dict(zip(named("kinds", source.kinds, self.rule), source.kinds.values(), strict=True))
        units = dict(zip(named("units", source.units, self.rule), source.units.values(), strict=True))
        for name, unit in units.items():
            try:
                described[name] = channel(unit, kinds.get(name))
            except ValueError as error:
                raise ValueError(f"units: {name}: {error}") from None
        for name, kind in kinds.items():
            if name not in described or described[name].kind != kind:
                described[name] = Channel(described[name].unit if name in described else "", kind)
        return About(source.model or model or f"{source.format} device", source.interval, described)
