"""Requests and responses, and their frames on a line. Pure.

pymodbus encodes and decodes them, builds frames and computes checksums. Where a frame begins among other bytes, and
which request a response can answer, is decided here: pymodbus drops all bytes that it has when a checksum is wrong.

Modbus Application Protocol V1.1b3, 6 (functions) and 7 (exceptions); Modbus over Serial Line V1.02, 2.5.1 (RTU frames);
Modbus Messaging on TCP/IP V1.0b, 3.1.3 (the header of TCP frames).
"""

import struct
from collections.abc import Collection
from typing import NamedTuple

import msgspec
from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU, ExceptionResponse

BITS = frozenset({1, 2})  # functions whose addresses hold one bit, not sixteen
READS = frozenset({1, 2, 3, 4})
WRITES = frozenset({5, 6, 16})
EXCEPTION = 0x80  # set in the function of an exception response
SHORTEST_RTU = 5
TCP_HEADER = 7
LONGEST_PDU = 253
_REQUESTS = {function: DecodePDU.pdu_table[function][0] for function in READS | WRITES}
_RESPONSES = {function: DecodePDU.pdu_table[function][1] for function in READS | WRITES}
_RESPONSES |= {function | EXCEPTION: ExceptionResponse for function in _REQUESTS}
_RTU = FramerRTU(DecodePDU(is_server=False))
_TCP = FramerSocket(DecodePDU(is_server=False))


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
        message = _REQUESTS[self.function](address=self.address)
        if self.function in READS:
            message.count = self.count
        elif self.function == 5:
            message.bits = [bool(self.values[0])]
        else:
            message.registers, message.count = self.values, len(self.values)
        return bytes((self.function,)) + message.encode()

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
        message = _RESPONSES[self.function]()
        message.decode(response.pdu[1:])
        return [int(bit) for bit in message.bits[: self.count]] if self.function in BITS else list(message.registers)


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


def rtu(unit_id: int, pdu: bytes) -> bytes:
    """Return the RTU frame of a PDU."""
    return _RTU.encode(pdu, unit_id, 0)


def tcp(transaction: int, unit_id: int, pdu: bytes) -> bytes:
    """Return the TCP frame of a PDU."""
    return _TCP.encode(pdu, unit_id, transaction)


def find_rtu(data: bytes, unit_ids: Collection[int]) -> tuple[Response, int, int] | None:
    """Return the first whole response of one of these units, wherever it begins, and where it begins and ends."""
    for start in range(len(data) - SHORTEST_RTU + 1):
        if data[start] not in unit_ids:
            continue
        end = start + _rtu_length(data, start)
        if start < end <= len(data):
            body, checksum = data[start : end - 2], int.from_bytes(data[end - 2 : end], "big")
            if FramerRTU.check_CRC(body, checksum):
                return Response(body[0], body[1:]), start, end
    return None


def _rtu_length(data: bytes, start: int) -> int:
    """Return how long a response that begins here is, 0 if none begins."""
    message = _RESPONSES.get(data[start + 1])
    return message.calculateRtuFrameSize(data[start : start + SHORTEST_RTU]) if message else 0


def find_tcp(data: bytes) -> tuple[Response, int] | None:
    """Return the response that these bytes begin with, and where it ends; None if it is not whole.

    Raises ValueError if they do not begin with a header of Modbus TCP.
    """
    if len(data) < TCP_HEADER:
        return None
    protocol, length = struct.unpack(">HH", data[2:6])
    if protocol or not 2 < length <= LONGEST_PDU + 1:
        raise ValueError("no header of Modbus TCP")
    end, unit_id, transaction, pdu = _TCP.decode(data)
    return (Response(unit_id, pdu, transaction), end) if end else None
