"""Requests on a line: one at a time, each with the silence before it that the line needs."""

import time
from collections.abc import Sequence
from typing import Self

from services.modbus_poller import transport as transports
from services.modbus_poller.errors import (
    GATEWAY,
    ExceptionResponse,
    InvalidFrame,
    LineDown,
    NoResponse,
    ResponsePending,
    UnexpectedResponse,
    exception_text,
)
from services.modbus_poller.frames import Request, Response
from services.modbus_poller.options import LineOptions
from services.modbus_poller.outstanding import LATEST_SECONDS, Outstanding, Reuse
from services.modbus_poller.rtu import RtuExchange
from services.modbus_poller.tcp import TcpExchange
from services.modbus_poller.transport import Clock, Disconnected, Transport

# Modbus over Serial Line V1.02, 2.5.1.1: 3.5 characters of 11 bits between two frames, and 1.75 ms above 19200 baud.
FRAME_GAP_BITS = 38.5
FRAME_GAP_SECONDS = 0.00175


class LineClient:
    """One line: sends one request at a time, and keeps the silence that the line needs before each.

    On a line with RTU frames, a request is held back while a response to an earlier one, at most `latest` seconds late,
    could be taken for its own.
    """

    def __init__(
        self,
        line: LineOptions,
        transport: Transport | None = None,
        clock: Clock = time,
        latest: float = LATEST_SECONDS,
    ) -> None:
        self._line = line
        self._clock = clock
        self._silent_since = 0.0
        self._frame_gap = 0.0
        if line.serial:
            self._frame_gap = FRAME_GAP_BITS / line.baudrate if line.baudrate <= 19200 else FRAME_GAP_SECONDS
        self._transport = transports.transport(line) if transport is None else transport
        self._outstanding = Outstanding(max(latest, line.timeout + min(line.timeout, latest)))
        self._rtu: RtuExchange | None = None
        if line.framing == "rtu":
            self._rtu = RtuExchange(self._transport, self._outstanding, line.timeout, clock)
        self._tcp = TcpExchange(self._transport, line.timeout, clock)

    @property
    def echoes(self) -> bool:
        """Whether the line returns the requests that are sent, before the responses."""
        return self._rtu is not None and self._rtu.echoes

    @property
    def late_responses(self) -> int:
        """How many responses came after the time-out of their request, and were discarded."""
        return self._rtu.late if self._rtu else 0

    @property
    def dropped_bytes(self) -> int:
        """How many bytes came that are of no response."""
        return self._rtu.dropped if self._rtu else 0

    def counted_since(self, before: tuple[int, int]) -> list[tuple[str, int]]:
        """Return the counters that were smaller before (late responses and dropped bytes then), and by how much."""
        now = ("late_responses", self.late_responses - before[0]), ("dropped_bytes", self.dropped_bytes - before[1])
        return [(name, count) for name, count in now if count]

    def __enter__(self) -> Self:
        """Open the line; raise LineDown if that fails."""
        self._transport.open()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the line."""
        self._transport.close()
        if self._rtu:
            self._rtu.forget_connection()

    def read(
        self,
        unit_id: int,
        function: int,
        address: int,
        count: int,
        delay: float = 0.0,
        *,
        reuse: Reuse = Reuse.NONE,
        wait: bool = True,
    ) -> list[int]:
        """Return registers, or bits as 0 and 1, of a unit; send the request after `delay` seconds of silence.

        With `wait`, this waits until no other response can be taken for this one, as `reuse` says; without, it raises
        ResponsePending if that can take longer than a response. Raises LineDown and the other errors of errors.py.
        """
        request = Request(unit_id, function, address, count)
        self._hold_back(request, reuse, wait)
        return request.words(self._request(request, delay))

    def write(self, unit_id: int, function: int, address: int, values: Sequence[int], delay: float = 0.0) -> None:
        """Write a coil (function 5), one register (6) or several (16) of a unit, after `delay` seconds of silence.

        Raises what `read` raises; after NoResponse and InvalidFrame the values may have been written.
        """
        function = 16 if function == 6 and len(values) > 1 else function
        request = Request(unit_id, function, address, values=tuple(values))
        self._hold_back(request, Reuse.NONE, wait=True)
        self._request(request, delay)

    def _hold_back(self, request: Request, reuse: Reuse, wait: bool) -> None:
        """Return when no other response can be taken for that to this request; listen meanwhile."""
        if self._rtu is None:
            return
        seconds = self._outstanding.held_back(request, self._clock.monotonic(), reuse)
        if not seconds:
            return
        if not wait and seconds > self._line.timeout:
            raise ResponsePending(seconds)
        try:
            self._transport.open()
            self._rtu.listen(seconds, lambda: self._outstanding.held_back(request, self._clock.monotonic(), reuse) > 0)
        except Disconnected:
            self._transport.close()
            self._clock.sleep(self._outstanding.held_back(request, self._clock.monotonic(), reuse))

    def _request(self, request: Request, delay: float) -> Response:
        """Return the response to one request; raise ExceptionResponse, or NoResponse if a gateway sends one for the device."""
        self._wait_for_silence(delay)
        try:
            response = self._exchange(request)
        finally:
            self._silent_since = self._clock.monotonic()
        if request.refused_by(response):
            code = response.pdu[1]
            if code in GATEWAY:
                raise NoResponse(f"the gateway reports {exception_text(code)}")
            raise ExceptionResponse(code)
        return response

    def _exchange(self, request: Request) -> Response:
        """Return the response to one request; connect again if the other end has closed the connection."""
        for _ in range(2):
            self._transport.open()
            try:
                return (self._rtu or self._tcp).response(request)
            except Disconnected:
                self._transport.close()
            except LineDown:
                self._transport.close()
                raise
            except (NoResponse, InvalidFrame, UnexpectedResponse):
                if not self._line.serial:
                    self._transport.close()
                raise
        raise NoResponse("closes the connection")

    def _wait_for_silence(self, delay: float) -> None:
        seconds = max(self._frame_gap, self._line.request_delay, delay)
        wait = self._silent_since + seconds - self._clock.monotonic()
        if wait > 0:
            self._clock.sleep(wait)
