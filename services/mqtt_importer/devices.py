"""What a device has shown of itself so far."""

from collections.abc import Iterable, Mapping
from decimal import Decimal

import msgspec

from heliograph.messages import Availability, Channel, Info, Value
from services.mqtt_importer import payloads
from services.mqtt_importer.channels import channel, fitting, guessed
from services.mqtt_importer.heard import Heard, Member, Switch
from services.mqtt_importer.options import Override

MOST_CHANNELS = 256  # more are noise that looks like names
NOTHING = Override()


class Device:
    """Learns the channels and switches of one device from what it says.

    `availability` is what its last will or its availability topic said, None if it has none.
    Its channels are declared as writable if it takes commands.
    """

    def __init__(
        self, model: str, service: str, interval: float, overrides: Mapping[str, Override], *, commands: bool = False
    ) -> None:
        self.info = Info(model, {}, interval, service)
        self.switches: dict[str, Switch] = {}
        self.availability: Availability | None = None
        self.last: float | None = None
        self._overrides = overrides
        self._commands = commands

    def take(self, heard: Heard) -> tuple[dict[str, Value], list[str]]:
        """Learn from a message; return its values by channel, and what is wrong with the others."""
        values: dict[str, Value] = {}
        refused = list(heard.refused)
        channels = dict(self.info.channels)
        for member in heard.members:
            override = self._overrides.get(member.channel, NOTHING)
            name = override.name or member.channel
            if override.skip:
                continue
            try:
                if name in values:
                    raise ValueError(f"{name} is there already")
                about = channels.get(name) if member.about is None else _described(member.about, override)
                if member.value is None:
                    continue
                if about is None:
                    about = _described(guessed(name, member.value), override)
                if name not in channels and len(channels) >= MOST_CHANNELS:
                    raise ValueError("more channels than a device can have")
                values[name] = fitting(about, _scaled(member.value, override.scale))
                channels[name] = about
            except ValueError as error:
                refused.append(f"{member.channel[:80]}: {error}")
        self._learn_switches(heard.switches)
        if self._commands:
            channels = {name: self._with_limits(name, about) for name, about in channels.items()}
        model = heard.model if heard.model.isprintable() and heard.model else self.info.model
        if channels != self.info.channels or model != self.info.model:
            self.info = msgspec.structs.replace(self.info, model=model, channels=channels)
        return values, refused

    def _learn_switches(self, switches: Mapping[str, Switch]) -> None:
        for name, switch in switches.items():
            override = self._overrides.get(name, NOTHING)
            if not override.skip and len(self.switches) < MOST_CHANNELS:
                self.switches[override.name or name] = switch

    def _with_limits(self, name: str, about: Channel) -> Channel:
        """Return a channel with what `set` takes for it, if that has limits: a switch, or a number that tells them."""
        switch = self.switches.get(name)
        if switch is None or about.kind == "text":
            return about
        limits = (0.0, 1.0) if about.kind == "state" else switch.limits
        return msgspec.structs.replace(about, writable=limits)


def nothing_missing(members: Iterable[Member]) -> int:
    """Return how many values a message says its device does not have."""
    return sum(member.value is None for member in members)


def _described(about: Channel, override: Override) -> Channel:
    if override.unit:
        about = channel(override.unit, override.kind)
    if override.kind:
        about = msgspec.structs.replace(about, kind=override.kind)
    if override.label:
        about = msgspec.structs.replace(about, label=override.label)
    return about


def _scaled(value: Value, scale: float) -> Value:
    """Return a number times a factor, exact in its decimal digits: 548 times 0.1 is 54.8."""
    if scale == 1 or isinstance(value, bool | str):
        return value
    product = Decimal(repr(value)) * Decimal(repr(scale))
    whole = isinstance(value, int) and product == product.to_integral_value()
    return payloads.finite(int(product) if whole else float(product))
