"""Commands on the `set` topic of a device: parsed, and responded to."""

import time
from typing import NamedTuple

import msgspec

from heliograph import commands, messages, tolerant_json, topics
from heliograph.bus import Message
from heliograph.service import Service

_PAYLOAD: msgspec.json.Decoder[dict[str, float | int | bool | str]] = msgspec.json.Decoder(
    dict[str, float | int | bool | str]
)


class SetCommand(NamedTuple):
    """The values to write to channels of a device; the topic for the response, "" if none is requested."""

    device: str
    values: dict[str, messages.Value]
    response_topic: str
    correlation: bytes


def parse(device: str, message: Message) -> SetCommand:
    """Return the command in a message; raise ValueError if it does not hold one."""
    try:
        values = _PAYLOAD.decode(message.payload)
        tolerant_json.refuse_repeated_keys(message.payload)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ValueError(f"expected channels and values: {error}") from None
    for channel, value in values.items():
        if not topics.is_channel(channel) or not messages.is_value(value):
            raise ValueError(f"not a channel and value: {channel[:80]!r}")
    return SetCommand(device, values, message.response_topic, message.correlation)


def respond(service: Service, command: SetCommand, values: dict[str, messages.Value], refused: dict[str, str]) -> None:
    """Respond to a command with the values as they were read back, and show the outcome in the status."""
    outcome = commands.SetResult(round(time.time(), 3), values, refused)
    service.count("writes", len(values))
    service.count("writes_refused", len(refused))
    service.fact(f"set:{command.device}", msgspec.to_builtins(outcome))
    commands.respond(service.bus, command.response_topic, command.correlation, messages.encode(outcome))
    service.report()
