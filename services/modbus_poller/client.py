"""The line itself: the only module that knows pymodbus and its habits."""

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
    Garbled,
    LineDown,
    Mismatched,
    Refused,
    Silent,
    explained,
)
from services.modbus_poller.models import BITS
from services.modbus_poller.options import Line

# Modbus over Serial Line V1.02, 2.5.1.1: 3.5 characters of 11 bits are between two
# frames, and 1.75 ms above 19200 baud.
GAP_BITS = 38.5
GAP_SECONDS = 0.00175
WRITE_SECONDS = 2.0  # of a busy machine, too; no adapter takes as long to take in a request
SETTLE_SECONDS = 0.05  # a line that was quiet for so long has no more to say
CHATTER_SECONDS = 0.5  # and no one listens longer than that to one that never is

# Every loss is reported once by the worker, not by pymodbus for each request.
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)


class _SerialPort(ModbusSerialClient):
    """A serial client that says why it cannot open its port, and that sleeps while it waits.

    The one of pymodbus polls, by a clock that can be set.
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
        """Return what has come, b"" after the time-out."""
        if self.socket is None:
            raise ConnectionException("closed")
        try:
            return self.socket.read(1) + self.socket.read(self.socket.in_waiting)
        except (OSError, termios.error) as error:
            raise ConnectionException(str(error)) from None

    def settle(self) -> None:
        """Drop what comes late, so that it is not taken for the next answer."""
        if self.socket is None:
            return
        end = time.monotonic() + CHATTER_SECONDS
        try:
            time.sleep(SETTLE_SECONDS)
            while self.socket.in_waiting and time.monotonic() < end:
                self.socket.reset_input_buffer()
                time.sleep(SETTLE_SECONDS)
        except (OSError, termios.error) as error:
            raise LineDown(_reason(error)) from None


class _TcpConnection(ModbusTcpClient):
    """A TCP client that says why it cannot connect."""

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
        """Return what has come, b"" after the time-out."""
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

    def settle(self) -> None:
        """Drop the connection, and with it what comes late."""
        self.close()


class Client:
    """One line: asks one question at a time, and keeps the pauses that the line needs."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._heard = b""
        self._quiet_since = 0.0
        self._gap = 0.0
        self._wire: _SerialPort | _TcpConnection
        if line.serial:
            self._gap = GAP_BITS / line.baudrate if line.baudrate <= 19200 else GAP_SECONDS
            self._wire = _SerialPort(
                line.port,
                baudrate=line.baudrate,
                parity=line.parity[0].upper(),
                stopbits=line.stopbits,
                timeout=line.timeout,
                retries=0,
                trace_packet=self._listen,
            )
        else:
            host, port = line.host
            self._wire = _TcpConnection(
                host,
                port=port,
                framer=FramerType.RTU if line.framing == "rtu" else FramerType.SOCKET,
                timeout=line.timeout,
                retries=0,
                trace_packet=self._listen,
            )

    def __enter__(self) -> Self:
        """Open the line; raise LineDown if that fails."""
        try:
            self._wire.connect()
        except (OSError, ValueError, termios.error) as error:
            raise LineDown(_reason(error)) from None
        return self

    def __exit__(self, *_: object) -> None:
        """Close the line."""
        self._wire.close()

    def read(self, unit: int, function: int, address: int, count: int, pause: float = 0.0) -> list[int]:
        """Return registers, or bits as 0 and 1, of a unit; wait `pause` seconds before.

        Raises Silent, Garbled, Mismatched, Refused or LineDown (see errors.py).
        """
        ask = {
            1: self._wire.read_coils,
            2: self._wire.read_discrete_inputs,
            3: self._wire.read_holding_registers,
            4: self._wire.read_input_registers,
        }[function]
        answer = self._answer(partial(ask, address, count=count, device_id=unit), pause)
        bits = function in BITS
        values = [int(value) for value in (answer.bits if bits else answer.registers)]
        # Bits come in whole bytes.
        if answer.function_code != function or len(values) != (-(-count // 8) * 8 if bits else count):
            self._wire.settle()
            raise Mismatched(f"function {answer.function_code} with {len(values)} values")
        return values[:count]

    def write(self, unit: int, function: int, address: int, values: Sequence[int], pause: float = 0.0) -> None:
        """Write a coil (function 5), one register (6) or several (16) of a unit; wait `pause` seconds before.

        Raises what `read` raises; after Silent and Garbled nobody knows whether it was written.
        """
        if function == 5:
            ask = partial(self._wire.write_coil, address, bool(values[0]), device_id=unit)
        elif function == 6 and len(values) == 1:
            ask = partial(self._wire.write_register, address, values[0], device_id=unit)
        else:
            ask = partial(self._wire.write_registers, address, list(values), device_id=unit)
        self._answer(ask, pause)

    def _answer(self, ask: Callable[[], ModbusPDU], pause: float) -> ModbusPDU:
        """Return the answer to one request; raise Refused if it is a no, Silent if a gateway says that nobody is there."""
        self._keep_quiet(pause)
        try:
            answer = self._ask(ask)
        finally:
            self._quiet_since = time.monotonic()
        if answer.isError():
            code = int(getattr(answer, "exception_code", 0))
            if code in GATEWAY:
                raise Silent(f"the gateway reports {explained(code)}")
            raise Refused(code)
        return answer

    def _ask(self, ask: Callable[[], ModbusPDU]) -> ModbusPDU:
        """Return the answer to one request, connecting anew if the other end had hung up."""
        for attempt in (1, 2):
            self._heard = b""
            self.__enter__()
            try:
                return ask()
            except ConnectionException as error:
                self._wire.close()
                if self._line.serial:
                    raise LineDown(_reason(error.__context__ or error)) from None
                if attempt == 2:
                    raise Silent("closes the connection") from None
            except (ModbusException, ValueError, IndexError, struct.error):
                # pymodbus finds its way through noise by more than one exception.
                self._wire.settle()
                if self._heard:
                    raise Garbled(self._heard.hex(" ")) from None
                raise Silent(f"no response within {self._line.timeout} s") from None
        raise Silent("closes the connection")

    def _keep_quiet(self, pause: float) -> None:
        quiet = max(self._gap, self._line.request_delay, pause)
        wait = self._quiet_since + quiet - time.monotonic()
        if wait > 0:
            time.sleep(wait)

    def _listen(self, sending: bool, data: bytes) -> bytes:
        if not sending:
            self._heard = data
        return data


def _reason(error: BaseException) -> str:
    """Return why a port or host cannot be used, in the words of the system: pyserial's have the path twice."""
    number = error.errno if isinstance(error, OSError) else error.args[0] if isinstance(error, termios.error) else None
    if number == errno.EAGAIN:
        return "in use by another program"
    return os.strerror(number) if isinstance(number, int) and number > 0 else str(error)
