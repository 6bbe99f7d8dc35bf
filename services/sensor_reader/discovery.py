"""The sensors that the machine has now, and their names."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from services.sensor_reader.options import SensorOptions, SensorReader
from services.sensor_reader.sensor import Sensor
from services.sensor_reader.sources import hwmon, iio, one_wire, system


class NamedSensor(NamedTuple):
    """A sensor with its name on the bus, its automatic name, and the seconds between its readings."""

    name: str
    automatic_name: str
    interval: float
    sensor: Sensor


class Discovery(NamedTuple):
    """The sensors by their name, and why others are left out."""

    sensors: dict[str, NamedSensor]
    errors: list[str]


def find(options: SensorReader, data: Path) -> Discovery:
    """Return the sensors that the kernel has now; a subsystem that cannot be listed does not hide the others."""
    root = Path(options.root)
    sources = (one_wire.discover(root), iio.discover(root), hwmon.discover(root), system.discover(root, data))
    sensors: list[Sensor] = []
    errors: list[str] = []
    for source in sources:
        try:
            sensors += source
        except OSError as error:
            errors.append(f"cannot list sensors: {error}")
    reserved = {counter.name for counter in options.counters}
    named = name_sensors(sensors, options, reserved)
    return Discovery(named.sensors, [*errors, *named.errors])


def name_sensors(sensors: Iterable[Sensor], options: SensorReader, reserved: Iterable[str] = ()) -> Discovery:
    """Name the sensors that are not ignored: names that the user chose first, then automatic ones.

    A second sensor with the same automatic name gets a number appended, in the order of the list.
    """
    taken = set(reserved)
    named: dict[str, NamedSensor] = {}
    errors: list[str] = []
    numbers: dict[str, int] = {}
    selected = []
    for sensor in sensors:
        numbers[sensor.name] = number = numbers.get(sensor.name, 0) + 1
        automatic_name = sensor.name if number == 1 else f"{sensor.name[:59]}_{number}"
        if not any(fnmatchcase(automatic_name, pattern) for pattern in options.ignore):
            selected.append((automatic_name, options.sensors.get(automatic_name, SensorOptions()), sensor))
    for automatic_name, chosen, sensor in sorted(selected, key=lambda item: not item[1].name):
        name = chosen.name or automatic_name
        if name in taken:
            errors.append(f"{sensor.path}: another device is named {name}")
            continue
        taken.add(name)
        errors += [f"{sensor.path}: {reason}" for reason in sensor.left_out]
        default = options.system_interval if sensor.name == system.NAME else options.interval
        named[name] = NamedSensor(name, automatic_name, chosen.interval or default, sensor)
    return Discovery(named, errors)
