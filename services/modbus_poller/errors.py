"""What can come instead of registers, and how the caller reacts.

* NoResponse          nothing came: leave the device alone for a while
* InvalidFrame        bytes came that are no response to the request: repeat the request once
* UnexpectedResponse  the device responded, but not to this request: repeat once, then do without these registers
* ResponsePending     not sent, because a late response could be taken for its own: do without these registers for now
* ExceptionResponse   the device reports an error: see its code
* LineDown            the port or host is unavailable: open it again later
"""

PERMANENT = frozenset({1, 2, 3})  # function, address, quantity: repeating the request soon cannot help
NOISE = "not a Modbus response"
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
    """Bytes came, but no response to this request; the message shows them in hexadecimal, `why` says what they are."""

    def __init__(self, data: str, why: str = NOISE) -> None:
        super().__init__(data)
        self.why = why


class UnexpectedResponse(Exception):
    """The device responded, but not so that it fits the request, for example with too few registers."""


class ResponsePending(Exception):
    """A response to an earlier request may still come, and could be taken for the one to this: it was not sent."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"waits up to {seconds:.0f} s for the response to an earlier request")


class ExceptionResponse(Exception):
    """The device answered with the exception `code`."""

    def __init__(self, code: int) -> None:
        super().__init__(exception_text(code))
        self.code = code


class LineDown(Exception):
    """The port or the host is unavailable; the message says why."""
