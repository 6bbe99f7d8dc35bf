"""Registers to values, exactly. Pure."""

import struct
from collections.abc import Sequence
from decimal import Decimal

from heliograph import float32
from heliograph.messages import Value, finite
from services.modbus_poller.frames import BITS
from services.modbus_poller.models import Model, Register


def value(model: Model, channel: str, raw: Sequence[int]) -> Value | None:
    """Return the value in a channel's registers (or its bit); None for the device's "no value".

    Raises ValueError for a float that is NaN or infinite.
    """
    register = model.registers[channel]
    if model.function(channel) in BITS:
        number: int | float = int(bool(raw[0]))
        return _text(register, int(number)) if register.texts else bool(number)
    number = _number(register, raw, model.header.word_order == "little")
    if model.header.all_ones_is_null and isinstance(number, int) and number == _null(register):
        return None
    if isinstance(number, int) and register.bits:
        high, low = register.bit_range
        number = number >> low & (1 << high - low + 1) - 1
        if high == low and not register.texts:
            return bool(number)
        if register.signed and number >> high - low:
            number = -(number - (1 << high - low))
    if isinstance(number, int) and register.texts:
        return _text(register, number)
    return _scaled(register, number)


def _null(register: Register) -> int:
    """Return the number that means "no value": all bits set, or the largest number of a signed type."""
    bits = 16 * register.count
    return (1 << bits - 1) - 1 if register.type.startswith("int") else (1 << bits) - 1


def _text(register: Register, number: int) -> str:
    return register.texts.get(str(number), f"code {number}")


def _number(register: Register, raw: Sequence[int], low_first: bool) -> int | float:
    words = reversed(raw) if low_first else raw
    data = b"".join(word.to_bytes(2, "big") for word in words)
    if register.type == "float32":
        return float32.shortest(struct.unpack(">f", data)[0])
    if register.type == "float64":
        return finite(struct.unpack(">d", data)[0])
    return int.from_bytes(data, "big", signed=register.type.startswith("int"))


def _scaled(register: Register, number: int | float) -> int | float:
    """Return the number scaled and offset in decimal arithmetic: 1234 times 0.01 is 12.34."""
    scale, offset = register.scale, register.offset
    if scale == 1 and not offset:
        return number
    if isinstance(number, int) and isinstance(scale, int) and isinstance(offset, int):
        return number * scale + offset
    exact = Decimal(repr(number)) * Decimal(repr(scale)) + Decimal(repr(offset))
    return finite(float(exact))
