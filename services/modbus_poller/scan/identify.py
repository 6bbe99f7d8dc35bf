"""Which model a device is: it is read as each of them, and the one with the most plausible values wins."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from heliograph import messages
from services.modbus_poller import models
from services.modbus_poller.errors import ExceptionResponse, InvalidFrame, NoResponse, UnexpectedResponse
from services.modbus_poller.options import DeviceOptions
from services.modbus_poller.polling import PolledDevice
from services.modbus_poller.reads import ReadRequest, request
from services.modbus_poller.requests import Read
from services.modbus_poller.sunspec.models import BASES, MARKER

# The plausible values of each unit; outside them, the registers hold something else.
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
TRIES = 2
_MAX_POWER_FACTOR = 1.1
_TINY = 1e-6  # registers that give a smaller float do not hold a float
_PLAUSIBLE, _TEXT, _ZERO, _IMPLAUSIBLE, _REFUSED = 1.0, 0.5, -0.25, -3.0, -2.0
_NO_VALUE = -1.0  # the device says that there is none, or its registers are those of another


class ModelMatch(NamedTuple):
    """A model, and the sum of the scores of its values."""

    model: str
    score: float


def responds(read: Read, requests: Iterable[ReadRequest]) -> bool:
    """Return whether a valid response comes to one of these requests; an exception is one, noise is not."""
    for one in requests:
        try:
            read(one)
        except (NoResponse, InvalidFrame):
            continue
        except (ExceptionResponse, UnexpectedResponse):
            pass
        return True
    return False


def best_match(
    read: Read, names: Iterable[str], progress: Callable[[str], object] = lambda name: None
) -> ModelMatch | None:
    """Return the model that fits a device best, or None; `progress` is called with the name of each that is tried."""
    progress(models.SUNSPEC)
    if any(_has_marker(read, base) for base in BASES):
        return ModelMatch(models.SUNSPEC, 0.0)
    matches = []
    for name in names:
        progress(name)
        device = PolledDevice(DeviceOptions("device", name))
        if _first_value_is_plausible(read, device):
            matches.append(ModelMatch(name, _score(read, device)))
    best = max(matches, key=lambda match: match.score, default=None)
    return best if best and best.score > 0 else None


def _score(read: Read, device: PolledDevice) -> float:
    for _ in range(TRIES):  # a disturbance must not make a model look as if it had less than the device
        result = device.poll(read, 0.0)
        if not result.failure:
            break
    values = sum(plausibility(device.model, channel, value) for channel, value in result.values.items())
    absent = len(device.model.registers) - len(result.values) - len(device.unsupported)
    return values + _REFUSED * len(device.unsupported) + _IMPLAUSIBLE * len(result.invalid) + _NO_VALUE * max(0, absent)


def plausibility(model: models.Model, channel: str, value: messages.Value) -> float:
    """Return the score of a value: 1 if the channel can have it, less for a zero, negative if it cannot."""
    register = model.registers[channel]
    if isinstance(value, str):
        return _IMPLAUSIBLE if value.startswith("code ") else _TEXT
    if isinstance(value, bool):
        return 0.0
    if value == 0:
        return _ZERO
    if register.type.startswith("uint") and not register.bits:
        full = ((1 << 16 * register.count) - 1) * register.scale + register.offset
        if abs(value - full) < abs(register.scale):
            return _IMPLAUSIBLE  # all bits are set: there is no value
    if "power_factor" in channel:
        return _PLAUSIBLE if abs(value) <= _MAX_POWER_FACTOR else _IMPLAUSIBLE
    low, high = _LIMITS.get(register.unit, (-1e12, 1e12))
    return _PLAUSIBLE if low <= value <= high and abs(value) > _TINY else _IMPLAUSIBLE


def _first_value_is_plausible(read: Read, device: PolledDevice) -> bool:
    channel = device.model.probe
    for _ in range(TRIES):
        try:
            values = device.values({channel: read(device.probe_request())})
        except (NoResponse, InvalidFrame):
            continue
        except (ExceptionResponse, UnexpectedResponse):
            return False
        break
    else:
        return False
    return channel in values and plausibility(device.model, channel, values[channel]) >= _ZERO


def _has_marker(read: Read, base: int) -> bool:
    try:
        return read(request(3, base, 2)) == MARKER
    except (NoResponse, InvalidFrame, ExceptionResponse, UnexpectedResponse):
        return False
