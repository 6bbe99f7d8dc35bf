"""docs/second-pi.md, followed on machines in network namespaces: its files start, and nothing is lost or doubled."""

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import ROOT
from tests.stored import arrivals
from tests.system.conftest import START
from tests.system.networks import Network, made

Eventually = Callable[..., Any]
PAGE = (ROOT / "docs/second-pi.md").read_text()
FILES = {
    block.split("\n", 1)[0]: block for block in re.findall(r"```toml\n# config\.toml of (.*?)```", PAGE, re.DOTALL)
}
SECRETS = "scripts/heliograph secrets data/secrets "
ASK = """
import sys, urllib.error, urllib.request
try:
    print(urllib.request.urlopen("http://127.0.0.1:8000/api/v1/" + sys.argv[1], timeout=10).read().decode())
except urllib.error.HTTPError as error:
    print(error.read().decode())
except OSError:
    print("null")
"""
COUNT = 600
FULL_COUNT = 12_000
PER_SECOND = 100
START_SECONDS = 240  # on a busy machine

pytestmark = pytest.mark.timeout(600)


class Machine:
    """A machine of a network that runs a node as the page says, in a folder of its own; `site` is its simulated hardware."""

    def __init__(self, network: Network, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder / name
        self.folder.mkdir()
        self.site = self.folder / "site"
        self.log = self.folder / "log"
        self._network = network
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def write(self, file: str, replaced: dict[str, str]) -> None:
        """Write a file of the page, with what is different on this machine."""
        text = FILES[file]
        for old, new in replaced.items():
            assert old in text, f"{file}: {old}"
            text = text.replace(old, new)
        text = re.sub(r'^name = "(.*)"$', r'name = "\1"\nclock = "trust"', text, count=1, flags=re.MULTILINE)
        (self.folder / "config.toml").write_text(f"# {text}".replace("/dev/ttyUSB0", str(self.site / "tracer")))

    def secrets(self, options: str, replaced: dict[str, str]) -> None:
        """Run a command of the page that makes secrets."""
        assert f"{SECRETS}{options}\n" in PAGE, options
        for old, new in replaced.items():
            options = options.replace(old, new)
        command = [sys.executable, "-m", "cli", "secrets", str(self.folder / "data/secrets"), *options.split()]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)

    def attach_hardware(self) -> None:
        self._start("simulator", "simulator", "--link-folder", str(self.site))

    def start(self) -> None:
        config = str(self.folder / "config.toml")
        self._start("node", "cli", "start", "--config", config, "--data", str(self.folder / "data"), "--no-simulate")

    def stop(self) -> None:
        self._processes["node"].send_signal(signal.SIGINT)
        assert self._processes["node"].wait(timeout=60) == 0, self.log.read_text()

    def start_numbered(self, count: int) -> None:
        """Let something publish numbered readings as the node's sensor_reader, which does not run beside it."""
        effective = tomllib.loads((self.folder / "data/run/config.toml").read_text())
        broker = "".join(f"{key} = {json.dumps(value)}\n" for key, value in effective["broker"].items())
        path = self.folder / "numbered.toml"
        path.write_text(
            f'[node]\nname = "{self.name}"\ndata = "{self.folder}/numbered"\nclock = "trust"\n[broker]\n{broker}'
            f"[sensor_reader]\ncount = {count}\nper_second = {PER_SECOND}\n"
        )
        self._start("numbered", "tests.system.numbered", str(path), NUMBERED_AS="sensor_reader")

    def kill(self, what: str) -> None:
        """Kill a process of the node, which is started again by itself, or the numbered producer."""
        if what == "numbered":
            self._processes[what].kill()
            self._processes[what].wait()
            return
        children = psutil.Process(self._processes["node"].pid).children(recursive=True)
        alive = [child for child in children if child.status() != psutil.STATUS_ZOMBIE]
        next(child for child in alive if any(what in part for part in child.cmdline())).kill()

    def ask(self, path: str) -> Any:
        return json.loads(self._network.run(self.name, sys.executable, "-c", ASK, path))

    def numbers(self, node: str) -> Counter[int]:
        """How often each numbered reading of a node is stored on this machine; each has the time of its number."""
        counted: Counter[int] = Counter()
        for arrival in arrivals(self.folder / "data"):
            if arrival.node == node and arrival.device == "counter":
                number = int(float(arrival.values["number"]))
                assert arrival.time == START + number
                counted[number] += 1
        return counted

    def online(self) -> set[str]:
        """The devices that are online on the page of this machine, as node/device."""
        devices = self.ask("devices")
        if not isinstance(devices, list):
            return set()
        return {f"{one['node']}/{one['device']}" for one in devices if one["availability"] == "online"}

    def end(self) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
                process.kill()
                process.wait()

    def _start(self, what: str, *module: str, **environment: str) -> None:
        with self.log.open("ab") as log:
            self._processes[what] = subprocess.Popen(
                self._network.command(self.name, sys.executable, "-m", *module),
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


@pytest.fixture
def network() -> Iterator[Network]:
    joined = made()
    yield joined
    joined.close()


@pytest.fixture
def machine(tmp_path: Path, network: Network) -> Iterator[Callable[[str], Machine]]:
    machines: list[Machine] = []

    def make(name: str) -> Machine:
        network.machine(name)
        machines.append(Machine(network, name, tmp_path))
        return machines[-1]

    yield make
    for one in machines:
        one.end()
        sys.stderr.write(f"--- {one.name}\n{one.log.read_text()[-5000:] if one.log.exists() else ''}")


@pytest.fixture
def count(request: pytest.FixtureRequest) -> int:
    return FULL_COUNT if request.config.getoption("--full") else COUNT


def take_secrets(hub: Machine, *others: Machine) -> None:
    """Copy what the hub has collected, as `scp` does."""
    for other in others:
        target = other.folder / "hub"
        target.mkdir()
        for path in (hub.folder / "data/secrets/for" / other.name).iterdir():
            (target / path.name).write_bytes(path.read_bytes())


def test_a_pi_that_only_reads_and_its_hub_lose_nothing(
    network: Network, machine: Callable[[str], Machine], count: int, eventually: Eventually
) -> None:
    hub, shed = machine("hub"), machine("shed")
    network.switch("lan", {"hub": "192.168.1.10/24", "shed": "192.168.1.11/24"})
    hub.secrets("--tls hub.local 192.168.1.10 --for shed", {})
    take_secrets(hub, shed)
    hub.write("the hub", {})
    shed.write("shed", {"hub.local": "192.168.1.10", "/home/pi/hub": str(shed.folder / "hub")})
    for one in (hub, shed):
        one.attach_hardware()
        eventually((one.site / "tracer").exists)
        one.start()
    eventually(lambda: {"hub/grid", "shed/tracer"} <= hub.online(), START_SECONDS, what="both on one page")
    for one in (hub, shed):
        one.start_numbered(count)
    eventually(lambda: len(hub.numbers("shed")) > 50, 60)
    for victim in ("mosquitto", "services.storage", "services.api"):
        hub.kill(victim)
    shed.kill("services.modbus_poller")
    shed.kill("numbered")
    network.set_link("shed", "lan", "down")
    shed.start_numbered(count)
    hub.stop()
    shed.stop()
    hub.start()
    network.set_link("shed", "lan", "up")
    shed.start()
    hub.kill("numbered")
    hub.start_numbered(count)
    for one in (hub, shed):
        eventually(lambda one=one: len(hub.numbers(one.name)) >= count, 200, what=f"all of {one.name}")
        assert hub.numbers(one.name) == Counter(range(count))
    eventually(lambda: {"hub/grid", "shed/tracer"} <= hub.online(), START_SECONDS)
    assert {node["node"] for node in hub.ask("nodes")} == {"hub", "shed"}
    assert hub.ask("series?series=shed/tracer/pv_voltage")["series"]["shed/tracer/pv_voltage"]["time"]
    assert not (shed.folder / "data/store").exists()
    assert "Traceback" not in hub.log.read_text() + shed.log.read_text()


def test_two_complete_nodes_side_by_side_know_nothing_of_each_other(
    network: Network, machine: Callable[[str], Machine], eventually: Eventually
) -> None:
    roof, barn = machine("roof"), machine("barn")
    network.switch("lan", {"roof": "192.168.1.10/24", "barn": "192.168.1.11/24"})
    for one in (roof, barn):
        one.write(one.name, {})
        one.attach_hardware()
        eventually((one.site / "tracer").exists)
        one.start()
    eventually(lambda: roof.online() == {"roof/grid"}, START_SECONDS)
    eventually(lambda: barn.online() == {"barn/tracer"}, START_SECONDS)
    for one in (roof, barn):
        assert [node["node"] for node in one.ask("nodes")] == [one.name]


def test_two_pis_behind_a_router_and_their_hub_in_a_data_centre_lose_nothing(
    network: Network, machine: Callable[[str], Machine], count: int, eventually: Eventually
) -> None:
    hub, roof, shed = machine("centre"), machine("roof"), machine("shed")
    network.machine("router")
    network.switch("home", {"roof": "192.168.1.11/24", "shed": "192.168.1.12/24", "router": "192.168.1.1/24"})
    network.switch("net", {"router": "203.0.113.7/24", "centre": "203.0.113.80/24"})
    network.translate("router", "net")
    for pi in (roof, shed):
        network.run(pi.name, "ip", "route", "add", "default", "via", "192.168.1.1")
    hub.secrets("--tls heliograph.example.org --for roof", {"heliograph.example.org": "203.0.113.80"})
    hub.secrets("--for shed", {})
    take_secrets(hub, roof, shed)
    hub.write("the hub in the data centre", {})
    for pi in (roof, shed):
        different = {"heliograph.example.org": "203.0.113.80", "/home/pi/hub": str(pi.folder / "hub")}
        other = {'name = "roof"': 'name = "shed"', "eastron_sdm120": "epever_tracer", "unit_id = 2": "unit_id = 1"}
        pi.write("roof, behind a router", different | (other if pi is shed else {}))
        pi.attach_hardware()
        eventually((pi.site / "tracer").exists)
    for one in (hub, roof, shed):
        one.start()
    both = {"roof/grid", "shed/grid"}
    eventually(lambda: both <= hub.online(), START_SECONDS, what="both on one page")
    for pi in (roof, shed):
        pi.start_numbered(count)
    eventually(lambda: all(len(hub.numbers(pi.name)) > 50 for pi in (roof, shed)), 60)
    network.translate("router", "net")  # it has forgotten every connection
    hub.kill("mosquitto")
    roof.kill("numbered")
    roof.start_numbered(count)
    network.set_link("router", "net", "down")
    hub.kill("services.storage")
    shed.stop()
    network.set_link("router", "net", "up")
    shed.start()
    for pi in (roof, shed):
        eventually(lambda pi=pi: len(hub.numbers(pi.name)) >= count, 200, what=f"all of {pi.name}")
        assert hub.numbers(pi.name) == Counter(range(count))
    eventually(lambda: both <= hub.online(), START_SECONDS)
    assert {node["node"] for node in hub.ask("nodes")} == {"centre", "roof", "shed"}


def test_every_file_of_the_page_is_started_here() -> None:
    assert set(FILES) == {
        *("the hub", "shed", "roof", "barn", "the hub in the data centre", "roof, behind a router"),
    }
