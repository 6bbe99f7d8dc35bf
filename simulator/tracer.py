"""The registers of an EPEVER Tracer charge controller.

Addresses, scales and bits: EPEVER, "B-series common protocol" (V1.1 to V2.5). 32-bit
values have their low word first.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta, tzinfo

from simulator.device import SimulatedDevice
from simulator.readings import Controller, Energy
from simulator.registers import Registers

CHARGING = {"none": 0b00, "float": 0b01, "boost": 0b10, "equalise": 0b11}
CLOCK = 0x9013
MANUAL_LOAD = 0x0002
RATED = {
    0x3000: 10_000,  # PV V
    0x3001: 2_000,  # PV A
    0x3002: 26_000,  # PV W, low word
    0x3003: 0,
    0x3004: 1_200,  # battery V
    0x3005: 2_000,  # charging A
    0x3006: 26_000,  # charging W, low word
    0x3007: 0,
    0x3008: 2,  # charging mode: MPPT
    0x300E: 2_000,  # load A
}
SETTINGS = {
    0x9000: 1,  # battery type: sealed
    0x9001: 100,  # Ah
    0x9002: 300,  # temperature compensation, 0.01 mV/°C/2 V
    0x9003: 1_600,  # high voltage disconnect
    0x9004: 1_500,  # charging limit
    0x9005: 1_500,  # over voltage reconnect
    0x9006: 1_460,  # equalise
    0x9007: 1_440,  # boost
    0x9008: 1_380,  # float
    0x9009: 1_320,  # boost reconnect
    0x900A: 1_260,  # low voltage reconnect
    0x900B: 1_220,  # under voltage recover
    0x900C: 1_200,  # under voltage warning
    0x900D: 1_110,  # low voltage disconnect
    0x900E: 1_060,  # discharging limit
    0x903D: 0,  # load control: manual
    0x9067: 1,  # system voltage: 12 V
}
COILS = {0x0000: 1, 0x0001: 1, MANUAL_LOAD: 1, 0x0003: 1, 0x0005: 0, 0x0006: 0}


def encode(reading: Controller) -> dict[int, int]:
    """Return every input register 0x3100-0x331E that exists, as the controller holds it."""
    words = {
        0x3100: _word(reading.pv_v),
        0x3101: _word(reading.pv_a),
        0x3104: _word(reading.battery_v),
        0x3105: _word(reading.charge_a),
        0x310C: _word(reading.load_v),
        0x310D: _word(reading.load_a),
        0x3110: _signed(reading.battery_c),
        0x3111: _signed(reading.case_c),
        0x3112: _signed(reading.heatsink_c),
        0x311A: round(reading.soc * 100),
        0x311B: _signed(reading.battery_c),
        0x311C: 0,
        0x311D: 1_200,
        0x3200: 0x0001 * (reading.battery_v > 16)
        + 0x0002 * (11.1 <= reading.battery_v < 12.0)
        + 0x0003 * (reading.battery_v < 11.1)
        + 0x0010 * (reading.battery_c > 65)
        + 0x0020 * (reading.battery_c < -35),
        0x3201: CHARGING[reading.stage] << 2 | 0x0001 | (0x4000 if reading.night else 0),
        0x3202: 0x0001 * reading.load_on | (0x1000 if reading.load_w > 130 else 0),
        0x3300: _word(reading.pv_range.high),
        0x3301: _word(reading.pv_range.low),
        0x3302: _word(reading.battery_range.high),
        0x3303: _word(reading.battery_range.low),
        0x331A: _word(reading.battery_v),
        0x331D: _signed(reading.battery_c),
        0x331E: _signed(reading.ambient_c),
    }
    _put(words, 0x3102, reading.pv_w)
    _put(words, 0x3106, reading.charge_w)
    _put(words, 0x310E, reading.load_w)
    _put(words, 0x331B, reading.charge_a - reading.load_a)
    _put_energy(words, 0x3304, reading.consumed)
    _put_energy(words, 0x330C, reading.generated)
    # Undocumented, but there: where some units hold what the load takes.
    words |= {0x3108 + i: words[0x310C + i] for i in range(4)}
    return words


def encode_clock(moment: datetime) -> list[int]:
    """Return the three words of the controller's clock."""
    return [
        moment.minute << 8 | moment.second,
        moment.day << 8 | moment.hour,
        (moment.year - 2000) << 8 | moment.month,
    ]


def decode_clock(words: list[int], zone: tzinfo | None) -> datetime:
    """Return the time in the three words; raise ValueError if there is none."""
    first, second, third = words
    return datetime(
        2000 + (third >> 8),
        third & 0xFF,
        second >> 8,
        second & 0xFF,
        first >> 8,
        first & 0xFF,
        tzinfo=zone,
    )


def _word(value: float) -> int:
    return min(0xFFFF, max(0, round(value * 100)))


def _signed(value: float) -> int:
    return min(0x7FFF, max(-0x8000, round(value * 100))) & 0xFFFF


def _put(words: dict[int, int], address: int, value: float) -> None:
    raw = round(value * 100) & 0xFFFF_FFFF
    words[address], words[address + 1] = raw & 0xFFFF, raw >> 16


def _put_energy(words: dict[int, int], address: int, energy: Energy) -> None:
    for i, kwh in enumerate((energy.today, energy.month, energy.year, energy.total)):
        _put(words, address + 2 * i, kwh)


def tracer(
    name: str,
    read: Callable[[], Controller],
    switch_load: Callable[[bool], None] = lambda on: None,
) -> SimulatedDevice:
    """Return a Tracer that shows what `read` returns; its load coil calls `switch_load`.

    Its clock shows the reading's time until a client sets it, and continues from there.
    """
    registers = Registers()
    registers.inputs.update(RATED)
    registers.holdings.update(SETTINGS)
    registers.coils.update(COILS)
    ahead = timedelta()

    def refresh() -> None:
        reading = read()
        registers.inputs.update(encode(reading))
        registers.discretes.update({0x2000: int(reading.heatsink_c > 85), 0x200C: int(reading.night)})
        clock = encode_clock(reading.time + ahead)
        registers.holdings.update({CLOCK + i: word for i, word in enumerate(clock)})

    def written(start: int, values: list[int]) -> None:
        nonlocal ahead
        if start == MANUAL_LOAD and len(values) == 1:
            switch_load(bool(values[0]))
        elif start == CLOCK and len(values) == 3:
            with suppress(ValueError):
                now = read().time
                ahead = decode_clock(values, now.tzinfo) - now

    registers.written = written
    return SimulatedDevice(name, registers, refresh)
