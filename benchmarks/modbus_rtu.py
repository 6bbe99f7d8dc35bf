"""How much of a Modbus RTU line the poller uses, beside the arithmetic of the line.

The line is simulated: an answer comes as late as its wire would bring it. The arithmetic: a request of 8 characters, an
answer of 5 and 2 per register, a pause of 3.5 characters before each of the two, 10 bits a character (Modbus over Serial
Line V1.02, 2.5.1); where the device file asks for a longer pause before a request, that one. The devices are always due,
so whatever is missing from 100 % is the poller's own.
"""

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks.processes import Measured, free_port
from cli import programs
from services.modbus_poller import models
from simulator.device import SimulatedDevice
from simulator.readings import Meter
from simulator.registers import Registers
from simulator.sdm120 import sdm120, sdm630
from simulator.serial_line import SerialLine
from simulator.site import Site, SitePlan
from simulator.tracer import tracer

WARM_UP_SECONDS = 4.0
PAUSE_CHARACTERS = 3.5
BITS = 10
METER = Meter(volts=230.4, hertz=50.02, watts=1234.5, var=-100.25, import_kwh=1042.7, export_kwh=3.3, import_kvarh=12.6)


class Wire(SerialLine):
    """A line whose answers end when those of a wire would; the pause after them is the master's."""

    def _on_the_wire(self, size: int) -> float:
        return (size + PAUSE_CHARACTERS) * BITS / self.baud


def wire_seconds(count: int, function: int, baud: int, pause: float) -> float:
    """Return how long a read of `count` registers (or bits), its answer and the pauses take on the line."""
    answer = 5 + (-(-count // 8) if function in (1, 2) else 2 * count)
    character = BITS / baud
    return (8 + PAUSE_CHARACTERS + answer) * character + max(pause, PAUSE_CHARACTERS * character)


def kinds() -> dict[str, list[SimulatedDevice]]:
    """Return the devices of each line, by the model that reads them."""
    largest = Registers()
    largest.inputs.update(dict.fromkeys(range(125), 1))
    reading = Site(SitePlan(), 1_782_000_000.0).controller()
    return {
        "eastron_sdm120": [sdm120(f"m{n}", lambda: METER, unit=n) for n in (1, 2, 3)],
        "eastron_sdm630": [sdm630(f"m{n}", lambda: METER, unit=n) for n in (1, 2, 3)],
        "epever_tracer": [tracer("t", lambda: reading)],
        "largest": [SimulatedDevice("largest", largest)],
    }


def run(model: str, devices: list[SimulatedDevice], baud: int, seconds: float) -> tuple[float, float]:
    """Return which part of the time the line was busy, and registers per second."""
    with tempfile.TemporaryDirectory() as name, Wire(dict(enumerate(devices, 1)), baud=baud) as line:
        folder = Path(name)
        broker_port = free_port()
        settings = folder / "mosquitto.conf"
        settings.write_text(
            f"listener {broker_port} 127.0.0.1\nallow_anonymous true\nuser root\nset_tcp_nodelay true\n"
        )
        broker = Measured("broker", programs.find("mosquitto"), "-c", str(settings))
        if model == "largest":
            model = str(folder / "largest.toml")
            channels = "\n".join(f"value{n} = {{ address = {n} }}" for n in range(125))
            Path(model).write_text(f'[device]\nmodel = "largest"\ndocument = "one request"\n[channels]\n{channels}\n')
        config = folder / "config.toml"
        config.write_text(
            f'[node]\nname = "bench"\ndata = "{folder}"\nclock = "trust"\n[broker]\nport = {broker_port}\n'
            f'[[modbus_poller.lines]]\nport = "{line.path}"\nbaud = {baud}\n'
            + "".join(
                f'[[modbus_poller.lines.devices]]\nname = "m{n}"\nmodel = "{model}"\nunit_id = {n}\ninterval = 0.1\n'
                for n in range(1, len(devices) + 1)
            )
        )
        poller = Measured.module("services.modbus_poller", config)
        time.sleep(WARM_UP_SECONDS)
        begun = time.monotonic()
        time.sleep(seconds)
        ended = time.monotonic()
        poller.stop()
        broker.stop()
        asked = [one for device in devices for one in list(device.seen) if begun <= one.time <= ended]
        pause = models.load(model).header.request_delay
        busy = sum(wire_seconds(one.count, one.function, baud, pause) for one in asked)
        return busy / (ended - begun), sum(one.count for one in asked) / (ended - begun)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.modbus_rtu", description=__doc__)
    parser.add_argument("--baud", type=int, default=9600)
    parser.add_argument("--seconds", type=float, default=15.0)
    arguments = parser.parse_args()
    print(f"{arguments.baud} baud, {arguments.seconds:g} s each")
    print(f"{'':18}{'of the line':>12}{'registers/s':>14}{'the line at 100 %':>20}")
    for model, devices in kinds().items():
        share, registers = run(model, devices, arguments.baud, arguments.seconds)
        print(f"{model:18}{share:>11.1%}{registers:>14.0f}{registers / share:>20.0f}")


if __name__ == "__main__":
    main()
