"""What a line tells about its devices: descriptions, availability, the status and the log."""

import logging
from collections.abc import Mapping

from heliograph.messages import Availability
from heliograph.producer import Producer
from heliograph.service import Service
from services.modbus_poller.polling import PolledDevice

log = logging.getLogger(__name__)


class LineReport:
    """Publishes the state of a line and of its devices; the log has one line for each change."""

    def __init__(self, port: str, devices: Mapping[str, PolledDevice], service: Service, producer: Producer) -> None:
        self._port = port
        self._devices = devices
        self._service = service
        self._producer = producer
        self._echoes = False
        self._notes: dict[str, list[str]] = {}

    def declare(self, name: str) -> None:
        """Publish the description of a device."""
        self._producer.declare(name, self._devices[name].info(self._service.name))

    def changed(self, name: str, unsupported: list[str]) -> None:
        """Publish the description of a device that has changed; log which channels it turned out to have, or not."""
        now = self._devices[name].unsupported
        missing, back = set(now) - set(unsupported), set(unsupported) - set(now)
        if missing:
            log.info("%s: does not support %s", name, ", ".join(sorted(missing)))
        if back:
            log.info("%s: supports %s now", name, ", ".join(sorted(back)))
        self.declare(name)

    def state(self, name: str, state: Availability, why: str = "") -> None:
        """Publish whether a device responds, and show in the status what is known of it."""
        device = self._devices[name]
        notes = device.notes
        before = self._notes.get(name, [])
        for note in notes:
            if note not in before:
                log.warning("%s: %s", name, note)
        for note in before:
            if note not in notes:
                log.info("%s: no longer: %s", name, note)
        self._notes[name] = notes
        self._producer.availability(name, state)
        self._service.fact(
            f"device:{name}", {"state": state, "why": why, "unsupported": device.unsupported, "notes": notes}
        )

    def echoes(self, now: bool) -> None:
        """Show in the status, and once in the log, whether the adapter of the line echoes."""
        if now == self._echoes:
            return
        self._echoes = now
        self._service.fact(f"line:{self._port}", {"echoes": now})
        if now:
            log.info("%s: the adapter echoes: each request comes back before its response, and is dropped", self._port)
        else:
            log.info("%s: the adapter does not echo any more", self._port)
