"""Registers to values, exactly. Pure."""

import math
import struct
from collections.abc import Sequence
from decimal import Decimal

from heliograph import float32
from heliograph.messages import Value, finite
from services.modbus_poller.frames import BITS
from services.modbus_poller.models import Header, Model, Register


def value(model: Model, channel: str, raw: Sequence[int]) -> Value | None:
    """Return the value in a channel's registers (or its bit); None for the device's "no value".

    Raises ValueError for a float that is NaN or infinite.
    """
    register = model.registers[channel]
    if model.function(channel) in BITS:
        number: int | float = int(bool(raw[0]))
        return _text(register, int(number)) if register.texts else bool(number)
    data = b"".join(word.to_bytes(2, "big") for word in model.arranged(channel, raw))
    if _is_null(register, data, model.header):
        return None
    number = _number(register, data)
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


def _is_null(register: Register, data: bytes, header: Header) -> bool:
    """Return whether the bytes of a value are what the device writes where there is no value.

    That is all bits set (the largest number of a signed type), the lowest number of a signed type, or a float that is
    no number, as the header says.
    """
    if register.type.startswith("float"):
        number = struct.unpack(">f" if len(data) == 4 else ">d", data)[0]
        return math.isnan(number) and (header.all_ones_is_null or header.lowest_is_null)
    signed = register.type.startswith("int")
    ones = bytes((0x7F if signed else 0xFF, *[0xFF] * (len(data) - 1)))
    lowest = bytes((0x80, *[0] * (len(data) - 1)))
    return (header.all_ones_is_null and data == ones) or (header.lowest_is_null and signed and data == lowest)


def _text(register: Register, number: int) -> str:
    return register.texts.get(str(number), f"code {number}")


def _number(register: Register, data: bytes) -> int | float:
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
