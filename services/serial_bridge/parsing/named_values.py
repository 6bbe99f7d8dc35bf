"""Lines that name their values, and the timestamps in lines."""

from collections.abc import Iterable

from heliograph import names, tolerant_json, written_times
from heliograph.messages import Channel, Value, finite, one_line
from heliograph.store.readings import EARLIEST, LATEST
from heliograph.written_times import DATE
from services.serial_bridge.parsing.channels import NO_SENSOR_C
from services.serial_bridge.parsing.readings import Description, NamedValue, NotAReading, ParsedReading
from services.serial_bridge.parsing.values import number


class NamedValues:
    """The values of one message by the names of their channels; `duplicates` are those of further texts with a name."""

    def __init__(self) -> None:
        self.values: dict[str, Value] = {}
        self.texts: dict[str, str] = {}
        self.duplicates: list[NamedValue] = []

    def add(self, name: str, text: str, value: Value) -> None:
        """Add the value of a text; raise ValueError if the text appears twice."""
        if name not in self.values:
            self.values[name], self.texts[name] = value, text
        elif text == self.texts[name] or any(text == duplicate.text for duplicate in self.duplicates):
            raise ValueError(f"{name} appears twice")
        else:
            self.duplicates.append(NamedValue(name, text, value))

    def complete(self, reading: ParsedReading) -> ParsedReading:
        """Return the reading with these values."""
        return reading._replace(values=self.values, texts=self.texts, duplicates=tuple(self.duplicates))


def timestamp(given: object) -> float:
    """Return a time in UTC seconds: a number of them, or a text as `written_timestamp` takes it; raise NotAReading."""
    if isinstance(given, str):
        return written_timestamp(given)
    if isinstance(given, int | float) and not isinstance(given, bool) and EARLIEST <= given <= LATEST:
        return float(given)
    raise NotAReading("the time is neither UTC seconds from 2000 to 2100 nor ISO 8601", "invalid_timestamps")


def written_timestamp(text: str) -> float:
    """Return a time that is written in UTC seconds or as ISO 8601, UTC without an offset; raise NotAReading.

    A year, or a date without hyphens, is no time here: it is a value of a line whose time is missing.
    """
    try:
        return timestamp(None if DATE.fullmatch(text.strip()) else written_times.seconds(text))
    except ValueError:
        return timestamp(None)


def is_celsius(description: Description, name: str) -> bool:
    """Return whether a channel is known to be a temperature in °C."""
    return name in description.channels and description.channels[name].unit == "°C"


def reading(
    pairs: Iterable[tuple[str, str]], device: str, description: Description, rule: names.NamingRule
) -> ParsedReading:
    """Return the reading of a line with these names and texts.

    Refused is what is not a number, unless the channel is of kind `text`, or of `state`: true, on, yes, 1 or their opposites.
    """
    named = NamedValues()
    refused: list[str] = []
    no_sensor = 0
    for key, text in pairs:
        try:
            name = rule.channel(key)
            value = _value(text, description.channels.get(name))
            if value is None or (value in NO_SENSOR_C and is_celsius(description, name)):
                no_sensor += 1
            else:
                named.add(name, key, value)
        except ValueError as error:
            refused.append(f"{key[:80]}: {error}")
    return named.complete(ParsedReading(device, {}, description, None, no_sensor, tuple(refused)))


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
    if tolerant_json.is_not_finite(text):
        raise ValueError(f"{text!r} is not a finite number")
    return finite(number(text))
