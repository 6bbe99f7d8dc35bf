"""Descriptions of channels: from the configuration, else guessed."""

from collections.abc import Iterable

from heliograph import names, units
from heliograph.messages import Channel, Kind, Value

COUNTED = {"p", "pulses"}  # emonHub's unit of a pulse count
NO_SENSOR_C = {300: "not there", 302: "out of range", 304: "bad checksum"}  # emonLibCM.h
DBM = Channel("dBm")
MISSED = Channel(kind="counter", label="missed packets")


def channel(unit: str, kind: Kind | None = None) -> Channel:
    """Return a channel whose unit is spelled in any common way; raise ValueError if the unit is unknown.

    Pulses and energies are counters unless `kind` says otherwise.
    """
    spelled = units.spelled("" if unit == "n" else unit)  # emonHub's unit of a number
    if kind is None:
        counts = unit in COUNTED or units.DEVICE_CLASSES[spelled] in units.COUNTED
        kind = "counter" if counts else "gauge"
    return Channel(spelled, kind)


def named(option: str, texts: Iterable[str], rule: names.NamingRule) -> list[str]:
    """Return the names of the channels in an option; raise ValueError if one has no name, or the name of another."""
    made: list[str] = []
    for text in texts:
        try:
            name = rule.channel(text)
        except ValueError as error:
            raise ValueError(f"{option}: {error}") from None
        if name in made:
            raise ValueError(f"{option}: two channels would be called {name!r}")
        made.append(name)
    return made


def guessed(value: Value) -> Channel:
    """Return the description of a channel of which only this value is known."""
    if isinstance(value, bool):
        return Channel(kind="state")
    return Channel(kind="text" if isinstance(value, str) else "gauge")
