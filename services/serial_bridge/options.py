"""The [serial_bridge] section of the configuration."""

from collections.abc import Iterator
from typing import ClassVar

import msgspec
import serial

from heliograph import names, serial_paths
from heliograph.config import Claim, ServiceOptions
from services.serial_bridge import formats, usb
from services.serial_bridge.radio.nodes import NodeOptions, packet_decoders, possible_channels
from services.serial_bridge.radio.settings import RadioOptions, RepeaterOptions, check_port
from services.serial_bridge.source import ParserContext, SourceOptions

BITS = {"5": serial.FIVEBITS, "6": serial.SIXBITS, "7": serial.SEVENBITS, "8": serial.EIGHTBITS}
PARITIES = {"N": serial.PARITY_NONE, "E": serial.PARITY_EVEN, "O": serial.PARITY_ODD}
STOPS = {"1": serial.STOPBITS_ONE, "2": serial.STOPBITS_TWO}
RADIO_FORMATS = ("rfm2pi", "oem")
NUMBERED_FORMATS = (*RADIO_FORMATS, "node_values", formats.AUTO)  # that may have nodes
NODE_FORMATS = ("rfm2pi", "node_values")  # whose devices are nodes, never the port itself


class PortOptions(SourceOptions, frozen=True, kw_only=True):
    """One [[serial_bridge.ports]] section: a serial port."""

    port: str
    baud: int = 0
    bits: str = "8N1"
    radio: RadioOptions = RadioOptions()
    repeater: RepeaterOptions = RepeaterOptions()

    def __post_init__(self) -> None:
        """Refuse options that a serial port cannot have."""
        self.check()
        if not 0 <= self.baud <= 10_000_000:
            raise ValueError(f"baud: {self.baud} is not a baud rate")
        bits, parity, stop = tuple(self.bits) if len(self.bits) == 3 else tuple("???")
        if bits not in BITS or parity not in PARITIES or stop not in STOPS:
            raise ValueError(f"bits: {self.bits!r} is not like 8N1, 7E1 or 8E2")
        if not self.port:
            raise ValueError("port: is empty")
        if self.format not in RADIO_FORMATS and (self.radio != RadioOptions() or self.repeater != RepeaterOptions()):
            raise ValueError("radio: only rfm2pi and oem have one")
        if self.format == "oem" and self.radio.time_broadcast_interval:
            raise ValueError("radio: time_broadcast_interval: only rfm2pi broadcasts the time")
        if usb.is_id(self.port):
            return
        if "://" not in self.port:
            serial_paths.check(self.port, "socket://")
        else:
            try:
                serial.serial_for_url(self.port, do_not_open=True)
            except serial.SerialException:
                return  # hwgrep:// looks for its port even when it is not to be opened
            except ValueError as error:
                raise ValueError(f"port: {error}") from None

    @property
    def speed(self) -> int:
        """The speed of the port: the configured one, else the usual one of the format."""
        known = self.format in formats.known()
        return self.baud or (formats.load(self.format).baud if known else formats.BAUD)


class SocketOptions(SourceOptions, frozen=True, kw_only=True):
    """One [[serial_bridge.sockets]] section: a TCP port for any number of clients."""

    RENAMED: ClassVar = {"idle": "idle_timeout", "clients": "max_clients"}

    port: int
    host: str = "127.0.0.1"
    key: str = ""
    timestamped: bool = False
    idle_timeout: float = 300.0
    max_clients: int = 12_000

    def __post_init__(self) -> None:
        """Refuse options that a listener cannot have."""
        self.check()
        check_port(self.port, 1)
        if not 0.1 <= self.idle_timeout <= 1e6:
            raise ValueError(f"idle_timeout: {self.idle_timeout!r} is not between 0.1 and 1000000 seconds")
        if not 1 <= self.max_clients <= 1_000_000:
            raise ValueError(f"max_clients: {self.max_clients} is not between 1 and 1000000")
        if any(character.isspace() for character in self.key):
            raise ValueError("key: contains a space")
        if self.format == formats.AUTO:
            raise ValueError("format: auto listens to one device for a while; a socket has a format")
        if (self.key or self.timestamped) and self.format in formats.known() and formats.load(self.format).splitter:
            raise ValueError(f"key, timestamped: {self.format} has no lines to put them into")


