"""Commands that come on the `set` topic of a device: what they say, and what is answered."""

import time
from typing import NamedTuple

import msgspec

from heliograph import commands, messages, topics
from heliograph.bus import Message
from heliograph.service import Service

_PAYLOAD: msgspec.json.Decoder[dict[str, float | int | bool | str]] = msgspec.json.Decoder(
    dict[str, float | int | bool | str]
)


class Command(NamedTuple):
    """Channels of a device and the values that they shall get; where to send the answer, if anyone wants one."""

    device: str
    values: dict[str, messages.Value]
    response_topic: str
    correlation: bytes


def command(device: str, message: Message) -> Command:
    """Return the command in a message; raise ValueError if it is none."""
    try:
        values = _PAYLOAD.decode(message.payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"expected channels and values: {error}") from None
    for channel, value in values.items():
        if not topics.is_channel(channel) or not messages.is_value(value):
            raise ValueError(f"not a channel and value: {channel[:80]!r}")
    return Command(device, values, message.response_topic, message.correlation)


def tell(service: Service, asked: Command, values: dict[str, messages.Value], refused: dict[str, str]) -> None:
    """Answer a command with the values as they were read back, and show in the status what became of it."""
    outcome = commands.Outcome(round(time.time(), 3), values, refused)
    service.count("writes", len(values))
    service.count("writes_refused", len(refused))
    service.fact(f"set:{asked.device}", msgspec.to_builtins(outcome))
    commands.respond(service.bus, asked.response_topic, asked.correlation, messages.encode(outcome))
    service.report()
