"""What a port says of the devices behind it, for formats whose lines name their values."""

from collections.abc import Iterable, Mapping

from heliograph.messages import Channel, Value, finite, one_line
from services.serial_bridge import names
from services.serial_bridge.channels import MISSED, NO_SENSOR_C, channel
from services.serial_bridge.options import Source
from services.serial_bridge.readings import About, NotAReading, Reading
from services.serial_bridge.values import number

EARLIEST = 1_577_836_800.0  # 2020: before there was a Heliograph
LATEST = 4_102_444_800.0  # 2100
NOT_FINITE = {"nan", "inf", "+inf", "-inf", "infinity", "-infinity", "ovf"}


def about(source: Source, model: str = "", known: Mapping[str, Channel] | None = None) -> About:
    """Return what the options of a port say of its channels, over what is `known` of them; raise ValueError if it cannot be."""
    described: dict[str, Channel] = {"missed": MISSED, **(known or {})}
    kinds = {names.channel(name): kind for name, kind in source.kinds.items()}
    for text, unit in source.units.items():
        name = names.channel(text)
        try:
            described[name] = channel(unit, kinds.get(name))
        except ValueError as error:
            raise ValueError(f"units: {text}: {error}") from None
    for name, kind in kinds.items():
        if name not in described or described[name].kind != kind:
            described[name] = Channel(described[name].unit if name in described else "", kind)
    return About(source.model or model or f"{source.format} device", source.interval, described)


def device(name: str | None, source: Source) -> str:
    """Return the device that a line names, else the one of the port; raise NotAReading if none can be called this."""
    if name is None:
        return source.device or source.name
    try:
        return names.device(name)
    except ValueError as error:
        raise NotAReading(str(error)) from None


def moment(given: object) -> float:
    """Return a time in seconds since 1970 UTC; raise NotAReading if it is none, or out of this century."""
    if isinstance(given, int | float) and not isinstance(given, bool) and EARLIEST <= given <= LATEST:
        return float(given)
    raise NotAReading("the time is not in seconds since 1970 UTC", "wrong_times")


def written_moment(text: str) -> float:
    """Return a time that is written in seconds since 1970 UTC; raise NotAReading as `moment` does."""
    try:
        given = number(text)
    except ValueError:
        return moment(None)
    return moment(given)


def is_celsius(about: About, name: str) -> bool:
    """Whether a channel is known to be a temperature in °C."""
    return name in about.channels and about.channels[name].unit == "°C"


def only_lines_have(source: Source, *options: str) -> None:
    """Raise ValueError if a port has options that its format has no use for."""
    for option in options:
        if source.format != "auto" and getattr(source, option):
            raise ValueError(f"{option}: {source.format} has no use for it")


def named(pairs: Iterable[tuple[str, str]], device: str, about: About, at: float | None = None) -> Reading:
    """Return the reading of a line with these names and texts; a text that is no number is refused, unless it is wanted.

    Wanted are texts of channels of kind `text`, and of `state`: true, on, yes and 1, or their opposites.
    """
    values: dict[str, Value] = {}
    refused: list[str] = []
    no_sensor = 0
    for key, text in pairs:
        try:
            name = names.channel(key)
            if name in values:
                raise ValueError(f"{name} is there already")
            value = _value(text, about.channels.get(name))
        except ValueError as error:
            refused.append(f"{key[:80]}: {error}")
            continue
        if value is None or (value in NO_SENSOR_C and is_celsius(about, name)):
            no_sensor += 1
        else:
            values[name] = value
    return Reading(device, values, about, at, no_sensor, tuple(refused))


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
