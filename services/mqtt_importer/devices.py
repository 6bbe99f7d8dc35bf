"""An imported device: what its messages have shown of it so far."""

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from heliograph import names
from heliograph.messages import Availability, Channel, Info, Value
from services.mqtt_importer.parsing import payloads
from services.mqtt_importer.parsing.channels import converted, guessed, measured_in
from services.mqtt_importer.parsing.parsed import ChannelValue, CommandTopic, ParsedMessage
from services.mqtt_importer.source import ChannelOverride, MqttSource

MAX_CHANNELS = 256  # more are noise that looks like names
NO_OVERRIDE = ChannelOverride()


class ImportedDevice:
    """Learns the channels and command topics of one device from its messages.

    `original_name` is its name in its maker's topics, `name` ours. `availability` is what its last will or its availability
    topic reported, None if it has none; `last_reading` the time of its last reading in seconds since 1970 UTC;
    `without_value` counts the values that the device does not have. Channels are declared as writable if the source takes
    commands.
    """

    def __init__(
        self,
        source: MqttSource,
        original_name: str,
        name: str,
        model: str,
        service: str,
        rule: names.NamingRule = names.PRESENT,
    ) -> None:
        self.source = source
        self.original_name = original_name
        self.name = name
        self.info = Info(model, {}, source.interval, service)
        self.command_topics: dict[str, CommandTopic] = {}
        self.availability: Availability | None = None
        self.last_reading: float | None = None
        self.without_value = 0
        self._overrides = source.overrides(original_name, name)
        self._rule = rule
        self._owners = names.NameOwners(MAX_CHANNELS)

    def update(self, parsed: ParsedMessage) -> tuple[dict[str, Value], list[str]]:
        """Learn from a message; return its values by channel, and why its other values are rejected."""
        values: dict[str, Value] = {}
        rejected = list(parsed.rejected)
        channels = dict(self.info.channels)
        for item in parsed.values:
            try:
                name = self._rule.channel(item.text)
                override = self._overrides.get(name, NO_OVERRIDE)
                if override.skip:
                    continue
                name = override.name or name
                if name in values:
                    raise ValueError(f"{name} appears twice")
                channel = _channel(name, item, override, channels.get(name))
                if item.value is None or channel is None or _is_absent(item.value, channel, override):
                    self.without_value += 1
                    continue
                if name not in channels and len(channels) >= MAX_CHANNELS:
                    raise ValueError("more channels than a device can have")
                value = converted(_scaled(item.value, override.scale), channel)
                self._owners.claim(name, item.text)
                values[name] = value
                channels[name] = channel
            except ValueError as error:
                rejected.append(f"{item.text[:80]}: {error}")
        self._update_command_topics(parsed.command_topics)
        self._update_info(parsed.model, channels)
        return values, rejected

    def _update_command_topics(self, command_topics: Mapping[str, CommandTopic]) -> None:
        for text, command_topic in command_topics.items():
            try:
                name = self._rule.channel(text)
            except ValueError:
                continue  # its value is rejected
            override = self._overrides.get(name, NO_OVERRIDE)
            if not override.skip and len(self.command_topics) < MAX_CHANNELS:
                self.command_topics[override.name or name] = command_topic

    def _update_info(self, model: str, channels: dict[str, Channel]) -> None:
        if self.source.commands:
            channels = {name: self._with_limits(name, channel) for name, channel in channels.items()}
        if not (model and model.isprintable()):
            model = self.info.model
        if channels != self.info.channels or model != self.info.model:
            self.info = msgspec.structs.replace(self.info, model=model, channels=channels)

    def _with_limits(self, name: str, channel: Channel) -> Channel:
        """Return a channel with the limits of `set`: those of a switch, or of a number whose device reports them."""
        command_topic = self.command_topics.get(name)
        if command_topic is None or channel.kind == "text":
            return channel
        limits = (0.0, 1.0) if channel.kind == "state" else command_topic.limits
        return msgspec.structs.replace(channel, writable=limits)


def _channel(name: str, item: ChannelValue, override: ChannelOverride, known: Channel | None) -> Channel | None:
    """Return the channel of a value, None if the family does not know it, and no value has come."""
    if item.channel is not None:
        return _overridden(item.channel, override)
    if item.value is not None and (known is None or (known.kind == "state" and _is_number(item.value))):
        return _overridden(guessed(name, item.value), override)  # what was taken for a switch was a missing number
    return known


def _is_number(value: Value) -> bool:
    return not isinstance(value, bool | str) and value not in (0, 1)


def _is_absent(value: Value, channel: Channel, override: ChannelOverride) -> bool:
    """Whether true or false stands for a number that is not there, as OpenEVSE writes it, unless `kind` makes a number of it."""
    return isinstance(value, bool) and channel.kind in ("gauge", "counter") and not override.kind


def _overridden(channel: Channel, override: ChannelOverride) -> Channel:
    if override.unit:
        channel = measured_in(override.unit, override.kind)
    if override.kind:
        channel = msgspec.structs.replace(channel, kind=override.kind)
    if override.label:
        channel = msgspec.structs.replace(channel, label=override.label)
    return channel


def _scaled(value: Value, scale: float) -> Value:
    """Return a number times a factor, exact in its decimal digits: 548 times 0.1 is 54.8."""
    if scale == 1 or isinstance(value, bool | str):
        return value
    product = Decimal(repr(value)) * Decimal(repr(scale))
    whole = isinstance(value, int) and product == product.to_integral_value()
    return payloads.finite(int(product) if whole else float(product))
