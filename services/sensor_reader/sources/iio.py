"""Sensors with a driver of the kernel's Industrial I/O subsystem: DHT11/22, BME280, ADCs, light, CO2 and many more.

Files and units are those of Documentation/ABI/testing/sysfs-bus-iio in the Linux source.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from heliograph import names
from heliograph.messages import Channel, Value
from services.sensor_reader import names as sensor_names
from services.sensor_reader.sensor import ReadValues, Sensor
from services.sensor_reader.sources import sysfs
from services.sensor_reader.sources.quantities import RETRY_SECONDS, Quantity, bus

FOLDER = "sys/bus/iio/devices"
DHT_RETRY_SECONDS = 2.0  # a DHT22 does not measure more often (Aosong AM2302, 7.3)
QUANTITIES = {
    "temp": Quantity("temperature", Decimal("0.001"), "°C"),
    "humidityrelative": Quantity("humidity", Decimal("0.001"), "%"),
    "pressure": Quantity("pressure", Decimal(10), "hPa"),
    "voltage": Quantity("voltage", Decimal("0.001"), "V"),
    "altvoltage": Quantity("alternating_voltage", Decimal("0.001"), "V"),
    "current": Quantity("current", Decimal("0.001"), "A"),
    "power": Quantity("power", Decimal("0.001"), "W"),
    "energy": Quantity("energy", 1 / Decimal(3600), "Wh", "counter"),
    "illuminance": Quantity("illuminance", Decimal(1), "lx"),
    "intensity": Quantity("intensity"),
    "uvindex": Quantity("uv_index"),
    "concentration": Quantity("concentration", Decimal(1), "%"),
    "massconcentration": Quantity("mass_concentration", Decimal(1), "µg/m³"),
    "resistance": Quantity("resistance", label_unit="Ω"),
    "capacitance": Quantity("capacitance", label_unit="nF"),
    "distance": Quantity("distance", label_unit="m"),
    "proximity": Quantity("proximity"),
    "ph": Quantity("ph"),
    "electricalconductivity": Quantity("conductivity", label_unit="S/m"),
    "velocity": Quantity("velocity", Decimal(1), "m/s"),
    "accel": Quantity("acceleration", label_unit="m/s²"),
    "gravity": Quantity("gravity", label_unit="m/s²"),
    "anglvel": Quantity("angular_velocity", label_unit="rad/s"),
    "angl": Quantity("angle", label_unit="rad"),
    "incli": Quantity("inclination", label_unit="°"),
    "magn": Quantity("magnetic_field", label_unit="G"),
    "steps": Quantity("steps", kind="counter"),
    "count": Quantity("count"),
}
CO2 = Quantity("co2", Decimal(10000), "ppm")  # the kernel has it in percent
_TYPES = "|".join(sorted(QUANTITIES, key=len, reverse=True))
_FILE = re.compile(
    rf"(?P<base>in_(?P<type>{_TYPES})(?P<index>[0-9]*)(?P<other>-(?:{_TYPES})[0-9]+)?(?:_(?P<modifier>[a-z0-9_.]+))?)"
    r"_(?P<form>input|raw)"
)


def discover(root: Path) -> Iterator[Sensor]:
    """Yield the sensors of the IIO subsystem below a root folder; devices without readable channels are left out."""
    for folder in sysfs.entries(root / FOLDER, "iio:device*"):
        channels: dict[str, Channel] = {}
        reads: list[ReadValues] = []
        left_out: list[str] = []
        for match in _files(folder):
            try:
                name, channel, read = _channel(folder, match)
                if name in channels:
                    raise ValueError(f"it would be called {name}, too")
            except ValueError as error:
                left_out.append(f"{match[0]}: {error}")
                continue
            channels[name] = channel
            reads.append(read)
        if not channels:
            continue
        product = sysfs.word(folder / "name")
        device = folder.resolve()
        where = "" if device.parent.name == "devices" else device.parent.name
        name = sensor_names.device(product, where)
        yield Sensor(
            name,
            product or "IIO sensor",
            str(folder),
            bus(device, name),
            channels,
            tuple(reads),
            DHT_RETRY_SECONDS if "dht" in product else RETRY_SECONDS,
            tuple(left_out),
        )


def _files(folder: Path) -> list[re.Match[str]]:
    """Return the files with values; a value that the driver has scaled is preferred to the raw one."""
    matches = [match for path in sysfs.entries(folder, "in_*") if (match := _FILE.fullmatch(path.name))]
    processed = {match["base"] for match in matches if match["form"] == "input"}
    return [match for match in matches if match["form"] == "input" or match["base"] not in processed]


def _channel(folder: Path, match: re.Match[str]) -> tuple[str, Channel, ReadValues]:
    quantity = QUANTITIES[match["type"]]
    name = quantity.name + match["index"]
    if match["type"] == "concentration" and match["modifier"] == "co2":
        quantity = CO2
        name = quantity.name + match["index"]
    elif match["type"] in ("concentration", "massconcentration") and match["modifier"]:
        name = match["modifier"].replace("2p5", "2_5").replace("4p0", "4") + match["index"]
    else:
        name += (match["other"] or "").replace("-", "_") + (f"_{match['modifier']}" if match["modifier"] else "")
    name = names.channel(name)
    path = folder / match[0]
    label = sysfs.word(folder / f"{match['base']}_label")
    scale = offset = None
    if match["form"] == "raw":
        scale, offset = _shared(folder, match, "scale"), _shared(folder, match, "offset")
        if scale is None:  # the count of the converter has no unit
            quantity = Quantity(quantity.name)

    def read() -> dict[str, Value]:
        value = sysfs.number(path)
        if offset is not None:
            value += sysfs.number(offset)
        if scale is not None:
            value *= sysfs.number(scale)
        return {name: float(value * quantity.factor)}

    return name, quantity.channel(label), read


def _shared(folder: Path, match: re.Match[str], attribute: str) -> Path | None:
    """Return the file with the scale or offset of a channel: its own, or that of all channels of its type."""
    kind = f"in_{match['type']}"
    bases = [match["base"]]
    if match["modifier"]:
        bases.append(f"{kind}_{match['modifier']}")
    if match["other"]:
        bases.append(f"{kind}-{match['type']}")
    for base in (*bases, kind, "in"):
        path = folder / f"{base}_{attribute}"
        if path.exists():
            return path
    return None
