"""Bytes of requests in, bytes of answers out: the protocol without its wire."""

from collections import Counter
from collections.abc import Iterator, Mapping
from random import Random
from typing import Literal

import msgspec
from pymodbus.framer import FramerBase, FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU

from simulator.device import SimulatedDevice
from simulator.faults import spoil

Framing = Literal["rtu", "tcp"]
NO_ANSWER_FROM_TARGET = 11  # what a gateway says of a unit that is not on its line
LONGEST = 260  # Modbus over TCP/IP V1.0b, 4.1: nothing longer is a frame


class Reply(msgspec.Struct, frozen=True):
    """What to send, after how many seconds."""

    data: bytes
    delay: float = 0.0


class ModbusSession:
    """One conversation with the units of a line; `tally` counts the requests per unit.

    pymodbus' framers find the frames. Units that are not there are silent, as on a real
    line; over Modbus TCP the gateway says so (exception 11).
    """

    def __init__(
        self,
        framing: Framing,
        units: Mapping[int, SimulatedDevice],
        tally: Counter[int],
        random: Random,
    ) -> None:
        decoder = DecodePDU(is_server=True)
        self._framer: FramerBase = FramerRTU(decoder) if framing == "rtu" else FramerSocket(decoder)
        self._check = slice(-2, None) if framing == "rtu" else slice(0, 2)
        self._gateway = framing == "tcp"
        self._units = units
        self._tally = tally
        self._random = random
        self._rest = b""

    @property
    def waiting(self) -> bool:
        """Whether part of a frame is here and the rest is not."""
        return bool(self._rest)

    def forget(self) -> None:
        """Drop the part of a frame whose rest did not come."""
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Reply]:
        """Take in bytes and yield the answers to the requests they complete."""
        self._rest += data
        while self._rest:
            used, unit, transaction, pdu = self._framer.decode(self._rest)
            if not used:
                self._rest = self._rest if len(self._rest) < LONGEST else b""
                return
            self._rest = self._rest[used:]
            if pdu:
                yield from self._answer(unit, transaction, pdu)

    def _answer(self, unit: int, transaction: int, pdu: bytes) -> Iterator[Reply]:
        self._tally[unit] += 1
        device = self._units.get(unit)
        if device is not None:
            frame = self._framer.encode(device.answer(pdu), unit, transaction)
            fault = device.fault
            sent = spoil(fault, frame, self._random, self._check)
            if sent:
                yield Reply(sent, fault.delay)
        elif self._gateway:
            refusal = bytes([pdu[0] | 0x80, NO_ANSWER_FROM_TARGET])
            yield Reply(self._framer.encode(refusal, unit, transaction))
