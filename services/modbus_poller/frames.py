"""Requests and responses, and their frames on a line. Pure.

Modbus Application Protocol V1.1b3, 6 (functions) and 7 (exceptions); Modbus over Serial Line V1.02, 2.5.1 (RTU frames);
Modbus Messaging on TCP/IP V1.0b, 3.1.3 (the header of TCP frames).
"""

import struct
from collections.abc import Collection
from typing import NamedTuple

import msgspec

BITS = frozenset({1, 2})  # functions whose addresses hold one bit, not sixteen
READS = frozenset({1, 2, 3, 4})
WRITES = frozenset({5, 6, 16})
EXCEPTION = 0x80  # set in the function of an exception response
SHORTEST_RTU = 5
TCP_HEADER = 7
LONGEST_PDU = 253


class Request(msgspec.Struct, frozen=True):
    """A request to a unit: to read `count` registers (or bits), or to write `values`."""

    unit_id: int
    function: int
    address: int
    count: int = 1
    values: tuple[int, ...] = ()

    @property
    def pdu(self) -> bytes:
        """The request without unit ID and checksum."""
        if self.function in READS:
            return struct.pack(">BHH", self.function, self.address, self.count)
        if self.function == 5:
            return struct.pack(">BHH", 5, self.address, 0xFF00 if self.values[0] else 0)
        if self.function == 6:
            return struct.pack(">BHH", 6, self.address, self.values[0])
        head = struct.pack(">BHHB", self.function, self.address, len(self.values), 2 * len(self.values))
        return head + struct.pack(f">{len(self.values)}H", *self.values)

    @property
    def response_head(self) -> bytes:
        """How the PDU of a response begins: a read's with the number of bytes, a write's with the address.

        What a device writes in place of the value that it was sent is for the read-back to find out.
        """
        if self.function in READS:
            size = -(-self.count // 8) if self.function in BITS else 2 * self.count
            return bytes((self.function, size))
        return self.pdu[:5] if self.function == 16 else self.pdu[:3]

    @property
    def response_length(self) -> int:
        """The number of bytes in the PDU of a response that is no exception."""
        return 2 + self.response_head[1] if self.function in READS else 5

    def confusable(self, other: "Request") -> bool:
        """Return whether a response to the other request can be taken for one to this."""
        return self.unit_id == other.unit_id and self.response_head == other.response_head

    def answered_by(self, response: "Response") -> bool:
        """Return whether a response, no exception, can be the one to this request."""
        return (
            response.unit_id == self.unit_id
            and response.pdu.startswith(self.response_head)
            and len(response.pdu) == self.response_length
        )

    def refused_by(self, response: "Response") -> bool:
        """Return whether a response can be an exception for this request."""
        return (
            response.unit_id == self.unit_id and len(response.pdu) == 2 and response.pdu[0] == self.function | EXCEPTION
        )

    def words(self, response: "Response") -> list[int]:
        """Return the registers in a response to this read, or its bits as 0 and 1."""
        data = response.pdu[2:]
        if self.function in BITS:
            return [data[bit // 8] >> bit % 8 & 1 for bit in range(self.count)]
        return list(struct.unpack(f">{self.count}H", data))


class Response(NamedTuple):
    """A response of a unit; `transaction` is that of its TCP frame, -1 of an RTU frame."""

    unit_id: int
    pdu: bytes
    transaction: int = -1

    def __str__(self) -> str:
        if self.transaction >= 0:
            return f"transaction {self.transaction}, unit {self.unit_id}"
        function = self.pdu[0]
        return f"unit {self.unit_id}, function {function & ~EXCEPTION}, {len(self.pdu)} bytes"


def crc(data: bytes) -> bytes:
    """Return the checksum of an RTU frame: CRC-16, low byte first (Modbus over Serial Line V1.02, 6.2.2)."""
    value = 0xFFFF
    for byte in data:
        value = value >> 8 ^ _CRCS[(value ^ byte) & 0xFF]
    return value.to_bytes(2, "little")


def _crc_of_byte(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value


_CRCS = tuple(map(_crc_of_byte, range(256)))


def rtu(unit_id: int, pdu: bytes) -> bytes:
    """Return the RTU frame of a PDU."""
    body = bytes((unit_id,)) + pdu
    return body + crc(body)


def tcp(transaction: int, unit_id: int, pdu: bytes) -> bytes:
    """Return the TCP frame of a PDU."""
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit_id) + pdu


def find_rtu(data: bytes, unit_ids: Collection[int]) -> tuple[Response, int, int] | None:
    """Return the first whole response of one of these units, wherever it begins, and where it begins and ends."""
    for start in range(len(data) - SHORTEST_RTU + 1):
        if data[start] not in unit_ids:
            continue
        end = start + _rtu_length(data, start)
        if start < end <= len(data) and crc(data[start : end - 2]) == data[end - 2 : end]:
            return Response(data[start], data[start + 1 : end - 2]), start, end
    return None


def _rtu_length(data: bytes, start: int) -> int:
    """Return how long a response that begins here is, 0 if none begins."""
    function = data[start + 1]
    if function in READS:
        return SHORTEST_RTU + data[start + 2]
    if function in WRITES:
        return 8
    return SHORTEST_RTU if function & ~EXCEPTION in READS | WRITES else 0


def find_tcp(data: bytes) -> tuple[Response, int] | None:
    """Return the response that these bytes begin with, and where it ends; None if it is not whole.

    Raises ValueError if they do not begin with a header of Modbus TCP.
    """
    if len(data) < TCP_HEADER:
        return None
    transaction, protocol, length, unit_id = struct.unpack(">HHHB", data[:TCP_HEADER])
    if protocol or not 2 < length <= LONGEST_PDU + 1:
        raise ValueError("no header of Modbus TCP")
    end = TCP_HEADER - 1 + length
    return (Response(unit_id, data[TCP_HEADER:end], transaction), end) if len(data) >= end else None
