"""Sensors with a driver of the kernel's Industrial I/O subsystem: DHT11/22, BME280, ADCs, light, CO2 and many more.

Files and units are those of Documentation/ABI/testing/sysfs-bus-iio in the Linux source.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from heliograph.messages import Channel, Value
from services.sensor_reader import names
from services.sensor_reader.sensor import Ask, Sensor
from services.sensor_reader.sources import sysfs
from services.sensor_reader.sources.quantities import PAUSE_SECONDS, Quantity, lane

FOLDER = "sys/bus/iio/devices"
DHT_PAUSE_SECONDS = 2.0  # a DHT22 measures no more often (Aosong AM2302, 7.3)
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
    "resistance": Quantity("resistance", shown="Ω"),
    "capacitance": Quantity("capacitance", shown="nF"),
    "distance": Quantity("distance", shown="m"),
    "proximity": Quantity("proximity"),
    "ph": Quantity("ph"),
    "electricalconductivity": Quantity("conductivity", shown="S/m"),
    "velocity": Quantity("velocity", Decimal(1), "m/s"),
    "accel": Quantity("acceleration", shown="m/s²"),
    "gravity": Quantity("gravity", shown="m/s²"),
    "anglvel": Quantity("angular_velocity", shown="rad/s"),
    "angl": Quantity("angle", shown="rad"),
    "incli": Quantity("inclination", shown="°"),
    "magn": Quantity("magnetic_field", shown="G"),
    "steps": Quantity("steps", kind="counter"),
    "count": Quantity("count"),
}
CO2 = Quantity("co2", Decimal(10000), "ppm")  # the kernel's is percent
_TYPES = "|".join(sorted(QUANTITIES, key=len, reverse=True))
_FILE = re.compile(
    rf"(?P<base>in_(?P<type>{_TYPES})(?P<index>[0-9]*)(?P<other>-(?:{_TYPES})[0-9]+)?(?:_(?P<modifier>[a-z0-9_.]+))?)"
    r"_(?P<form>input|raw)"
)


def discover(root: Path) -> Iterator[Sensor]:
    """Yield the sensors of the IIO subsystem below a root folder; one that cannot be looked at is left out."""
    for folder in sysfs.entries(root / FOLDER, "iio:device*"):
        channels: dict[str, Channel] = {}
        asks: list[Ask] = []
        for match in _files(folder):
            name, channel, ask = _channel(folder, match)
            if name not in channels:
                channels[name] = channel
                asks.append(ask)
        if not channels:
            continue
        product = sysfs.word(folder / "name")
        place = folder.resolve()
        where = "" if place.parent.name == "devices" else place.parent.name
        name = names.device(product, where)
        yield Sensor(
            name,
            product or "IIO sensor",
            str(folder),
            lane(place, name),
            channels,
            tuple(asks),
            DHT_PAUSE_SECONDS if "dht" in product else PAUSE_SECONDS,
        )


def _files(folder: Path) -> list[re.Match[str]]:
    """Return the files that hold values, the driver's own arithmetic before ours."""
    found = [match for path in sysfs.entries(folder, "in_*") if (match := _FILE.fullmatch(path.name))]
    processed = {match["base"] for match in found if match["form"] == "input"}
    return [match for match in found if match["form"] == "input" or match["base"] not in processed]


def _channel(folder: Path, match: re.Match[str]) -> tuple[str, Channel, Ask]:
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
        if scale is None:  # what the converter counts, in no unit
            quantity = Quantity(quantity.name)

    def ask() -> dict[str, Value]:
        value = sysfs.number(path)
        if offset is not None:
            value += sysfs.number(offset)
        if scale is not None:
            value *= sysfs.number(scale)
        return {name: float(value * quantity.factor)}

    return name, quantity.channel(label), ask


def _shared(folder: Path, match: re.Match[str], what: str) -> Path | None:
    """Return the file with the scale or offset of a channel: its own, or that of all channels of its type."""
    kind = f"in_{match['type']}"
    bases = [match["base"]]
    if match["modifier"]:
        bases.append(f"{kind}_{match['modifier']}")
    if match["other"]:
        bases.append(f"{kind}-{match['type']}")
    for base in (*bases, kind, "in"):
        path = folder / f"{base}_{what}"
        if path.exists():
            return path
    return None
