"""The main loop: one reader per port, and how they are in the status."""

import logging
import threading
import time

from heliograph.service import Service
from services.serial_bridge.options import SerialBridge, parser
from services.serial_bridge.reader import Reader

log = logging.getLogger(__name__)

FACTS_SECONDS = 2.0
STOP_SECONDS = 1.5


def main(options: SerialBridge, service: Service) -> None:
    """Read all ports until the process is told to stop."""
    if not options.ports:
        log.warning("no [[serial_bridge.ports]] in the configuration: nothing to read")
    producer = service.producer()
    stop = threading.Event()
    readers = {port.name: Reader(port, parser(port, options.nodes), service, producer, stop) for port in options.ports}
    for reader in readers.values():
        reader.start()
    was_open: dict[str, object] = {}
    try:
        while True:
            ports = {name: reader.facts() for name, reader in readers.items()}
            service.fact("ports", ports)
            is_open = {name: facts["open"] for name, facts in ports.items()}
            if is_open != was_open:
                service.report()
            was_open = is_open
            service.wait(FACTS_SECONDS)
    finally:
        stop.set()
        end = time.monotonic() + STOP_SECONDS
        for reader in readers.values():
            reader.join(max(0.0, end - time.monotonic()))
