"""The [modbus_poller] section of the configuration."""

from collections.abc import Iterator
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from heliograph import serial_paths, topics
from heliograph.config import Claim, Config, ServiceOptions
from heliograph.errors import ConfigError
from services.modbus_poller import models

TCP_PORT = 502


class DeviceOptions(Config, frozen=True):
    """A device on a line; `model` is the name of a file in devices/, or the path of a device file."""

    name: str
    RENAMED: ClassVar = {"unit": "unit_id"}

    model: str
    unit_id: int = 1
    interval: float = 10.0

    def __post_init__(self) -> None:
        """Refuse a device that cannot be polled; this loads its device file."""
        topics.name(self.name, "name")
        if not 0 <= self.unit_id <= 255:
            raise ValueError(f"unit_id: {self.unit_id} is not between 0 and 255")
        if not 0.1 <= self.interval <= 86400:
            raise ValueError(f"interval: {self.interval} is not between 0.1 and 86400 seconds")
        try:
            models.load(self.model)
        except ConfigError as error:
            raise ValueError(str(error)) from None


class LineOptions(Config, frozen=True):
    """A serial line or a host, and the devices on it; `baud` 0 is the factory setting of the devices."""

    RENAMED: ClassVar = {"pause": "request_delay"}

    port: str
    devices: tuple[DeviceOptions, ...]
    baud: int = 0
    parity: Literal["none", "even", "odd"] = "none"
    stopbits: Literal[1, 2] = 1
    timeout: float = 1.0
    request_delay: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a line that cannot be opened, and two devices with one unit ID."""
        _ = self.host
        if not self.devices:
            raise ValueError("devices: a line needs at least one")
        if self.baud < 0:
            raise ValueError(f"baud: {self.baud} is not a baud rate")
        if not 0.01 <= self.timeout <= 60:
            raise ValueError(f"timeout: {self.timeout} is not between 0.01 and 60 seconds")
        if not 0 <= self.request_delay <= 10:
            raise ValueError(f"request_delay: {self.request_delay} is not between 0 and 10 seconds")
        unit_ids = [device.unit_id for device in self.devices]
        for device in self.devices:
            if unit_ids.count(device.unit_id) > 1:
                raise ValueError(f"devices: unit_id {device.unit_id} is used twice")
            if self.framing == "rtu" and not 1 <= device.unit_id <= 247:
                raise ValueError(f"devices: unit_id {device.unit_id} of {device.name} is not between 1 and 247")
        if self.serial and not self.baud and len(self._factory_bauds) > 1:
            rates = " and ".join(map(str, sorted(self._factory_bauds)))
            raise ValueError(f"baud: missing: the factory settings of the devices differ: {rates}")

    @property
    def framing(self) -> Literal["rtu", "tcp"]:
        """The framing of requests: RTU, with a checksum, or Modbus TCP."""
        return "tcp" if self.port.startswith("tcp://") else "rtu"

    @property
    def serial(self) -> bool:
        """Whether the port is a serial port of this machine."""
        return "://" not in self.port

    @property
    def host(self) -> tuple[str, int]:
        """Host and port of a line over TCP; ("", 0) for a serial port."""
        if not self.port:
            raise ValueError("port: is empty")
        if self.serial:
            serial_paths.check(self.port, "tcp://")
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
    def baudrate(self) -> int:
        """The baud rate of a serial line."""
        return self.baud or min(self._factory_bauds)

    @property
    def _factory_bauds(self) -> set[int]:
        return {models.load(device.model).header.baud for device in self.devices}


class ModbusPoller(ServiceOptions, frozen=True):
    """The lines to poll."""

    lines: tuple[LineOptions, ...] = ()

    def claims(self) -> Iterator[Claim]:
        """Yield the serial ports, and the devices; only a device with SunSpec lists its channels itself."""
        for number, line in enumerate(self.lines):
            if line.serial:
                yield Claim("port", line.port, f"lines[{number}].port")
            for index, device in enumerate(line.devices):
                channels = " ".join(models.load(device.model).registers)
                yield Claim("device", device.name, f"lines[{number}].devices[{index}].name", channels)

    def __post_init__(self) -> None:
        """Refuse two lines on one port, and two devices with one name."""
        ports = [line.port for line in self.lines]
        names = [device.name for line in self.lines for device in line.devices]
        for option, values in (("port", ports), ("device", names)):
            for value in values:
                if values.count(value) > 1:
                    raise ValueError(f"lines: {option} {value!r} is used twice")
