"""What can come in place of the registers that were asked for, named after what to do next.

* Silent      nothing came: leave the device alone for a while
* Garbled     something came that is no answer: ask once more
* Mismatched  a sound answer to another question: ask once more, then do without it
* Refused     the device says no: see its code
* LineDown    there is no line to ask on: open it again later
"""

ILLEGAL = frozenset({1, 2, 3})  # function, address, count: it will never be right
GATEWAY = frozenset({10, 11})  # a gateway speaks, and the device behind it does not


class Silent(Exception):
    """Nothing came within the time-out."""


class Garbled(Exception):
    """Bytes came, and no frame with a right checksum from this device among them."""


class Mismatched(Exception):
    """The answer is sound and not what was asked for, such as too few registers."""


class Refused(Exception):
    """The device answered with an exception code (Modbus Application Protocol V1.1b3, 7)."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exception {code}")
        self.code = code


class LineDown(Exception):
    """The port or the host is not there; the message says why."""
