"""The main loop: one reader per port, one server per socket, and their state in the status."""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from heliograph import names, names_before, topics
from heliograph.bus import Message
from heliograph.service import Service
from services.serial_bridge import config_watch
from services.serial_bridge.intake import MAX_DEVICES, SerialIntake
from services.serial_bridge.options import PortOptions, SerialBridge, SocketOptions
from services.serial_bridge.port import PortReader
from services.serial_bridge.protocols.meter_names import MeterNames
from services.serial_bridge.radio.repeater import repeater
from services.serial_bridge.radio.set_commands import carry_out
from services.serial_bridge.radio.settings import RepeaterOptions
from services.serial_bridge.radio.unknown_nodes import UnknownNodes
from services.serial_bridge.socket_source import MAX_DEVICES as MAX_SOCKET_DEVICES
from services.serial_bridge.socket_source import SocketSource
from services.serial_bridge.source import ParserContext
from services.serial_bridge.tcp_server import TcpServer

log = logging.getLogger(__name__)

FACTS_SECONDS = 2.0
STOP_SECONDS = 1.5


class Stoppable(Protocol):
    """Something with a thread."""

    def stop(self) -> None:
        """Tell the thread to end."""

    def join(self, seconds: float) -> None:
        """Wait for the end of the thread."""


class Bridge:
    """All ports, sockets and repeaters, which follow the configuration."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.rule = names.rule_of(service.data, service.name, names_before.PLAIN)
        self._owners = names.NameOwners(MAX_SOCKET_DEVICES)
        self._producer = service.producer()
        self._unknown_nodes = UnknownNodes()
        self._readers: dict[str, PortReader] = {}
        self._sockets: dict[str, SocketSource] = {}
        self._repeaters: dict[str, tuple[RepeaterOptions, TcpServer]] = {}
        self._intakes: dict[str, SerialIntake] = {}
        self._options = SerialBridge()
        self._meter_names = MeterNames(service.data / service.name / "meters.json")
        self._context = ParserContext({}, self.rule, self._meter_names)
        service.bus.subscribe(topics.every_device("set", service.node), self._set)

    def apply(self, options: SerialBridge) -> None:
        """Start what is new, stop what is no longer configured, and change the rest while it runs."""
        nodes_changed = options.nodes != self._options.nodes
        self._options = options
        self._context = options.context(self.rule)._replace(meter_names=self._meter_names)
        self._unknown_nodes.remove(set(self._context.node_decoders))
        ports = {port.name: port for port in options.ports}
        sockets = {socket.name: socket for socket in options.sockets}
        _stop(self._without(ports, sockets))
        for port in ports.values():
            self._apply_port(port, nodes_changed=nodes_changed)
        for socket in sockets.values():
            self._apply_socket(socket, nodes_changed=nodes_changed)

    def facts(self) -> dict[str, dict[str, object]]:
        """Set the facts of the status; return those of ports and sockets by name."""
        ports = {name: reader.facts() for name, reader in self._readers.items()}
        sockets = {name: source.facts() for name, source in self._sockets.items()}
        self._service.fact("ports", ports)
        self._service.fact("sockets", sockets)
        self._service.fact("unknown_nodes", self._unknown_nodes.facts())
        return ports | sockets

    def stop(self) -> None:
        """Stop everything."""
        repeaters = [server for _, server in self._repeaters.values()]
        _stop([*self._readers.values(), *self._sockets.values(), *repeaters])

    def _without(self, ports: Mapping[str, PortOptions], sockets: Mapping[str, SocketOptions]) -> list[Stoppable]:
        """Remove, and return, what is no longer configured, or has to start again."""
        removed: list[Stoppable] = []
        for name, reader in list(self._readers.items()):
            if name not in ports or not _is_same_line(reader.port, ports[name]):
                removed.append(self._readers.pop(name))
        for name, source in list(self._sockets.items()):
            if name not in sockets or not _is_same_address(source.options, sockets[name]):
                removed.append(self._sockets.pop(name))
        for name, (repeater_options, server) in list(self._repeaters.items()):
            if name not in self._readers or ports[name].repeater != repeater_options:
                removed.append(server)
                del self._repeaters[name]
        return removed

    def _apply_port(self, port: PortOptions, *, nodes_changed: bool) -> None:
        reader = self._readers.get(port.name)
        if reader is None:
            intake = self._intake(port.name, MAX_DEVICES)
            reader = self._readers[port.name] = PortReader(port, self._context, self._service, intake)
            reader.start()
        elif nodes_changed or reader.port != port:
            reader.change(port, self._context)
        if port.repeater.port and port.name not in self._repeaters and reader.command_queue:
            server = repeater(port.name, port.repeater, reader.command_queue, self._service.count)
            self._repeaters[port.name] = (port.repeater, server)
            server.start()

    def _apply_socket(self, options: SocketOptions, *, nodes_changed: bool) -> None:
        source = self._sockets.get(options.name)
        if source is None:
            intake = self._intake(options.name, MAX_SOCKET_DEVICES)
            source = self._sockets[options.name] = SocketSource(options, self._context, self._service, intake)
            source.start()
        elif nodes_changed or source.options != options:
            source.change(options, self._context)

    def _intake(self, name: str, max_devices: int) -> SerialIntake:
        """Return the intake of a source: what it knows of its devices outlives changes of the source."""
        if name not in self._intakes:
            self._intakes[name] = SerialIntake(
                name, self._service, self._producer, self._unknown_nodes, self._owners, max_devices
            )
        return self._intakes[name]

    def _set(self, message: Message) -> None:
        """Send the values of a `set` message to its node; called on the network thread."""
        if message.retained:
            return  # an old command
        device = topics.parse(message.topic).owner
        nodes = [node for node in self._context.node_decoders.values() if node.device == device and node.encoder]
        if not nodes:
            return  # another service's device
        boards = [reader for reader in self._readers.values() if reader.command_queue]
        nearest = [reader for reader in boards if reader.knows(device)]
        chosen = (nearest or boards)[:1]
        carry_out(self._service, message, nodes[0], chosen[0].command_queue if chosen else None)


def main(options: SerialBridge, service: Service) -> None:
    """Read all ports until the process is stopped."""
    if not (options.ports or options.sockets):
        log.warning("no [[serial_bridge.ports]] in the configuration: nothing to read")
    bridge = Bridge(service)
    watch = config_watch.ConfigWatch(service.path, service.name, bridge.rule)
    config_watch.check(options, bridge.rule, service.path)
    reported: object = None
    try:
        bridge.apply(options)
        while True:
            if changed := watch.changed():
                bridge.apply(changed)
                log.info("the configuration has changed")
                service.count("config_reloads")
            service.fact("config_error", watch.error)
            ports = [(name, facts["open"], facts.get("detected_format")) for name, facts in bridge.facts().items()]
            if (ports, watch.error) != reported:
                service.report()
            reported = (ports, watch.error)
            service.wait(FACTS_SECONDS)
    finally:
        bridge.stop()


def _is_same_line(one: PortOptions, other: PortOptions) -> bool:
    """Return whether a port can stay open: it is the same device, with the same parameters and format."""
    return all(getattr(one, option) == getattr(other, option) for option in ("port", "speed", "bits", "format"))


def _is_same_address(one: SocketOptions, other: SocketOptions) -> bool:
    return (one.host, one.port, one.format) == (other.host, other.port, other.format)


def _stop(threads: Sequence[Stoppable]) -> None:
    for thread in threads:
        thread.stop()
    end = time.monotonic() + STOP_SECONDS
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
