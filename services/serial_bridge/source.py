"""What ports and sockets have in common, and what formats need of the configuration."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from heliograph import names, topics
from heliograph.config import Config
from heliograph.messages import Channel, Kind
from services.serial_bridge.parsing.channels import MISSED, channel, named
from services.serial_bridge.parsing.readings import Description, NotAReading
from services.serial_bridge.protocols.meter_names import MeterNames
from services.serial_bridge.radio.nodes import LARGEST_NODE, PacketDecoder


class SourceOptions(Config, frozen=True):
    """The options that ports and sockets have in common: the format, and the device that the values are from."""

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
    def device_name(self) -> str:
        """The device that the values are from, unless a line names another."""
        return self.device or self.name

    def check(self) -> None:
        """Raise ValueError for what no source can have."""
        topics.name(self.name, "name")
        topics.name(self.device_name, "device")
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


class ParserContext(NamedTuple):
    """What all sources share: the decoders of radio nodes by number, the rule that makes names of texts, and the names of meters.

    Without `meter_names`, every parser names its meters by itself. `node_limits` has, by the names of sources, the number
    from which on nodes are those of another source.
    """

    node_decoders: Mapping[int, PacketDecoder]
    rule: names.NamingRule = names.PRESENT
    meter_names: MeterNames | None = None
    node_limits: Mapping[str, int] = {}

    def node(self, number: int, source: SourceOptions) -> int:
        """Return the number that a node of a source has in the configuration; raise NotAReading if it cannot have one."""
        shifted = number + source.node_offset
        limit = self.node_limits.get(source.name, LARGEST_NODE + 1)
        if shifted > LARGEST_NODE:
            raise NotAReading(f"no radio node has the number {shifted}")
        if shifted >= limit:
            raise NotAReading(
                f"from {limit} on, nodes are those of another source: give one of them another node_offset"
            )
        return shifted

    def device(self, text: str | None, source: SourceOptions) -> str:
        """Return the device that a line names, else that of the source; raise NotAReading if it cannot be a name."""
        if text is None:
            return source.device_name
        try:
            return self.rule.device(text)
        except ValueError as error:
            raise NotAReading(str(error)) from None

    def describe(
        self, source: SourceOptions, model: str = "", known: Mapping[str, Channel] | None = None
    ) -> Description:
        """Return the description of a source's device: its options take precedence over what is `known`.

        Raises ValueError if the options contradict themselves.
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
        return Description(source.model or model or f"{source.format} device", source.interval, described)
