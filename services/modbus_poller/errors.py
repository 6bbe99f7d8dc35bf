"""What can come instead of registers, and how the caller reacts.

* NoResponse          nothing came: leave the device alone for a while
* InvalidFrame        bytes came that are not a Modbus frame: repeat the request once
* UnexpectedResponse  a valid frame that does not fit the request: repeat once, then do without these registers
* ExceptionResponse   the device reports an error: see its code
* LineDown            the port or host is unavailable: open it again later
"""

PERMANENT = frozenset({1, 2, 3})  # function, address, quantity: repeating the request cannot help
GATEWAY = frozenset({10, 11})  # sent by a gateway for a device that does not respond
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


def exception_text(code: int) -> str:
    """Return an exception code with its name (Modbus Application Protocol V1.1b3, 7), if it has one."""
    name = EXCEPTIONS.get(code)
    return f"exception {code} ({name})" if name else f"exception {code}"


class NoResponse(Exception):
    """Nothing came within the time-out."""


class InvalidFrame(Exception):
    """Bytes came, but no frame of this device with a valid checksum; the message shows the bytes in hexadecimal."""


class UnexpectedResponse(Exception):
    """The frame is valid but does not fit the request, for example too few registers."""


class ExceptionResponse(Exception):
    """The device answered with the exception `code`."""

    def __init__(self, code: int) -> None:
        super().__init__(exception_text(code))
        self.code = code


class LineDown(Exception):
    """The port or the host is unavailable; the message says why."""
