"""Requests in RTU frames, on a serial line or through a gateway: only what answers a request is taken for its response."""

from collections.abc import Callable, Iterator

from services.modbus_poller import frames
from services.modbus_poller.errors import InvalidFrame, NoResponse, UnexpectedResponse
from services.modbus_poller.frames import Request, Response
from services.modbus_poller.outstanding import Outstanding
from services.modbus_poller.transport import Clock, Disconnected, Transport

SILENCE_SECONDS = 0.05  # a line that is silent for so long has nothing more to say, unless its devices take longer
MAX_SILENCE_SECONDS = 2.0
MAX_DISCARD_SECONDS = 0.5  # for a line that is never silent
EVERY_UNIT_ID = range(256)
SLOWNESS_KEPT = 0.95  # of the slowest response, at each faster one


class RtuExchange:
    """Sends requests in RTU frames and waits for their responses, on a transport that is open.

    `late` counts the responses that came after the time-out of their request, `dropped` the bytes that are of no response, `echoes` says whether the line returns
    what is sent, as RS485 adapters do whose receiver stays on.
    """

    def __init__(self, transport: Transport, outstanding: Outstanding, timeout: float, clock: Clock) -> None:
        self._transport = transport
        self._outstanding = outstanding
        self._timeout = timeout
        self._clock = clock
        self._buffer = b""
        self._slowest: dict[int, float] = {}
        self.late = 0
        self.dropped = 0
        self.echoes = False

    def forget_connection(self) -> None:
        """Forget what was received, and whether the line echoes: another adapter may be there now."""
        self._drop(self._buffer)
        self._buffer = b""
        self.echoes = False

    def listen(self, seconds: float, wanted: Callable[[], bool]) -> None:
        """Take in late responses for so long, or until none is wanted any more."""
        end = self._clock.monotonic() + seconds
        while wanted() and (left := end - self._clock.monotonic()) > 0:
            self._buffer += self._transport.receive(left)
            self._take_late()

    def response(self, request: Request) -> Response:
        """Return the response to a request, which is sent now.

        Raises NoResponse, InvalidFrame or UnexpectedResponse; what comes meanwhile for other requests is discarded.
        """
        self._buffer += self._transport.receive(0.0)
        self._take_late()
        self._drop(self._buffer)
        self._buffer = b""
        frame = frames.rtu(request.unit_id, request.pdu)
        self._transport.send(frame)
        sent = self._clock.monotonic()
        self._outstanding.sent(request, sent)
        noise, other, deadline, echo = b"", None, sent + self._timeout, frame
        while (left := deadline - self._clock.monotonic()) > 0:
            try:
                self._buffer += self._transport.receive(left)
            except Disconnected:
                if not (noise or other or self._buffer):
                    raise
                break
            if echo and self._begins_with_echo(request, echo):
                if len(self._buffer) < len(echo):
                    continue
                self._buffer, echo, self.echoes = self._buffer[len(echo) :], b"", True
            for response, before in self._responses(request):
                noise += before
                self._drop(before)
                now = self._clock.monotonic()
                ours = request.answered_by(response) or request.refused_by(response)
                if ours and request.refused_by(response) and self._outstanding.doubtful(request, now):
                    self._settle(request)
                    raise UnexpectedResponse(f"exception {response.pdu[1]}, perhaps for an earlier request")
                late = self._outstanding.arrived(response, now)
                if ours:
                    self._note(request.unit_id, now - sent)
                    self.echoes = self.echoes and not echo
                    return response
                if late:
                    self.late += 1
                    deadline = now + self._timeout  # only now can the unit begin with this request
                elif response.unit_id == request.unit_id:
                    other = response
                    deadline = min(deadline, now + self._usual(request.unit_id))
        noise += self._buffer
        if noise.startswith(bytes((request.unit_id,)) + request.response_head):
            self._outstanding.settled(request)  # it came, but broken
        self._settle(request)
        if other is not None:
            raise UnexpectedResponse(f"a response to another request ({other})")
        if foreign := frames.find_rtu(noise, EVERY_UNIT_ID):
            raise InvalidFrame(noise.hex(" "), f"a response to another request ({foreign[0]})")
        if noise:
            raise InvalidFrame(noise.hex(" "))
        raise NoResponse(f"no response within {self._timeout} s")

    def _begins_with_echo(self, request: Request, frame: bytes) -> bool:
        """Return whether what was received begins like the request itself, and is not its response."""
        size = min(len(frame), len(self._buffer))
        if not size or self._buffer[:size] != frame[:size]:
            return False
        itself = Response(request.unit_id, request.pdu)
        return self.echoes or not request.answered_by(itself)

    def _responses(self, request: Request) -> Iterator[tuple[Response, bytes]]:
        """Yield the whole responses that were received, and the bytes before each."""
        head = bytes((request.unit_id,)) + request.response_head
        while not (self._buffer.startswith(head) and len(self._buffer) < request.response_length + 3):
            whole = frames.find_rtu(self._buffer, self._outstanding.unit_ids(self._clock.monotonic()))
            if whole is None:
                return
            response, start, end = whole
            before, self._buffer = self._buffer[:start], self._buffer[end:]
            yield response, before

    def _take_late(self) -> None:
        """Take in the late responses that were received."""
        while whole := frames.find_rtu(self._buffer, self._outstanding.unit_ids(self._clock.monotonic())):
            self.late += self._outstanding.arrived(whole[0], self._clock.monotonic())
            self._drop(self._buffer[: whole[1]])
            self._buffer = self._buffer[whole[2] :]

    def _drop(self, noise: bytes) -> None:
        self.dropped += len(noise)

    def _settle(self, request: Request) -> None:
        """Wait until the line is silent for as long as the unit's responses take; take in what comes."""
        now = self._clock.monotonic()
        quiet = self._usual(request.unit_id)
        end, silent_since = now + max(MAX_DISCARD_SECONDS, 2 * quiet), now
        while (left := min(end, silent_since + quiet) - now) > 0:
            try:
                data = self._transport.receive(left)
            except Disconnected:
                break
            now = self._clock.monotonic()
            if data:
                silent_since = now
                self._buffer += data
                self._take_late()
        self._drop(self._buffer)
        self._buffer = b""

    def _usual(self, unit_id: int) -> float:
        return max(SILENCE_SECONDS, min(self._slowest.get(unit_id, 0.0), self._timeout, MAX_SILENCE_SECONDS))

    def _note(self, unit_id: int, seconds: float) -> None:
        self._slowest[unit_id] = max(seconds, SLOWNESS_KEPT * self._slowest.get(unit_id, 0.0))
