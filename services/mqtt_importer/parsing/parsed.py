"""What a family of devices parses a message into."""

import math
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import msgspec

from heliograph.messages import Availability, Channel, Value


class NotUnderstood(ValueError):
    """A known topic with a payload that it cannot have: set it aside."""


class CommandTopic(NamedTuple):
    """Where and how a channel is commanded.

    `payload_on` and `payload_off` are published for true and false. A channel that takes numbers or texts has
    `template` instead, with `{value}` where the value goes, as JSON. `limits` are the lowest and the highest
    number, if the device reports them.
    """

    topic: str
    payload_on: str = ""
    payload_off: str = ""
    template: str = ""
    limits: tuple[float, float] | None = None

    def payload(self, value: object) -> str:
        """Return the payload that sets this value; raise ValueError if the channel does not take it."""
        if self.template:
            if isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
                return self.template.replace("{value}", msgspec.json.encode(value).decode())
            raise ValueError("not a number, text, true or false")
        if not isinstance(value, bool):
            raise ValueError("neither true nor false")
        return self.payload_on if value else self.payload_off


class ChannelValue(NamedTuple):
    """One value of a message: what the device calls it, the value (None: the device has none), the channel's description.

    `text` is a path with dots where values are nested; the channel is named after it. `channel` is None where the family
    does not know it: then name and value decide.
    """

    text: str
    value: Value | None
    channel: Channel | None = None


class ParsedMessage(NamedTuple):
    """What a message says of a device; `device` is its name as the maker's topics spell it.

    `time` is the device's own, a text or a number, as received. With `all_devices`, `availability` holds for all devices
    of the source. `command_topics` are those of values, by their text. `requests` are topics and payloads that make a
    newly found device report its state. `rejected` says which parts of the payload were not understood, and why; `unknown`
    are parts that the family does not know, by their path in the payload, as JSON. `others` is what the message says of
    further devices.
    """

    device: str
    values: tuple[ChannelValue, ...] = ()
    time: object = None
    availability: Availability | None = None
    model: str = ""
    command_topics: Mapping[str, CommandTopic] = {}
    all_devices: bool = False
    requests: tuple[tuple[str, str], ...] = ()
    rejected: tuple[str, ...] = ()
    unknown: tuple[tuple[str, str], ...] = ()
    others: "tuple[ParsedMessage, ...]" = ()


class Ignored(NamedTuple):
    """A message on a known topic without anything to import."""


IGNORED = Ignored()
ParseResult = ParsedMessage | Ignored | None


class Family(Protocol):
    """Parses the messages of one family of devices."""

    @property
    def filters(self) -> tuple[str, ...]:
        """Topic filters to subscribe to."""

    @property
    def command_filters(self) -> tuple[str, ...]:
        """Topic filters that match every topic that is published to; a broker has to allow them, too (mosquitto/acl)."""

    @property
    def default_model(self) -> str:
        """The model of a device that does not report its own."""

    def parse(self, topic: str, payload: bytes) -> ParseResult:
        """Return what a message says, None if the topic is unknown; raise NotUnderstood, and nothing else."""
