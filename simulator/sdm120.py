"""The registers of Eastron's meters: SDM120 with one phase, SDM630 with three.

Eastron, "SDM120 Modbus Protocol" V2.4 and "SDM630 Modbus Protocol" V1.8: float32, high
word first, two registers a value. Parameters a model lacks read as zero; half a
parameter is refused.
"""

import struct
from collections.abc import Callable

from simulator.device import SimulatedDevice
from simulator.readings import Meter
from simulator.registers import Registers

SHARES = (0.5, 0.3, 0.2)  # of the three phases
LAST_SDM120 = 0x0158
LAST_SDM630 = 0x017E


def floats(values: dict[int, float]) -> dict[int, int]:
    """Return the registers that hold these float32 values by their addresses."""
    words: dict[int, int] = {}
    for address, value in values.items():
        words[address], words[address + 1] = struct.unpack(">HH", struct.pack(">f", value))
    return words


def encode_sdm120(meter: Meter) -> dict[int, float]:
    """Return an SDM120's parameters by address."""
    return {
        0x0000: meter.volts,
        0x0006: meter.amps,
        0x000C: meter.watts,
        0x0012: meter.va,
        0x0018: meter.var,
        0x001E: meter.power_factor,
        **_totals(meter),
    }


def encode_sdm630(meter: Meter) -> dict[int, float]:
    """Return an SDM630's parameters by address, the load shared between its phases."""
    values = _totals(meter)
    for phase, share in enumerate(SHARES):
        volts = meter.volts + 0.7 * (phase - 1)
        at = 2 * phase
        values |= {
            0x0000 + at: volts,
            0x0006 + at: meter.va * share / volts,
            0x000C + at: meter.watts * share,
            0x0012 + at: meter.va * share,
            0x0018 + at: meter.var * share,
            0x001E + at: meter.power_factor,
            0x015A + at: meter.import_kwh * share,
            0x0160 + at: meter.export_kwh * share,
            0x0166 + at: (meter.import_kwh + meter.export_kwh) * share,
            0x016C + at: meter.import_kvarh * share,
            0x0172 + at: meter.export_kvarh * share,
        }
    return values | {
        0x002A: meter.volts,
        0x0030: sum(values[0x0006 + 2 * phase] for phase in range(3)),
        0x0034: meter.watts,
        0x0038: meter.va,
        0x003C: meter.var,
        0x003E: meter.power_factor,
    }


def _totals(meter: Meter) -> dict[int, float]:
    return {
        0x0046: meter.hertz,
        0x0048: meter.import_kwh,
        0x004A: meter.export_kwh,
        0x004C: meter.import_kvarh,
        0x004E: meter.export_kvarh,
        0x0156: meter.import_kwh + meter.export_kwh,
        0x0158: meter.import_kvarh + meter.export_kvarh,
    }


def sdm120(name: str, read: Callable[[], Meter], *, unit: int = 1) -> SimulatedDevice:
    """Return an SDM120 that shows what `read` returns."""
    return _device(name, read, encode_sdm120, LAST_SDM120, 60, unit)


def sdm630(name: str, read: Callable[[], Meter], *, unit: int = 1) -> SimulatedDevice:
    """Return an SDM630 that shows what `read` returns."""
    return _device(name, read, encode_sdm630, LAST_SDM630, 80, unit)


def _device(
    name: str,
    read: Callable[[], Meter],
    encode: Callable[[Meter], dict[int, float]],
    last: int,
    largest: int,
    unit: int,
) -> SimulatedDevice:
    registers = Registers(largest=largest, pairs=True)
    registers.inputs.update(dict.fromkeys(range(last + 2), 0))
    registers.holdings.update(floats({0x0014: unit, 0x001C: 2}))  # 2: 9600 baud
    return SimulatedDevice(name, registers, lambda: registers.inputs.update(floats(encode(read()))))