class SerialBridge(ServiceOptions, frozen=True):
    """The [serial_bridge] section."""

    ports: tuple[PortOptions, ...] = ()
    sockets: tuple[SocketOptions, ...] = ()
    nodes: dict[str, NodeOptions] = msgspec.field(default_factory=dict)

    def claims(self) -> Iterator[Claim]:
        """Yield the serial ports, and the devices that the configuration names."""
        for number, one in enumerate(self.ports):
            if "://" not in one.port:
                yield Claim("port", one.port, f"ports[{number}].port")
        for section, sources in (("ports", self.ports), ("sockets", self.sockets)):
            for number, source in enumerate(sources):
                if source.format not in NODE_FORMATS:
                    key = "device" if source.device else "name"
                    yield Claim("device", source.device_name, f"{section}[{number}].{key}")
        for node, options in self.nodes.items():
            yield Claim("device", options.name, f"nodes.{node}.name", " ".join(possible_channels(int(node), options)))

    def __post_init__(self) -> None:
        """Refuse sources of the same name or device, unknown formats, and decoders that contradict themselves."""
        used: set[str] = set()
        sources_of: dict[str, str] = {}
        for section, sources in (("ports", self.ports), ("sockets", self.sockets)):
            for source in sources:
                if source.name in used:
                    raise ValueError(f"{section}.{source.name}: two ports have this name")
                used.add(source.name)
                if source.format in NODE_FORMATS:
                    continue
                if source.device_name in sources_of:
                    raise ValueError(
                        f"{section}.{source.name}: device: {sources_of[source.device_name]} is {source.device_name!r}, too"
                    )
                sources_of[source.device_name] = f"{section}.{source.name}"
        self.context(names.PRESENT)

    def _node_limits(self) -> dict[str, int]:
        """Return, by the names of sources, from which number on nodes are those of another; raise ValueError for the same numbers."""
        sources = [source for source in (*self.ports, *self.sockets) if source.format in NUMBERED_FORMATS]
        limits: dict[str, int] = {}
        for source in sources:
            others = [other for other in sources if _shares_nodes(source, other)]
            sure = [other.name for other in others if other.format != formats.AUTO]
            if sure and source.format != formats.AUTO:
                raise ValueError(
                    f"{source.name}: node_offset: {sure[0]} has nodes with the same numbers; with another one, such "
                    f"as node_offset = 100, node 15 of {source.name} is [serial_bridge.nodes.115], and no node of {sure[0]}"
                )
            above = [other.node_offset for other in sources if other.node_offset > source.node_offset]
            if others and source.format == formats.AUTO:
                above.append(source.node_offset)
            if above:
                limits[source.name] = min(above)
        return limits

    def context(self, rule: names.NamingRule) -> ParserContext:
        """Return what all sources share; raise ValueError, naming the source, if options contradict each other under a rule."""
        context = ParserContext(packet_decoders(self.nodes, rule), rule, node_limits=self._node_limits())
        for section, sources in (("ports", self.ports), ("sockets", self.sockets)):
            for source in sources:
                _check_format(section, source, context)
        return context


def _shares_nodes(one: SourceOptions, other: SourceOptions) -> bool:
    """Whether a number would stand for a node of either, of which not both are on the radio: two receivers hear the same nodes."""
    return (
        one.name != other.name and one.node_offset == other.node_offset and "node_values" in (one.format, other.format)
    )


def _check_format(section: str, source: SourceOptions, context: ParserContext) -> None:
    """Raise ValueError that names the source if its options do not go together."""
    if source.format == formats.AUTO:
        return
    try:
        formats.load(source.format).parser(source, context)
    except ValueError as error:
        option = "" if source.format in formats.known() else "format: "
        raise ValueError(f"{section}.{source.name}: {option}{error}") from None
