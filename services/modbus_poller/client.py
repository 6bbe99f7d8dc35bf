"""Requests on a line: the only module that imports pymodbus."""

import errno
import logging
import os
import socket
import struct
import termios
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Self

import serial
from pymodbus.client import ModbusSerialClient, ModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusException
from pymodbus.framer import FramerType
from pymodbus.pdu import ModbusPDU

from services.modbus_poller.errors import (
    GATEWAY,
    ExceptionResponse,
    InvalidFrame,
    LineDown,
    NoResponse,
    UnexpectedResponse,
    exception_text,
)
from services.modbus_poller.models import BITS
from services.modbus_poller.options import LineOptions

# Modbus over Serial Line V1.02, 2.5.1.1: 3.5 characters of 11 bits between two frames, and 1.75 ms above 19200 baud.
FRAME_GAP_BITS = 38.5
FRAME_GAP_SECONDS = 0.00175
WRITE_SECONDS = 2.0  # longer than any adapter needs to accept a request, also on a busy machine
SILENCE_SECONDS = 0.05  # after so long without bytes no late response follows
MAX_DISCARD_SECONDS = 0.5  # for a line that is never silent

# Every loss is reported once by the worker, not by pymodbus for each request.
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)


class _SerialPort(ModbusSerialClient):
    """A serial client that raises the reason why it cannot open its port, and that sleeps while it waits.

    That of pymodbus polls the port, by a clock that can be set.
    """

    def connect(self) -> bool:
        """Open the port; raise OSError, ValueError or termios.error if that fails."""
        if self.socket is None:
            self.socket = serial.Serial(
                self.comm_params.host,
                self.comm_params.baudrate,
                parity=self.comm_params.parity,
                stopbits=self.comm_params.stopbits,
                timeout=self.comm_params.timeout_connect,
                write_timeout=WRITE_SECONDS,
                exclusive=True,
            )
        return True

    def close(self) -> None:
        """Close the port, if it is open."""
        port, self.socket = self.socket, None
        if port is not None:
            port.close()

    def recv(self, _size: int | None) -> bytes:
        """Return the bytes that have come, b"" after the time-out."""
        if self.socket is None:
            raise ConnectionException("closed")
        try:
            return self.socket.read(1) + self.socket.read(self.socket.in_waiting)
        except (OSError, termios.error) as error:
            raise ConnectionException(str(error)) from None

    def discard_late_data(self) -> None:
        """Discard late bytes, so that they are not taken for the next response."""
        if self.socket is None:
            return
        end = time.monotonic() + MAX_DISCARD_SECONDS
        try:
            time.sleep(SILENCE_SECONDS)
            while self.socket.in_waiting and time.monotonic() < end:
                self.socket.reset_input_buffer()
                time.sleep(SILENCE_SECONDS)
        except (OSError, termios.error) as error:
            raise LineDown(_reason(error)) from None


class _TcpConnection(ModbusTcpClient):
    """A TCP client that raises the reason why it cannot connect."""

    def connect(self) -> bool:
        """Connect; raise OSError if that fails."""
        if self.socket is None:
            self.socket = socket.create_connection(
                (self.comm_params.host, self.comm_params.port),
                self.comm_params.timeout_connect,
            )
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return True

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self.socket = self.socket, None
        if connection is not None:
            connection.close()

    def recv(self, _size: int | None) -> bytes:
        """Return the bytes that have come, b"" after the time-out."""
        if self.socket is None:
            raise ConnectionException("closed")
        try:
            data = self.socket.recv(4096)
        except TimeoutError:
            return b""
        except OSError as error:
            raise ConnectionException(str(error)) from None
        if not data:
            raise ConnectionException("the other end closed the connection")
        return data

    def discard_late_data(self) -> None:
        """Close the connection, which discards late bytes."""
        self.close()


