"""Which of the models a device is: it is asked as each of them, and the one that makes most sense wins."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from heliograph import messages
from services.modbus_poller import models
from services.modbus_poller.errors import Garbled, Mismatched, Refused, Silent
from services.modbus_poller.options import Device
from services.modbus_poller.polling import Polled, Read
from services.modbus_poller.reads import Block, request
from services.modbus_poller.sunspec.models import BASES, MARKER

# What a value in this unit can be; beyond it, the registers mean something else.
_LIMITS: dict[str, tuple[float, float]] = {
    "V": (0, 1500),
    "A": (-5000, 5000),
    "Hz": (40, 70),
    "%": (0, 110),
    "°C": (-50, 150),
    "W": (-1e7, 1e7),
    "VA": (-1e7, 1e7),
    "var": (-1e7, 1e7),
    "kWh": (0, 1e8),
    "Wh": (0, 1e11),
}
_PHASES = 1.1  # a power factor
_TINY = 1e-6  # a float that is smaller was no float
_ZERO, _NONSENSE, _REFUSED = -0.25, -3.0, -2.0


class Match(NamedTuple):
    """A model, and how much sense its values made: a point for each that did."""

    model: str
    score: float


def is_there(read: Read, questions: Iterable[Block]) -> bool:
    """Whether a sound answer comes to one of these questions, whatever it says; noise is none."""
    for question in questions:
        try:
            read(question)
        except (Silent, Garbled):
            continue
        except (Refused, Mismatched):
            pass  # a no is an answer
        return True
    return False


def best(read: Read, names: Iterable[str], look: Callable[[str], object] = lambda name: None) -> Match | None:
    """Return the model that suits a device best, None if none of them does; `look` hears which one is tried."""
    look(models.SUNSPEC)
    if any(_holds_marker(read, base) for base in BASES):
        return Match(models.SUNSPEC, 0.0)
    matches = []
    for name in names:
        look(name)
        polled = Polled(Device("it", name))
        if _first_value_makes_sense(read, polled):
            matches.append(Match(name, score(read, polled)))
    found = max(matches, key=lambda match: match.score, default=None)
    return found if found and found.score > 0 else None


def score(read: Read, polled: Polled) -> float:
    """Return how much sense the values of a device make if it is what it is polled as."""
    result = polled.poll(read, 0.0)
    known = sum(makes_sense(polled.model, channel, value) for channel, value in result.values.items())
    return known + _REFUSED * len(polled.left_out) + _NONSENSE * len(result.bad)


def makes_sense(model: models.Model, channel: str, value: messages.Value) -> float:
    """Return 1 for a value that this channel can have, less for a zero, and less than nothing for one that it cannot."""
    register = model.registers[channel]
    if isinstance(value, str):
        return _NONSENSE if value.startswith("code ") else 0.5
    if isinstance(value, bool):
        return 0.0
    if value == 0:
        return _ZERO
    if register.type.startswith("uint") and not register.bits:
        full = ((1 << 16 * register.count) - 1) * register.scale + register.offset
        if abs(value - full) < abs(register.scale):
            return _NONSENSE  # all ones: nobody home
    if "power_factor" in channel:
        return 1.0 if abs(value) <= _PHASES else _NONSENSE
    low, high = _LIMITS.get(register.unit, (-1e12, 1e12))
    return 1.0 if low <= value <= high and abs(value) > _TINY else _NONSENSE


def _first_value_makes_sense(read: Read, polled: Polled) -> bool:
    channel = polled.model.probe
    try:
        values = polled.values({channel: read(polled.question())})
    except (Silent, Garbled, Refused, Mismatched):
        return False
    return channel in values and makes_sense(polled.model, channel, values[channel]) >= _ZERO


def _holds_marker(read: Read, base: int) -> bool:
    try:
        return read(request(3, base, 2)) == MARKER
    except (Silent, Garbled, Refused, Mismatched):
        return False
