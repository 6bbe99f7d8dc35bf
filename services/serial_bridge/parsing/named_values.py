"""Lines that name their values, and the timestamps in lines."""

from collections.abc import Iterable

from heliograph import names
from heliograph.messages import Channel, Value, finite, one_line
from services.serial_bridge.parsing.channels import NO_SENSOR_C
from services.serial_bridge.parsing.readings import Description, NotAReading, ParsedReading
from services.serial_bridge.parsing.values import number

EARLIEST = 1_577_836_800.0  # 2020: before there was a Heliograph
LATEST = 4_102_444_800.0  # 2100
NOT_FINITE = {"nan", "inf", "+inf", "-inf", "infinity", "-infinity", "ovf"}


def timestamp(given: object) -> float:
    """Return a time in seconds since 1970 UTC; raise NotAReading if it is not one between 2020 and 2100."""
    if isinstance(given, int | float) and not isinstance(given, bool) and EARLIEST <= given <= LATEST:
        return float(given)
    raise NotAReading("the time is not in seconds since 1970 UTC", "invalid_timestamps")


def written_timestamp(text: str) -> float:
    """Return a time that is written in seconds since 1970 UTC; raise NotAReading as `timestamp` does."""
    try:
        given = number(text)
    except ValueError:
        return timestamp(None)
    return timestamp(given)


def is_celsius(description: Description, name: str) -> bool:
    """Return whether a channel is known to be a temperature in °C."""
    return name in description.channels and description.channels[name].unit == "°C"


def reading(
    pairs: Iterable[tuple[str, str]], device: str, description: Description, rule: names.NamingRule
) -> ParsedReading:
    """Return the reading of a line with these names and texts.

    Refused is what is not a number, unless the channel is of kind `text`, or of `state`: true, on, yes, 1 or their opposites.
    """
    values: dict[str, Value] = {}
    texts: dict[str, str] = {}
    refused: list[str] = []
    no_sensor = 0
    for key, text in pairs:
        try:
            name = rule.channel(key)
            if name in values:
                raise ValueError(f"{name} appears twice")
            value = _value(text, description.channels.get(name))
        except ValueError as error:
            refused.append(f"{key[:80]}: {error}")
            continue
        if value is None or (value in NO_SENSOR_C and is_celsius(description, name)):
            no_sensor += 1
        else:
            values[name] = value
            texts[name] = key
    return ParsedReading(device, values, description, None, no_sensor, tuple(refused), texts)


def _value(text: str, channel: Channel | None) -> Value | None:
    text = text.strip()
    if not text:
        return None
    if channel and channel.kind == "text":
        return one_line(text)
    if channel and channel.kind == "state":
        if text.lower() in ("1", "true", "on", "yes"):
            return True
        if text.lower() in ("0", "false", "off", "no"):
            return False
        raise ValueError(f"{text[:40]!r} is neither on nor off")
    if text.lower() in NOT_FINITE:
        raise ValueError(f"{text!r} is not a finite number")
    return finite(number(text))
