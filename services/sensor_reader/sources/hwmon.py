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
from services.sensor_reader.errors import InvalidValue
from services.sensor_reader.sensor import ReadValues, Sensor
from services.sensor_reader.sources import sysfs
from services.sensor_reader.sources.quantities import RETRY_SECONDS, Quantity, bus

FOLDER = "sys/class/hwmon"
DUPLICATES = frozenset({"w1_slave_temp", "iio_hwmon", "cpu_thermal"})  # other modules read these directly
QUANTITIES = {
    "temp": Quantity("temperature", Decimal("0.001"), "°C"),
    "in": Quantity("voltage", Decimal("0.001"), "V"),
    "curr": Quantity("current", Decimal("0.001"), "A"),
    "power": Quantity("power", Decimal("0.000001"), "W"),
    "energy": Quantity("energy", 1 / Decimal(3_600_000_000), "Wh", "counter"),
    "humidity": Quantity("humidity", Decimal("0.001"), "%"),
    "fan": Quantity("fan", label_unit="rpm"),
    "freq": Quantity("frequency", Decimal(1), "Hz"),
}
_FILE = re.compile(r"(temp|in|curr|power|energy|humidity|fan|freq)([0-9]{1,3})_(input|average)")


def discover(root: Path) -> Iterator[Sensor]:
    """Yield the sensors of the hwmon subsystem below a root folder, without those that other modules read directly."""
    for folder in sysfs.entries(root / FOLDER, "hwmon*"):
        product = sysfs.word(folder / "name")
        files: dict[tuple[str, int], Path] = {}
        for path in sysfs.entries(folder, "*_*"):
            if match := _FILE.fullmatch(path.name):
                files.setdefault((match[1], int(match[2])), path)
                if match[3] == "input":
                    files[match[1], int(match[2])] = path
        if product in DUPLICATES or not files:
            continue
        device = folder.resolve()
        parent = device.parent.parent if device.parent.name == "hwmon" else device.parent
        where = "" if parent.name in ("class", "hwmon") else parent.name
        name = names.device(product, where)
        counts = Counter(kind for kind, _ in files)
        channels: dict[str, Channel] = {}
        reads: list[ReadValues] = []
        for (kind, index), path in files.items():
            quantity = QUANTITIES[kind]
            channel = quantity.name + (str(index) if counts[kind] > 1 else "")
            label = sysfs.word(folder / f"{kind}{index}_label")
            channels[channel] = quantity.channel(label)
            reads.append(_read(channel, path, folder / f"{kind}{index}_fault", quantity))
        yield Sensor(
            name,
            product or "hwmon sensor",
            str(folder),
            bus(device, name),
            channels,
            tuple(reads),
            RETRY_SECONDS,
        )


def _read(channel: str, path: Path, fault: Path, quantity: Quantity) -> ReadValues:
    def read() -> dict[str, Value]:
        if sysfs.word(fault) == "1":
            raise InvalidValue(f"{path.name}: the chip reports that nothing is connected", "fault")
        return {channel: float(sysfs.number(path) * quantity.factor)}

    return read
