"""A stub for a service and its producer that records what is published."""

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from heliograph.messages import Info
from heliograph.producer import Producer
from heliograph.service import Service


class Clock:
    synchronised = True
    time = 1_795_000_000.0

    def now(self) -> float:
        return self.time


class ServiceStub:
    """Service and producer in one."""

    def __init__(self, data: Path) -> None:
        self.name = "sensor_reader"
        self.data = data
        self.clock = Clock()
        self.counters: Counter[str] = Counter()
        self.facts: dict[str, Any] = {}
        self.ports_away: dict[str, str] = {}
        self.invalid: list[tuple[str, str, str]] = []
        self.infos: dict[str, Info] = {}
        self.states: dict[str, list[str]] = {}
        self.readings: list[tuple[str, dict[str, Any]]] = []
        self.times: list[float | None] = []  # of the readings: the device's own
        self.arrived: list[float | None] = []  # those of this machine's clock
        self._lock = threading.Lock()

    @property
    def service(self) -> Service:
        return cast(Service, self)

    @property
    def producer(self) -> Producer:
        return cast(Producer, self)

    def count(self, what: str, by: int = 1) -> None:
        with self._lock:
            self.counters[what] += by

    def watch(self, counters: Callable[[], dict[str, int]]) -> None:
        self.counters.update(counters())

    def fact(self, name: str, value: object) -> None:
        self.facts[name] = value

    def port_away(self, port: str, why: str) -> None:
        self.ports_away = {name: text for name, text in {**self.ports_away, port: why}.items() if text}

    def set_aside(self, why: str, what: str, where: str = "") -> None:
        self.invalid.append((why, what, where))

    def declare(self, device: str, info: Info) -> None:
        self.infos[device] = info

    def availability(self, device: str, state: str) -> None:
        states = self.states.setdefault(device, [])
        if states[-1:] != [state]:
            states.append(state)

    def publish(
        self, device: str, values: dict[str, Any], at: float | None = None, *, arrived: float | None = None
    ) -> None:
        self.readings.append((device, values))
        self.times.append(at)
        self.arrived.append(arrived)

    def several(self, device: str) -> bool:
        return len(self.of(device)) >= 3

    def of(self, device: str) -> list[dict[str, Any]]:
        return [values for name, values in self.readings if name == device]
