"""Without retained messages: a client that connects learns what devices are from their producers, after any restart."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from heliograph.store import open_reader
from tests.conftest import GuardedBroker, Processes, free_port
from tests.mqtt_recorder import NODE, Recorder

Eventually = Callable[..., Any]
DISCOVERY = f"homeassistant/device/{NODE}_emontx/config"


class Site:
    """An emonTx that mqtt_importer reads, and services that are started and killed; the broker keeps no retained messages."""

    def __init__(self, folder: Path, broker: GuardedBroker, processes: Processes) -> None:
        self.data = folder / "data"
        self.broker = broker
        self.port = free_port()
        self._processes = processes
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._config = folder / "config.toml"
        self._config.write_text(
            f'[node]\nname = "{NODE}"\ndata = "{self.data}"\nclock = "trust"\n{broker.section}'
            f"[api]\nport = {self.port}\n[storage]\ncommit_seconds = 0.2\n"
            '[[mqtt_importer.sources]]\nfamily = "emonhub"\n'
        )
        broker.set("retain_available", "false")
        broker.add_user("emonhub", "topic write emon/#\ntopic read homeassistant/#")

    def start(self, *services: str) -> None:
        for service in services:
            self._running[service] = self._processes.start(f"services.{service}", str(self._config))

    def kill(self, service: str) -> None:
        self._running[service].kill()
        self._running[service].wait()

    def unit(self) -> str:
        """The unit of the RSSI as the API shows it, "" unless the device is online."""
        try:
            devices = httpx.get(f"http://127.0.0.1:{self.port}/api/v1/devices", verify=False).json()
        except httpx.TransportError:
            return ""
        units = [
            channel["unit"]
            for device in devices
            for channel in device["channels"]
            if (device["device"], device["availability"], channel["name"]) == ("emontx", "online", "rssi")
        ]
        return units[0] if units else ""

    def services(self) -> set[str]:
        """The services that the API knows to be online."""
        try:
            services = httpx.get(f"http://127.0.0.1:{self.port}/api/v1/health", verify=False).json()["services"]
        except httpx.TransportError:
            return set()
        return {name for name, service in services.items() if service["state"] == "online"}

    def stored_unit(self) -> str:
        """The unit of the RSSI in the store."""
        with closing(open_reader(self.data)) as reader:
            return "".join(series.unit for series in reader.series() if series.channel == "rssi")


@pytest.fixture
def site(tmp_path: Path, guarded_broker: GuardedBroker, processes: Processes) -> Site:
    return Site(tmp_path, guarded_broker, processes)


@pytest.fixture
def hub(site: Site) -> Iterator[Recorder]:
    with site.broker.recorder("emonhub") as entered:
        yield entered


def test_every_device_is_there_with_its_units_after_any_restart(
    site: Site, hub: Recorder, processes: Processes, eventually: Eventually
) -> None:
    def sends() -> bool:
        return hub.bus.publish("emon/JSON/emontx", b'{"rssi": -67}')

    def is_announced(count: int) -> bool:
        sent = [json.loads(payload) for topic, payload in hub.others if topic == DISCOVERY]
        return len(sent) == count and "sensor_rssi" in sent[-1]["cmps"]

    site.start("mqtt_importer", "api")
    eventually(lambda: sends() and site.unit() == "dBm", what="the importer has a device, and the api knows it")
    site.start("storage", "home_assistant")  # long after the device was described
    eventually(lambda: is_announced(1), what="Home Assistant hears of it")
    eventually(lambda: sends() and site.stored_unit() == "dBm", what="the store has its unit")
    eventually(lambda: {"mqtt_importer", "storage", "home_assistant", "api"} <= site.services())

    site.kill("api")
    site.start("api")
    eventually(lambda: site.unit() == "dBm", what="the api knows it again")
    eventually(lambda: {"mqtt_importer", "storage", "home_assistant", "api"} <= site.services())

    site.broker.kill()
    site.broker.start()
    eventually(lambda: is_announced(2), what="Home Assistant hears of it again")
    assert site.unit() == "dBm"

    site.kill("mqtt_importer")
    eventually(lambda: "mqtt_importer" not in site.services())
    site.start("mqtt_importer")
    eventually(lambda: sends() and "mqtt_importer" in site.services())
    assert "Traceback" not in processes.output()
