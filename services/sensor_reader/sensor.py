"""A sensor, and one reading of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from heliograph.messages import Channel, Info, Value
from services.sensor_reader.errors import InvalidValue, ReadFailed, SensorRemoved

ATTEMPTS = 3

ReadValues = Callable[[], Mapping[str, Value]]  # channels and values; raises what errors.py lists


@dataclass(frozen=True, eq=False)
class Sensor:
    """A sensor: its automatic name, its description, and the functions that read it.

    Sensors with the same `bus` are read in turn. `retry_delay` is the seconds before a failed read is repeated.
    `left_out` says what is not read, because it has no name or that of another channel.
    """

    name: str
    model: str
    path: str
    bus: str
    channels: dict[str, Channel]
    reads: tuple[ReadValues, ...]
    retry_delay: float = 0.0
    left_out: tuple[str, ...] = ()

    def same(self, other: "Sensor") -> bool:
        """Return whether this is the same sensor at the same path, with the same channels."""
        mine = (self.name, self.model, self.path, self.bus, self.channels)
        return mine == (other.name, other.model, other.path, other.bus, other.channels)

    def info(self, interval: float, service: str) -> Info:
        """Return the description that is published."""
        return Info(self.model, self.channels, interval, service)


class InvalidInput(NamedTuple):
    """Something to set aside: why, and what it was."""

    why: str
    what: str


class ReadResult(msgspec.Struct):
    """The result of a reading: values, what is to be set aside, the retries, and why a value is missing."""

    values: dict[str, Value] = msgspec.field(default_factory=dict)
    invalid: list[InvalidInput] = msgspec.field(default_factory=list)
    retries: int = 0
    failure: str = ""


def read(sensor: Sensor, pause: Callable[[float], object], attempts: int = ATTEMPTS) -> ReadResult:
    """Read every channel of a sensor; a channel that fails does not affect the others.

    `pause` waits for the seconds before a retry; a failed read is tried at most `attempts` times.
    """
    result = ReadResult()
    for read_values in sensor.reads:
        for left in range(attempts - 1, -1, -1):
            try:
                result.values.update(read_values())
                break
            except ReadFailed as error:
                if left:
                    result.retries += 1
                    pause(sensor.retry_delay)
                    continue
                result.failure = str(error)
                if error.what:
                    result.invalid.append(InvalidInput(str(error), error.what))
            except SensorRemoved as error:
                result.failure = str(error)
                break
            except InvalidValue as error:
                result.failure = str(error)
                result.invalid.append(InvalidInput(str(error), error.what))
                break
    return result
