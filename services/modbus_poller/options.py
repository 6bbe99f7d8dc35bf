"""The [modbus_poller] section of the configuration."""

from typing import Literal
from urllib.parse import urlsplit

from heliograph import topics
from heliograph.config import Config
from heliograph.errors import ConfigError
from services.modbus_poller import models

TCP_PORT = 502


class Device(Config, frozen=True):
    """A device on a line; `model` names a file in devices/, or is the path of one."""

    name: str
    model: str
    unit: int = 1
    interval: float = 10.0

    def __post_init__(self) -> None:
        """Refuse a device that could not be polled; reads its device file."""
        topics.name(self.name)
        if not 0 <= self.unit <= 255:
            raise ValueError(f"unit: {self.unit} is not between 0 and 255")
        if not 0.1 <= self.interval <= 86400:
            raise ValueError(f"interval: {self.interval} is not between 0.1 and 86400 seconds")
        try:
            models.load(self.model)
        except ConfigError as error:
            raise ValueError(str(error)) from None


class Line(Config, frozen=True):
    """A serial line or a host, and the devices on it; `baud` 0 is what they are delivered with."""

    port: str
    devices: tuple[Device, ...]
    baud: int = 0
    parity: Literal["none", "even", "odd"] = "none"
    stopbits: Literal[1, 2] = 1
    timeout: float = 1.0
    pause: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a line that could not be opened, or on which devices would collide."""
        _ = self.host
        if not self.devices:
            raise ValueError("devices: a line needs at least one")
        if self.baud < 0:
            raise ValueError(f"baud: {self.baud} is not a speed")
        if not 0.01 <= self.timeout <= 60:
            raise ValueError(f"timeout: {self.timeout} is not between 0.01 and 60 seconds")
        if not 0 <= self.pause <= 10:
            raise ValueError(f"pause: {self.pause} is not between 0 and 10 seconds")
        units = [device.unit for device in self.devices]
        for device in self.devices:
            if units.count(device.unit) > 1:
                raise ValueError(f"devices: unit {device.unit} stands there twice")
            if self.framing == "rtu" and not 1 <= device.unit <= 247:
                raise ValueError(f"devices: unit {device.unit} of {device.name} is not between 1 and 247")
        if self.serial and not self.baud and len(self._delivered) > 1:
            speeds = " and ".join(map(str, sorted(self._delivered)))
            raise ValueError(f"baud: missing: the devices are delivered with {speeds}")

    @property
    def framing(self) -> Literal["rtu", "tcp"]:
        """How requests are framed: with a checksum, or as Modbus TCP."""
        return "tcp" if self.port.startswith("tcp://") else "rtu"

    @property
    def serial(self) -> bool:
        """Whether the port is a serial port of this machine."""
        return "://" not in self.port

    @property
    def host(self) -> tuple[str, int]:
        """Host and port of a line that is reached over TCP; ("", 0) if it is a serial port."""
        if not self.port:
            raise ValueError("port: is empty")
        if self.serial:
            return "", 0
        try:
            url = urlsplit(self.port)
            host, port = url.hostname, url.port
        except ValueError as error:
            raise ValueError(f"port: {error}: {self.port[:80]!r}") from None
        if url.scheme == "tcp" and port is None:
            port = TCP_PORT
        if url.scheme not in ("tcp", "rtu+tcp") or not host or not port or url.path not in ("", "/"):
            raise ValueError(f"port: expected a path, tcp://HOST or rtu+tcp://HOST:PORT, found {self.port[:80]!r}")
        return host, port

    @property
    def speed(self) -> int:
        """The speed of a serial line in baud."""
        return self.baud or min(self._delivered)

    @property
    def _delivered(self) -> set[int]:
        return {models.load(device.model).head.baud for device in self.devices}


class ModbusPoller(Config, frozen=True):
    """The lines to poll."""

    lines: tuple[Line, ...]

    def __post_init__(self) -> None:
        """Refuse two lines on one port, and two devices of one name."""
        if not self.lines:
            raise ValueError("lines: at least one is needed")
        ports = [line.port for line in self.lines]
        names = [device.name for line in self.lines for device in line.devices]
        for what, seen in (("port", ports), ("device", names)):
            for item in seen:
                if seen.count(item) > 1:
                    raise ValueError(f"lines: {what} {item!r} stands there twice")
