"""Thermometers on the 1-Wire bus (kernel driver w1_therm): DS18B20 and its family, and the thermocouples of a MAX31850."""

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from heliograph.messages import Channel, Value
from services.sensor_reader import names
from services.sensor_reader.errors import InvalidValue, ReadFailed, SensorRemoved
from services.sensor_reader.sensor import Sensor
from services.sensor_reader.sources import sysfs

FOLDER = "sys/bus/w1/devices"
PRODUCTS = {"10": "DS18S20", "22": "DS1822", "28": "DS18B20", "3b": "DS1825", "42": "DS28EA00"}
MIN_CELSIUS, MAX_CELSIUS = Decimal(-55), Decimal(125)  # DS18B20 data sheet
# MAX31850 and MAX31851 have the family code of the DS1825, and bit 7 of byte 4 set (MAX31850 data sheet, "Memory";
# Linux, w1_therm.c); without the bytes, the two cannot be distinguished.
THERMOCOUPLE = "3b"
THERMOCOUPLE_BIT, FAULT_BIT = 0x80, 0x01  # of byte 4, of byte 0
MIN_THERMOCOUPLE_CELSIUS, MAX_THERMOCOUPLE_CELSIUS = Decimal(-270), Decimal(1372)  # type K
FAULTS = ((1, "it is open"), (2, "it is connected to ground"), (4, "it is connected to the supply"))  # of byte 2
POWER_ON = Decimal(85)  # in the register until the first conversion is done
NEAR = Decimal(10)  # °C
RESERVED_AT_POWER_ON = 0x0C  # byte 6 of a DS18B20 before its first conversion; 0x10 after one that gave 85
_ID = re.compile(r"([0-9a-f]{2})-([0-9a-f]{12})")
_SLAVE = re.compile(r"((?:[0-9a-f]{2} ){9}): crc=([0-9a-f]{2}) (YES|NO)[^\n]*\n(?:[0-9a-f]{2} ){9}t=(-?[0-9]{1,7})\n")


def discover(root: Path) -> Iterator[Sensor]:
    """Yield the thermometers on the 1-Wire buses below a root folder."""
    for folder in sysfs.entries(root / FOLDER, "*-*"):
        match = _ID.fullmatch(folder.name)
        if not match or match[1] not in PRODUCTS or not folder.is_dir():
            continue
        thermometer = Thermometer(folder, match[1])
        product = PRODUCTS[match[1]]
        bus = folder.resolve().parent.name
        yield Sensor(
            names.device(product, match[2]),
            product,
            str(folder),
            bus if bus.startswith("w1_bus") else "w1",
            {"temperature": Channel("°C")},
            (thermometer,),
        )


class Thermometer:
    """Reads one thermometer, and rejects the 85 °C that it shows before it has measured."""

    def __init__(self, folder: Path, family: str) -> None:
        self._folder = folder
        self._family = family
        self._last: Decimal | None = None
        self._reserved_is_fixed = False  # as in clones, where the byte has no meaning

    def __call__(self) -> dict[str, Value]:
        """Return the temperature in °C; raises what errors.py lists."""
        try:
            content = sysfs.text(self._folder / "w1_slave")
        except SensorRemoved:
            celsius, scratchpad = sysfs.number(self._folder / "temperature") / 1000, b""
        else:
            celsius, scratchpad = slave(content)
        thermocouple = self._family == THERMOCOUPLE and bool(scratchpad) and bool(scratchpad[4] & THERMOCOUPLE_BIT)
        if thermocouple and scratchpad[0] & FAULT_BIT:
            faults = [fault for bit, fault in FAULTS if scratchpad[2] & bit]
            raise InvalidValue(f"the thermocouple has a fault: {', '.join(faults)}", scratchpad.hex(" "))
        if thermocouple or (self._family == THERMOCOUPLE and not scratchpad):
            lowest, highest = MIN_THERMOCOUPLE_CELSIUS, MAX_THERMOCOUPLE_CELSIUS
        else:
            lowest, highest = MIN_CELSIUS, MAX_CELSIUS
        if not lowest <= celsius <= highest:
            raise InvalidValue("outside the range of the sensor", str(celsius))
        if thermocouple:
            return {"temperature": float(celsius)}
        if celsius == POWER_ON:
            self._check_power_on(scratchpad)
        elif scratchpad and scratchpad[6] == RESERVED_AT_POWER_ON:
            self._reserved_is_fixed = True
        self._last = celsius
        return {"temperature": float(celsius)}

    def _check_power_on(self, scratchpad: bytes) -> None:
        reset = scratchpad[6:7] == bytes([RESERVED_AT_POWER_ON]) and not self._reserved_is_fixed
        if reset or self._last is None or abs(self._last - POWER_ON) > NEAR:
            raise InvalidValue("85 °C, as after power-on: it has not measured", scratchpad.hex(" ") or "85000")


def slave(content: str) -> tuple[Decimal, bytes]:
    """Return the temperature in °C and the nine bytes in the content of a w1_slave file.

    Raises ReadFailed if the checksum is wrong or a line is missing, and if a shorted
    bus reads as zeros, whose checksum is right.
    """
    match = _SLAVE.fullmatch(content)
    if not match:
        raise ReadFailed("w1_slave: unknown format", content[:80])
    scratchpad = bytes.fromhex(match[1])
    if match[3] == "NO" or checksum(scratchpad):
        raise ReadFailed("wrong checksum", scratchpad.hex(" "))
    if not any(scratchpad):
        raise ReadFailed("only zeros: short circuit on the bus", scratchpad.hex(" "))
    return Decimal(match[4]) / 1000, scratchpad


def checksum(content: bytes) -> int:
    """Return the CRC of Maxim's application note 27 (x⁸ + x⁵ + x⁴ + 1): 0 for bytes that end with their own."""
    crc = 0
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8C if crc & 1 else 0)
    return crc
