"""Values to registers, for channels that can be written, within their limits. Pure."""

import struct
from decimal import Decimal

from heliograph.messages import Value
from services.modbus_poller.frames import BITS
from services.modbus_poller.models import Model, Register


class NotWritable(ValueError):
    """This value cannot be written to this channel; the message says why, for the client that sent it."""


def raw(model: Model, channel: str, value: Value) -> list[int]:
    """Return the registers (or the bit) that set a channel to `value`.

    Raises NotWritable for an unknown or read-only channel, and for a value outside its limits.
    """
    register = model.registers.get(channel)
    if register is None:
        raise NotWritable("no such channel")
    if register.writable is None:
        raise NotWritable("it is read-only")
    number = _number(register, value, model.function(channel) in BITS)
    low, high = register.writable
    if not low <= number <= high:
        raise NotWritable(f"{value} is not between {low:g} and {high:g}")
    if model.function(channel) in BITS:
        return [int(number)]
    return model.arranged(channel, _words(register, number))


def _number(register: Register, value: Value, bit: bool) -> int | float:
    """Return the number that a value means, before scaling."""
    if bit:
        if isinstance(value, str) or value not in (0, 1):
            raise NotWritable(f"expected true or false, found {value!r}")
        return int(value)
    if register.texts:
        codes = {text: int(code) for code, text in register.texts.items()}
        if isinstance(value, str) and value in codes:
            return codes[value]
        if isinstance(value, str) or value not in codes.values():
            raise NotWritable(f"expected {', '.join(codes)}, found {value!r}")
        return int(value)
    if isinstance(value, str) or (isinstance(value, bool) and register.kind != "state"):
        raise NotWritable(f"expected a number, found {value!r}")
    return int(value) if isinstance(value, bool) else value


def _words(register: Register, number: int | float) -> list[int]:
    plain = Decimal(repr(number))
    if not register.texts:
        plain = (plain - Decimal(repr(register.offset))) / Decimal(repr(register.scale))
    size = 2 * register.count
    try:
        if register.type.startswith("float"):
            data = struct.pack(">f" if size == 4 else ">d", float(plain))
        else:
            data = round(plain).to_bytes(size, "big", signed=register.type.startswith("int"))
    except OverflowError:
        raise NotWritable(f"{number} does not fit into {register.type}") from None
    return list(struct.unpack(f">{size // 2}H", data))
