"""The main loop: one reader per port, one listener per socket, and how they are in the status."""

import logging
import time

from heliograph import names, names_before, topics
from heliograph.bus import Message
from heliograph.service import Service
from services.serial_bridge import configuration
from services.serial_bridge.commanding import carry_out
from services.serial_bridge.intake import MOST_DEVICES, Intake
from services.serial_bridge.offers import Offers
from services.serial_bridge.options import Port, SerialBridge, Socket
from services.serial_bridge.reader import Reader
from services.serial_bridge.repeater import repeater
from services.serial_bridge.server import Server
from services.serial_bridge.socket_source import MOST_DEVICES as MOST_SOCKET_DEVICES
from services.serial_bridge.socket_source import SocketSource
from services.serial_bridge.source import Context

log = logging.getLogger(__name__)

FACTS_SECONDS = 2.0
STOP_SECONDS = 1.5


class Bridge:
    """Everything that is read, and what of it changes when the settings do."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.rule = names.rule_of(service.data, service.name, names_before.PLAIN)
        self._owners = names.NameOwners(MOST_SOCKET_DEVICES)
        self._producer = service.producer()
        self._offers = Offers()
        self._readers: dict[str, Reader] = {}
        self._sockets: dict[str, SocketSource] = {}
        self._repeaters: dict[str, tuple[Port, Server]] = {}
        self._intakes: dict[str, Intake] = {}
        self._options = SerialBridge()
        self._context = Context({}, self.rule)
        service.bus.subscribe(topics.every_device("set", service.node), self._set)

    def apply(self, options: SerialBridge) -> None:
        """Start what is new, stop what is gone, and change the rest while it runs."""
        before, self._options = self._options, options
        self._context = context = options.context(self.rule)
        self._offers.listed(set(context.layouts))
        ports = {port.name: port for port in options.ports}
        sockets = {one.name: one for one in options.sockets}
        ends: list[Reader | SocketSource | Server] = []
        for name, reader in list(self._readers.items()):
            if name not in ports or not _is_same_line(reader.port, ports[name]):
                ends.append(self._readers.pop(name))
        for name, source in list(self._sockets.items()):
            if name not in sockets or not _is_same_address(source.options, sockets[name]):
                ends.append(self._sockets.pop(name))
        for name, (port, server) in list(self._repeaters.items()):
            if name not in self._readers or ports[name].repeater != port.repeater:
                ends.append(server)
                del self._repeaters[name]
        _end(ends)
        for name, port in ports.items():
            if name not in self._readers:
                self._readers[name] = Reader(port, context, self._service, self._intake(name, MOST_DEVICES))
                self._readers[name].start()
            elif (self._readers[name].port, before.nodes) != (port, options.nodes):
                self._readers[name].change(port, context)
            talker = self._readers[name].talker
            if port.repeater.port and name not in self._repeaters and talker:
                self._repeaters[name] = (port, repeater(port, talker, self._service.count))
                self._repeaters[name][1].start()
        for name, one in sockets.items():
            if name not in self._sockets:
                intake = self._intake(name, MOST_SOCKET_DEVICES)
                self._sockets[name] = SocketSource(one, context, self._service, intake)
                self._sockets[name].start()
            elif (self._sockets[name].options, before.nodes) != (one, options.nodes):
                self._sockets[name].change(one, context)

    def facts(self) -> dict[str, dict[str, object]]:
        """Return the facts of the status, and tell the service those that are not of ports."""
        ports = {name: reader.facts() for name, reader in self._readers.items()}
        sockets = {name: source.facts() for name, source in self._sockets.items()}
        self._service.fact("ports", ports)
        self._service.fact("sockets", sockets)
        self._service.fact("unknown_nodes", self._offers.facts())
        return ports | sockets

    def stop(self) -> None:
        """Stop everything."""
        _end([*self._readers.values(), *self._sockets.values(), *(server for _, server in self._repeaters.values())])

    def _intake(self, name: str, most: int) -> Intake:
        """Return the intake of a source: what it learnt of its devices outlives changes of the source."""
        if name not in self._intakes:
            self._intakes[name] = Intake(name, self._service, self._producer, self._offers, self._owners, most)
        return self._intakes[name]

    def _set(self, message: Message) -> None:
        """Send what a `set` message says to its node; called on the network thread."""
        if message.retained:
            return  # an old command
        device = topics.parse(message.topic).owner
        layout = next((one for one in self._context.layouts.values() if one.device == device and one.encoder), None)
        if layout is None:
            return  # another service's device
        talkers = {name: reader.talker for name, reader in self._readers.items() if reader.talker}
        heard = [name for name in talkers if self._readers[name].knows(device)]
        chosen = talkers.get((heard or list(talkers) or [""])[0])
        carry_out(self._service, message, layout, chosen)


def main(options: SerialBridge, service: Service) -> None:
    """Read all ports until the process is told to stop."""
    if not (options.ports or options.sockets):
        log.warning("no [[serial_bridge.ports]] in the configuration: nothing to read")
    bridge = Bridge(service)
    watch = configuration.Watch(service.path, service.name, bridge.rule)
    configuration.check(options, bridge.rule, service.path)
    was: object = None
    try:
        bridge.apply(options)
        while True:
            if changed := watch.changed():
                log.info("the settings have changed")
                bridge.apply(changed)
                service.count("settings_changed")
            service.fact("mistake", watch.mistake)
            state = [(name, facts["open"], facts.get("recognised")) for name, facts in bridge.facts().items()]
            if (state, watch.mistake) != was:
                service.report()
            was = (state, watch.mistake)
            service.wait(FACTS_SECONDS)
    finally:
        bridge.stop()


def _is_same_line(one: Port, other: Port) -> bool:
    """Whether a port can stay open: it is the same wire, and the same language."""
    return all(getattr(one, option) == getattr(other, option) for option in ("port", "speed", "bits", "format"))


def _is_same_address(one: Socket, other: Socket) -> bool:
    return (one.host, one.port, one.format) == (other.host, other.port, other.format)


def _end(what: list[Reader | SocketSource | Server]) -> None:
    for one in what:
        one.stop()
    end = time.monotonic() + STOP_SECONDS
    for one in what:
        one.join(max(0.0, end - time.monotonic()))
