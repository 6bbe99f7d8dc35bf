"""What can come in place of the registers that were asked for, named after what to do next.

* Silent      nothing came: leave the device alone for a while
* Garbled     something came that is no answer: ask once more
* Mismatched  a sound answer to another question: ask once more, then do without it
* Refused     the device says no: see its code
* LineDown    there is no line to ask on: open it again later
"""

ILLEGAL = frozenset({1, 2, 3})  # function, address, count: it will never be right
GATEWAY = frozenset({10, 11})  # a gateway speaks, and the device behind it does not


EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "server device failure",
    5: "acknowledge",
    6: "server device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target device failed to respond",
}


def explained(code: int) -> str:
    """Return an exception code with its name (Modbus Application Protocol V1.1b3, 7), if it has one."""
    name = EXCEPTIONS.get(code)
    return f"exception {code} ({name})" if name else f"exception {code}"


class Silent(Exception):
    """Nothing came within the time-out."""


class Garbled(Exception):
    """Bytes came, and no frame with a right checksum from this device among them."""


class Mismatched(Exception):
    """The answer is sound and not what was asked for, such as too few registers."""


class Refused(Exception):
    """The device answered with an exception `code`."""

    def __init__(self, code: int) -> None:
        super().__init__(explained(code))
        self.code = code


class LineDown(Exception):
    """The port or the host is not there; the message says why."""
