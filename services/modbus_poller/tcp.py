"""Requests in frames of Modbus TCP: a response has the number of its request."""

import itertools

from services.modbus_poller import frames
from services.modbus_poller.errors import InvalidFrame, NoResponse, UnexpectedResponse
from services.modbus_poller.frames import Request, Response
from services.modbus_poller.transport import Clock, Transport


class TcpExchange:
    """Sends requests in TCP frames and waits for their responses, on a transport that is open."""

    def __init__(self, transport: Transport, timeout: float, clock: Clock) -> None:
        self._transport = transport
        self._timeout = timeout
        self._clock = clock
        self._numbers = itertools.cycle(range(1, 0x10000))

    def response(self, request: Request) -> Response:
        """Return the response to a request, which is sent now.

        Raises NoResponse, InvalidFrame or UnexpectedResponse, after which the connection must be closed.
        """
        number = next(self._numbers)
        self._transport.send(frames.tcp(number, request.unit_id, request.pdu))
        deadline = self._clock.monotonic() + self._timeout
        data, other = b"", None
        while (left := deadline - self._clock.monotonic()) > 0:
            data += self._transport.receive(left)
            try:
                while whole := frames.find_tcp(data):
                    response, end = whole
                    data = data[end:]
                    if (response.transaction, response.unit_id) == (number, request.unit_id):
                        if request.answered_by(response) or request.refused_by(response):
                            return response
                        raise UnexpectedResponse(f"a response that does not fit: {response.pdu.hex(' ')}")
                    other = response
            except ValueError:
                raise InvalidFrame(data.hex(" ")) from None
        if other is not None:
            sent = frames.tcp(other.transaction, other.unit_id, other.pdu)
            raise InvalidFrame(sent.hex(" "), f"a response to another request ({other})")
        if data:
            raise InvalidFrame(data.hex(" "))
        raise NoResponse(f"no response within {self._timeout} s")
