"""Sensors with a driver of the kernel's hwmon subsystem: SHT3x, fans, supply monitors, the chips on a board.

Files and units are those of Documentation/hwmon/sysfs-interface.rst in the Linux source.
"""

import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from heliograph.messages import Channel, Value
from services.sensor_reader import names
from services.sensor_reader.errors import NotAValue
from services.sensor_reader.sensor import Ask, Sensor
from services.sensor_reader.sources import sysfs
from services.sensor_reader.sources.quantities import PAUSE_SECONDS, Quantity, lane

FOLDER = "sys/class/hwmon"
ELSEWHERE = frozenset({"w1_slave_temp", "iio_hwmon", "cpu_thermal"})  # what other modules read at its source
QUANTITIES = {
    "temp": Quantity("temperature", Decimal("0.001"), "°C"),
    "in": Quantity("voltage", Decimal("0.001"), "V"),
    "curr": Quantity("current", Decimal("0.001"), "A"),
    "power": Quantity("power", Decimal("0.000001"), "W"),
    "energy": Quantity("energy", 1 / Decimal(3_600_000_000), "Wh", "counter"),
    "humidity": Quantity("humidity", Decimal("0.001"), "%"),
    "fan": Quantity("fan", shown="rpm"),
    "freq": Quantity("frequency", Decimal(1), "Hz"),
}
_FILE = re.compile(r"(temp|in|curr|power|energy|humidity|fan|freq)([0-9]{1,3})_(input|average)")


def discover(root: Path) -> Iterator[Sensor]:
    """Yield the sensors of the hwmon subsystem below a root folder, without those that other modules read better."""
    for folder in sysfs.entries(root / FOLDER, "hwmon*"):
        product = sysfs.word(folder / "name")
        found: dict[tuple[str, int], Path] = {}
        for path in sysfs.entries(folder, "*_*"):
            if match := _FILE.fullmatch(path.name):
                found.setdefault((match[1], int(match[2])), path)
                if match[3] == "input":
                    found[match[1], int(match[2])] = path
        if product in ELSEWHERE or not found:
            continue
        place = folder.resolve()
        owner = place.parent.parent if place.parent.name == "hwmon" else place.parent
        where = "" if owner.name in ("class", "hwmon") else owner.name
        name = names.device(product, where)
        how_many = Counter(kind for kind, _ in found)
        channels: dict[str, Channel] = {}
        asks: list[Ask] = []
        for (kind, index), path in found.items():
            quantity = QUANTITIES[kind]
            channel = quantity.name + (str(index) if how_many[kind] > 1 else "")
            label = sysfs.word(folder / f"{kind}{index}_label")
            channels[channel] = quantity.channel(label)
            asks.append(_ask(channel, path, folder / f"{kind}{index}_fault", quantity))
        yield Sensor(
            name,
            product or "hwmon sensor",
            str(folder),
            lane(place, name),
            channels,
            tuple(asks),
            PAUSE_SECONDS,
        )


def _ask(channel: str, path: Path, fault: Path, quantity: Quantity) -> Ask:
    def ask() -> dict[str, Value]:
        if sysfs.word(fault) == "1":
            raise NotAValue(f"{path.name}: the chip says that nothing is connected", "fault")
        return {channel: float(sysfs.number(path) * quantity.factor)}

    return ask
