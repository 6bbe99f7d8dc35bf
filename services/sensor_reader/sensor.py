"""What a sensor is, and one reading of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from heliograph.messages import Channel, Info, Value
from services.sensor_reader.errors import Disturbed, Gone, NotAValue

ATTEMPTS = 3

Ask = Callable[[], Mapping[str, Value]]  # raises what errors.py lists


@dataclass(frozen=True, eq=False)
class Sensor:
    """A sensor that was found: its automatic name, what it is, and how to ask it.

    Sensors with the same `lane` are asked one after the other, because their bus takes
    one at a time. `pause` is the seconds it wants before it is asked again.
    """

    name: str
    model: str
    place: str
    lane: str
    channels: dict[str, Channel]
    asks: tuple[Ask, ...]
    pause: float = 0.0

    def same(self, other: "Sensor") -> bool:
        """Whether this is the same sensor in the same place, with the same channels."""
        mine = (self.name, self.model, self.place, self.lane, self.channels)
        return mine == (other.name, other.model, other.place, other.lane, other.channels)

    def info(self, interval: float, service: str) -> Info:
        """Return what others are told about it."""
        return Info(self.model, self.channels, interval, service)


class Bad(NamedTuple):
    """Something that was set aside: why, and what it was."""

    why: str
    what: str


class Result(msgspec.Struct):
    """What asking brought: values, what was set aside, what was asked again, and why something is missing."""

    values: dict[str, Value] = msgspec.field(default_factory=dict)
    bad: list[Bad] = msgspec.field(default_factory=list)
    repeats: int = 0
    failure: str = ""


def read(sensor: Sensor, pause: Callable[[float], object], attempts: int = ATTEMPTS) -> Result:
    """Ask a sensor for everything; what it does not tell does not keep the rest from being told."""
    result = Result()
    for ask in sensor.asks:
        for left in range(attempts - 1, -1, -1):
            try:
                result.values.update(ask())
                break
            except Disturbed as error:
                if left:
                    result.repeats += 1
                    pause(sensor.pause)
                    continue
                result.failure = str(error)
                if error.what:
                    result.bad.append(Bad(str(error), error.what))
            except Gone as error:
                result.failure = str(error)
                break
            except NotAValue as error:
                result.failure = str(error)
                result.bad.append(Bad(str(error), error.what))
                break
    return result
