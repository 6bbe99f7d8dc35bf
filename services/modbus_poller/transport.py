"""How bytes get to a line and back: a serial port, or a TCP connection."""

import errno
import os
import select
import socket
import termios
from typing import Protocol

import serial

from heliograph import device_access
from services.modbus_poller.errors import LineDown
from services.modbus_poller.options import LineOptions

WRITE_SECONDS = 2.0  # longer than any adapter needs to accept a request, also on a busy machine
RECEIVED_AT_ONCE = 4096


class Clock(Protocol):
    """A clock that is never set; the module `time` is one."""

    def monotonic(self) -> float:
        """Return the time in seconds."""

    def sleep(self, seconds: float, /) -> None:
        """Return after some seconds."""


class Disconnected(Exception):
    """The connection is lost; the message says why. It can be opened again."""


class Transport(Protocol):
    """A line that bytes are sent to and received from."""

    def open(self) -> None:
        """Open the line, if it is not open; raise LineDown if that fails."""

    def close(self) -> None:
        """Close the line, if it is open."""

    def send(self, data: bytes) -> None:
        """Send bytes; raise Disconnected or LineDown."""

    def receive(self, seconds: float) -> bytes:
        """Return the bytes that have come, b"" if none do for so long; raise Disconnected or LineDown."""


class SerialPort:
    """A serial port of this machine; once lost, it is a line that is down."""

    def __init__(self, line: LineOptions) -> None:
        self._line = line
        self._port: serial.Serial | None = None

    def open(self) -> None:
        """Open the port for this program alone."""
        if self._port is not None:
            return
        try:
            self._port = serial.Serial(
                self._line.port,
                self._line.baudrate,
                parity=self._line.parity[0].upper(),
                stopbits=self._line.stopbits,
                timeout=0,
                write_timeout=WRITE_SECONDS,
                exclusive=True,
            )
        except (OSError, ValueError, termios.error) as error:
            raise LineDown(device_access.why(error, self._line.port)) from None

    def close(self) -> None:
        """Close the port, if it is open."""
        port, self._port = self._port, None
        if port is not None:
            port.close()

    def send(self, data: bytes) -> None:
        """Send bytes; raise LineDown if the port is lost."""
        try:
            self._opened().write(data)
        except (OSError, termios.error) as error:
            raise LineDown(device_access.why(error, self._line.port)) from None

    def receive(self, seconds: float) -> bytes:
        """Return the bytes that have come; raise LineDown if the port is lost."""
        port = self._opened()
        try:
            if not select.select([port], [], [], max(0.0, seconds))[0]:
                return b""
            data = os.read(port.fileno(), RECEIVED_AT_ONCE)
        except (OSError, termios.error) as error:
            raise LineDown(device_access.why(error, self._line.port)) from None
        if not data:
            raise LineDown(os.strerror(errno.EIO))
        return data

    def _opened(self) -> serial.Serial:
        if self._port is None:
            raise LineDown("closed")
        return self._port


class TcpConnection:
    """A TCP connection to a host."""

    def __init__(self, line: LineOptions) -> None:
        self._line = line
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Connect, unless connected."""
        if self._socket is not None:
            return
        try:
            self._socket = socket.create_connection(self._line.host, self._line.timeout)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise LineDown(device_access.why(error, self._line.port)) from None

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()

    def send(self, data: bytes) -> None:
        """Send bytes; raise Disconnected if the connection is lost."""
        try:
            self._connected().sendall(data)
        except OSError as error:
            raise Disconnected(device_access.why(error, self._line.port)) from None

    def receive(self, seconds: float) -> bytes:
        """Return the bytes that have come; raise Disconnected if the connection is lost."""
        connection = self._connected()
        try:
            if not select.select([connection], [], [], max(0.0, seconds))[0]:
                return b""
            data = connection.recv(RECEIVED_AT_ONCE)
        except OSError as error:
            raise Disconnected(device_access.why(error, self._line.port)) from None
        if not data:
            raise Disconnected("the other end closed the connection")
        return data

    def _connected(self) -> socket.socket:
        if self._socket is None:
            raise Disconnected("closed")
        return self._socket


def transport(line: LineOptions) -> Transport:
    """Return the transport of a line, not open yet."""
    return SerialPort(line) if line.serial else TcpConnection(line)
