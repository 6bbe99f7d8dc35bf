"""What a message of another maker's device can turn out to be."""

import math
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import msgspec

from heliograph.messages import Availability, Channel, Value


class NotUnderstood(ValueError):
    """A topic that is known with a payload that cannot be: set it aside."""


class Switch(NamedTuple):
    """How a channel is commanded: what to publish where.

    `on` and `off` are the payloads for true and false. A channel that takes numbers or
    texts has `template` in their place, with `{value}` where the value goes, as JSON.
    `limits` are the lowest and the highest number, if the device tells them.
    """

    topic: str
    on: str = ""
    off: str = ""
    template: str = ""
    limits: tuple[float, float] | None = None

    def payload(self, value: object) -> str:
        """Return the payload that sets this value; raise ValueError if the channel does not take it."""
        if self.template:
            if isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
                return self.template.replace("{value}", msgspec.json.encode(value).decode())
            raise ValueError("neither a number nor a text nor true nor false")
        if not isinstance(value, bool):
            raise ValueError("neither true nor false")
        return self.on if value else self.off


class Member(NamedTuple):
    """One value of a message: its channel's name, the value (None: the device has none), what it means.

    `about` is None where only the value itself tells.
    """

    channel: str
    value: Value | None
    about: Channel | None = None


class Heard(NamedTuple):
    """What a device said; `device` as its maker's topics spell it.

    `time` is the device's own, a text or a number, as it came. `everyone` says that
    `availability` holds for all devices of the source. `asks` are the topics and payloads
    that make a device which was not known tell about itself.
    """

    device: str
    members: tuple[Member, ...] = ()
    time: object = None
    availability: Availability | None = None
    model: str = ""
    switches: Mapping[str, Switch] = {}
    everyone: bool = False
    asks: tuple[tuple[str, str], ...] = ()
    refused: tuple[str, ...] = ()


class Silence(NamedTuple):
    """A topic that is known and says nothing that could be measured."""


SILENCE = Silence()
Said = Heard | Silence | None


class Family(Protocol):
    """How the messages of one family of devices are read."""

    @property
    def filters(self) -> tuple[str, ...]:
        """Topic filters to subscribe to."""

    @property
    def command_filters(self) -> tuple[str, ...]:
        """Topic filters that match every topic that is published to; a broker has to allow them, too (mosquitto/acl)."""

    @property
    def default_model(self) -> str:
        """The model of a device that does not report its own."""

    def read(self, topic: str, payload: bytes) -> Said:
        """Return what a message says, None if the topic is unknown; raise NotUnderstood, and nothing else."""