class LineClient:
    """One line: sends one request at a time, and keeps the silence that the line needs before each."""

    def __init__(self, line: LineOptions) -> None:
        self._line = line
        self._received = b""
        self._silent_since = 0.0
        self._frame_gap = 0.0
        self._connection: _SerialPort | _TcpConnection
        if line.serial:
            self._frame_gap = FRAME_GAP_BITS / line.baudrate if line.baudrate <= 19200 else FRAME_GAP_SECONDS
            self._connection = _SerialPort(
                line.port,
                baudrate=line.baudrate,
                parity=line.parity[0].upper(),
                stopbits=line.stopbits,
                timeout=line.timeout,
                retries=0,
                trace_packet=self._trace,
            )
        else:
            host, port = line.host
            self._connection = _TcpConnection(
                host,
                port=port,
                framer=FramerType.RTU if line.framing == "rtu" else FramerType.SOCKET,
                timeout=line.timeout,
                retries=0,
                trace_packet=self._trace,
            )

    def __enter__(self) -> Self:
        """Open the line; raise LineDown if that fails."""
        try:
            self._connection.connect()
        except (OSError, ValueError, termios.error) as error:
            raise LineDown(_reason(error)) from None
        return self

    def __exit__(self, *_: object) -> None:
        """Close the line."""
        self._connection.close()

    def read(self, unit_id: int, function: int, address: int, count: int, delay: float = 0.0) -> list[int]:
        """Return registers, or bits as 0 and 1, of a unit; send the request after `delay` seconds of silence.

        Raises LineDown and the other errors of errors.py.
        """
        send = {
            1: self._connection.read_coils,
            2: self._connection.read_discrete_inputs,
            3: self._connection.read_holding_registers,
            4: self._connection.read_input_registers,
        }[function]
        response = self._request(partial(send, address, count=count, device_id=unit_id), delay)
        bits = function in BITS
        values = [int(value) for value in (response.bits if bits else response.registers)]
        # Bits come in whole bytes.
        if response.function_code != function or len(values) != (-(-count // 8) * 8 if bits else count):
            self._connection.discard_late_data()
            raise UnexpectedResponse(f"function {response.function_code} with {len(values)} values")
        return values[:count]

    def write(self, unit_id: int, function: int, address: int, values: Sequence[int], delay: float = 0.0) -> None:
        """Write a coil (function 5), one register (6) or several (16) of a unit, after `delay` seconds of silence.

        Raises what `read` raises; after NoResponse and InvalidFrame the values may have been written.
        """
        if function == 5:
            send = partial(self._connection.write_coil, address, bool(values[0]), device_id=unit_id)
        elif function == 6 and len(values) == 1:
            send = partial(self._connection.write_register, address, values[0], device_id=unit_id)
        else:
            send = partial(self._connection.write_registers, address, list(values), device_id=unit_id)
        self._request(send, delay)

    def _request(self, send: Callable[[], ModbusPDU], delay: float) -> ModbusPDU:
        """Return the response to one request; raise ExceptionResponse, or NoResponse if a gateway sends one for the device."""
        self._wait_for_silence(delay)
        try:
            response = self._exchange(send)
        finally:
            self._silent_since = time.monotonic()
        if response.isError():
            code = int(getattr(response, "exception_code", 0))
            if code in GATEWAY:
                raise NoResponse(f"the gateway reports {exception_text(code)}")
            raise ExceptionResponse(code)
        return response

    def _exchange(self, send: Callable[[], ModbusPDU]) -> ModbusPDU:
        """Return the response to one request; connect again if the other end has closed the connection."""
        for attempt in (1, 2):
            self._received = b""
            self.__enter__()
            try:
                return send()
            except ConnectionException as error:
                self._connection.close()
                if self._line.serial:
                    raise LineDown(_reason(error.__context__ or error)) from None
                if attempt == 2:
                    raise NoResponse("closes the connection") from None
            except (ModbusException, ValueError, IndexError, struct.error):
                # Noise makes pymodbus raise any of these.
                self._connection.discard_late_data()
                if self._received:
                    raise InvalidFrame(self._received.hex(" ")) from None
                raise NoResponse(f"no response within {self._line.timeout} s") from None
        raise NoResponse("closes the connection")

    def _wait_for_silence(self, delay: float) -> None:
        seconds = max(self._frame_gap, self._line.request_delay, delay)
        wait = self._silent_since + seconds - time.monotonic()
        if wait > 0:
            time.sleep(wait)

    def _trace(self, sending: bool, data: bytes) -> bytes:
        if not sending:
            self._received = data
        return data


def _reason(error: BaseException) -> str:
    """Return why a port or host is unavailable, in the words of the system: those of pyserial repeat the path twice."""
    number = error.errno if isinstance(error, OSError) else error.args[0] if isinstance(error, termios.error) else None
    if number == errno.EAGAIN:
        return "in use by another program"
    return os.strerror(number) if isinstance(number, int) and number > 0 else str(error)
