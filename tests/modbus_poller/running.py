"""The service as a process, and what is heard of it on the bus."""

import json
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from heliograph import topics
from heliograph.bus import Bus, Message
from heliograph.config import Broker
from tests.conftest import LocalBroker, Processes


class Ear:
    """Hears everything on the bus."""

    def __init__(self, port: int) -> None:
        self.states: list[tuple[str, dict[str, Any]]] = []
        self.infos: dict[str, dict[str, Any]] = {}
        self.availability: dict[str, list[str]] = {}
        self.status: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._bus = Bus(Broker(port=port), "ear", "ear")
        for kind in ("state", "info", "availability"):
            self._bus.subscribe(topics.every_device(kind), self._device)
        self._bus.subscribe(topics.every_service("status"), self._service)

    def __enter__(self) -> "Ear":
        self._bus.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._bus.__exit__()

    def _device(self, message: Message) -> None:
        _, device, kind, _ = topics.parse(message.topic)
        with self._lock:
            if kind == "state":
                self.states.append((device, json.loads(message.payload)))
            elif kind == "info":
                self.infos[device] = json.loads(message.payload)
            else:
                self.availability.setdefault(device, []).append(message.payload.decode())

    def _service(self, message: Message) -> None:
        self.status = json.loads(message.payload)

    def of(self, device: str) -> list[dict[str, Any]]:
        with self._lock:
            return [state for name, state in self.states if name == device]

    def newest(self, device: str) -> dict[str, Any]:
        values = self.of(device)[-1]["values"]
        assert isinstance(values, dict)
        return values

    def last_availability(self, device: str) -> str:
        return self.availability.get(device, [""])[-1]


class Pollers:
    """Starts the service with a section of its configuration."""

    def __init__(self, folder: Path, broker: LocalBroker, processes: Processes) -> None:
        self._folder = folder
        self._broker = broker
        self._processes = processes

    def start(self, section: str) -> "subprocess.Popen[bytes]":
        file = self._folder / "config.toml"
        file.write_text(
            f'[node]\nname = "pi1"\ndata = "{self._folder / "data"}"\nclock = "trust"\n'
            f"[broker]\nport = {self._broker.port}\n{section}"
        )
        return self._processes.start("services.modbus_poller", str(file))

    def said(self) -> str:
        return self._processes.said()


def wait_for(check: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "never came true"
        time.sleep(0.02)


def line(port: str, options: str = "") -> str:
    return f'[[modbus_poller.lines]]\nport = "{port}"\n{options}\n'


def device(name: str, model: str, unit: int = 1, interval: float = 0.5) -> str:
    return (
        f'[[modbus_poller.lines.devices]]\nname = "{name}"\nmodel = "{model}"\nunit = {unit}\ninterval = {interval}\n'
    )
