"""The [serial_bridge] section of the configuration."""

import math
from collections.abc import Mapping

import msgspec
import serial

from heliograph import topics
from heliograph.config import Config
from heliograph.messages import Kind
from services.serial_bridge import formats, usb
from services.serial_bridge.nodes import Node, layouts
from services.serial_bridge.readings import Format


class Port(Config, frozen=True):
    """One [[serial_bridge.ports]] section: where lines come from, and what they look like."""

    name: str
    port: str
    format: str
    baud: int = 38_400
    device: str = ""
    model: str = ""
    units: dict[str, str] = msgspec.field(default_factory=dict)
    kinds: dict[str, Kind] = msgspec.field(default_factory=dict)
    interval: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no serial port can be."""
        topics.name(self.name)
        topics.name(self.device or self.name)
        if not 0 < self.baud <= 10_000_000:
            raise ValueError(f"baud: {self.baud} is not the speed of a port")
        if not (math.isfinite(self.interval) and self.interval >= 0):
            raise ValueError(f"interval: {self.interval!r} is not a number of seconds")
        if not self.port:
            raise ValueError("port: it is empty")
        if "://" in self.port and not usb.is_id(self.port):
            try:
                serial.serial_for_url(self.port, do_not_open=True)
            except serial.SerialException:
                return  # hwgrep:// looks for its port even when it is not to be opened
            except ValueError as error:
                raise ValueError(f"port: {error}") from None


class SerialBridge(Config, frozen=True):
    """The [serial_bridge] section."""

    ports: tuple[Port, ...] = ()
    nodes: dict[str, Node] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse ports of the same name, unknown formats, and decoders that contradict themselves."""
        layouts(self.nodes)
        names: set[str] = set()
        for port in self.ports:
            if port.name in names:
                raise ValueError(f"ports.{port.name}: two ports have this name")
            names.add(port.name)
            parser(port, self.nodes)


def parser(port: Port, nodes: Mapping[str, Node]) -> Format:
    """Return what reads the lines of a port; raise ValueError if its options do not go together."""
    try:
        return formats.load(port.format)(port, nodes)
    except ValueError as error:
        option = "" if port.format in formats.known() else "format: "
        raise ValueError(f"ports.{port.name}: {option}{error}") from None
