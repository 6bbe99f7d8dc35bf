"""What can go wrong with a device on a wire, on demand."""

from random import Random
from typing import Literal, get_args

import msgspec

Kind = Literal["none", "silence", "noise", "crc", "slow", "half"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with a device now; `seconds` is how late a slow one answers."""

    kind: Kind = "none"
    seconds: float = 1.0

    @property
    def delay(self) -> float:
        """How many seconds the answer waits."""
        return self.seconds if self.kind == "slow" else 0.0


HEALTHY = Fault()


def spoil(fault: Fault, frame: bytes, random: Random, check: slice) -> bytes:
    """Return what reaches the other end of the wire in place of a frame.

    `check` is where the bytes are by which the receiver recognises a good frame:
    the CRC, or the transaction id of Modbus TCP, which has no CRC.
    """
    if fault.kind == "silence":
        return b""
    if fault.kind == "half":
        return frame[: len(frame) // 2]
    if fault.kind == "crc":
        spoiled = bytearray(frame)
        spoiled[check] = bytes(byte ^ 0x5A for byte in frame[check])
        return bytes(spoiled)
    if fault.kind == "noise":
        around = random.random() < 0.5
        return (
            random.randbytes(random.randint(1, 12))
            + (frame if around else b"")
            + random.randbytes(random.randint(1, 12))
        )
    return frame
