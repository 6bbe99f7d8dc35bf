"""Which sensors are there now, and what they are called."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from services.sensor_reader.options import Choice, SensorReader
from services.sensor_reader.sensor import Sensor
from services.sensor_reader.sources import hwmon, iio, one_wire, system


class Named(NamedTuple):
    """A sensor, what it is called on the bus and would be by itself, and how often it is to be read."""

    name: str
    automatic: str
    interval: float
    sensor: Sensor


class Found(NamedTuple):
    """The sensors by their name, and what stands in the way of the others."""

    sensors: dict[str, Named]
    troubles: list[str]


def find(options: SensorReader, data: Path) -> Found:
    """Return what the kernel has now; a family that cannot be listed does not hide the others."""
    root = Path(options.root)
    families = (one_wire.discover(root), iio.discover(root), hwmon.discover(root), system.discover(root, data))
    sensors: list[Sensor] = []
    troubles: list[str] = []
    for family in families:
        try:
            sensors += family
        except OSError as error:
            troubles.append(f"cannot list sensors: {error}")
    reserved = {counter.name for counter in options.counters}
    found = call(sensors, options, reserved)
    return Found(found.sensors, [*troubles, *found.troubles])


def call(sensors: Iterable[Sensor], options: SensorReader, reserved: Iterable[str] = ()) -> Found:
    """Give sensors their names: those the user chose first, then automatic ones; what is ignored is left out.

    A second sensor with the same automatic name gets a number behind it, in the order of the list.
    """
    taken = set(reserved)
    found: dict[str, Named] = {}
    troubles: list[str] = []
    numbers: dict[str, int] = {}
    wanted = []
    for sensor in sensors:
        numbers[sensor.name] = number = numbers.get(sensor.name, 0) + 1
        automatic = sensor.name if number == 1 else f"{sensor.name[:59]}_{number}"
        if not any(fnmatchcase(automatic, pattern) for pattern in options.ignore):
            wanted.append((automatic, options.sensors.get(automatic, Choice()), sensor))
    for automatic, choice, sensor in sorted(wanted, key=lambda item: not item[1].name):
        name = choice.name or automatic
        if name in taken:
            troubles.append(f"{sensor.place}: another device is named {name}")
            continue
        taken.add(name)
        usual = options.system_interval if sensor.name == system.NAME else options.interval
        found[name] = Named(name, automatic, choice.interval or usual, sensor)
    return Found(found, troubles)
