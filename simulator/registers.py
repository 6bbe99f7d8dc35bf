"""A device's Modbus memory, and the answer it gives to a request."""

import struct
from collections.abc import Callable, Mapping

ILLEGAL_FUNCTION = 1
ILLEGAL_ADDRESS = 2
ILLEGAL_VALUE = 3

READ_COILS, READ_DISCRETES, READ_HOLDINGS, READ_INPUTS = 1, 2, 3, 4
WRITE_COIL, WRITE_HOLDING, WRITE_COILS, WRITE_HOLDINGS = 5, 6, 15, 16
BITS = (READ_COILS, READ_DISCRETES)


class RefusedRequest(Exception):
    """A request this memory cannot serve; carries the Modbus exception code to answer."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exception {code}")
        self.code = code


class Registers:
    """Four tables of 16-bit words and bits; an address that is in none does not exist.

    `largest` is the longest read in registers. With `pairs`, every value fills two
    registers, and a request for half of one is refused. `written` hears of writes.
    """

    def __init__(self, *, largest: int = 125, pairs: bool = False) -> None:
        self.coils: dict[int, int] = {}
        self.discretes: dict[int, int] = {}
        self.holdings: dict[int, int] = {}
        self.inputs: dict[int, int] = {}
        self.largest = largest
        self.pairs = pairs
        self.written: Callable[[int, list[int]], None] = lambda start, values: None

    def answer(self, request: bytes) -> bytes:
        """Serve one request PDU (Modbus Application Protocol V1.1b3, 6.1-6.6, 6.11, 6.12)."""
        function = request[0] if request else 0
        try:
            return bytes([function]) + self._serve(function, request[1:])
        except RefusedRequest as refused:
            return bytes([function | 0x80, refused.code])

    def _serve(self, function: int, body: bytes) -> bytes:
        if function in (READ_COILS, READ_DISCRETES, READ_HOLDINGS, READ_INPUTS):
            return self._read(function, body)
        if function in (WRITE_COIL, WRITE_HOLDING):
            return self._write_one(function, body)
        if function in (WRITE_COILS, WRITE_HOLDINGS):
            return self._write_many(function, body)
        raise RefusedRequest(ILLEGAL_FUNCTION)

    def _read(self, function: int, body: bytes) -> bytes:
        start, count = _two_words(body)
        if not 1 <= count <= (2000 if function in BITS else self.largest):
            raise RefusedRequest(ILLEGAL_VALUE)
        if self.pairs and function not in BITS and (start % 2 or count % 2):
            raise RefusedRequest(ILLEGAL_ADDRESS)
        tables = {
            READ_COILS: self.coils,
            READ_DISCRETES: self.discretes,
            READ_HOLDINGS: self.holdings,
            READ_INPUTS: self.inputs,
        }
        values = _existing(tables[function], start, count)
        if function in BITS:
            return _pack_bits(values)
        return struct.pack(f">B{count}H", 2 * count, *values)

    def _write_one(self, function: int, body: bytes) -> bytes:
        address, value = _two_words(body)
        if function == WRITE_COIL:
            if value not in (0x0000, 0xFF00):
                raise RefusedRequest(ILLEGAL_VALUE)
            self._store(self.coils, address, [value >> 15])
        else:
            self._store(self.holdings, address, [value])
        return body

    def _write_many(self, function: int, body: bytes) -> bytes:
        start, count = _two_words(body[:4])
        bits = function == WRITE_COILS
        size = (count + 7) // 8 if bits else 2 * count
        data = body[5:]
        longest = 1968 if bits else 123
        if not 1 <= count <= longest or len(data) != size or body[4] != size:
            raise RefusedRequest(ILLEGAL_VALUE)
        if bits:
            values = [data[i // 8] >> (i % 8) & 1 for i in range(count)]
            self._store(self.coils, start, values)
        else:
            self._store(self.holdings, start, list(struct.unpack(f">{count}H", data)))
        return body[:4]

    def _store(self, table: dict[int, int], start: int, values: list[int]) -> None:
        _existing(table, start, len(values))
        table.update(zip(range(start, start + len(values)), values, strict=True))
        self.written(start, values)


def _two_words(body: bytes) -> tuple[int, int]:
    if len(body) != 4:
        raise RefusedRequest(ILLEGAL_VALUE)
    first, second = struct.unpack(">HH", body)
    return first, second


def _existing(table: Mapping[int, int], start: int, count: int) -> list[int]:
    try:
        return [table[address] for address in range(start, start + count)]
    except KeyError:
        raise RefusedRequest(ILLEGAL_ADDRESS) from None


def _pack_bits(values: list[int]) -> bytes:
    packed = bytearray((len(values) + 7) // 8)
    for i, value in enumerate(values):
        packed[i // 8] |= bool(value) << (i % 8)
    return bytes([len(packed)]) + packed
