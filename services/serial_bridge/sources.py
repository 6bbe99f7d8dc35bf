"""What a port says of the devices behind it, for formats whose lines name their values."""

from heliograph.messages import Channel
from services.serial_bridge import names
from services.serial_bridge.channels import MISSED, channel
from services.serial_bridge.options import Port
from services.serial_bridge.readings import About, NotAReading


def about(port: Port) -> About:
    """Return what the options of a port say of its channels; raise ValueError if that cannot be."""
    described: dict[str, Channel] = {"missed": MISSED}
    kinds = {names.channel(name): kind for name, kind in port.kinds.items()}
    for text, unit in port.units.items():
        name = names.channel(text)
        try:
            described[name] = channel(unit, kinds.get(name))
        except ValueError as error:
            raise ValueError(f"units: {text}: {error}") from None
    for name, kind in kinds.items():
        described.setdefault(name, Channel(kind=kind))
    return About(port.model or f"{port.format} device", port.interval, described)


def device(name: str | None, port: Port) -> str:
    """Return the device that a line names, else the one of the port; raise NotAReading if none can be called this."""
    if name is None:
        return port.device or port.name
    try:
        return names.device(name)
    except ValueError as error:
        raise NotAReading(str(error)) from None


def is_celsius(about: About, name: str) -> bool:
    """Whether a channel is known to be a temperature in °C."""
    return name in about.channels and about.channels[name].unit == "°C"
