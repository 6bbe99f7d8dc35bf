"""One poller and 1,000 Modbus TCP devices at 1 s: is the interval kept, and what does it cost?

The devices are connections of their own on loopback, served by one process that notes when each request comes.
"""

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.processes import Measured, free_port, wait_for
from cli import programs

WARM_UP_SECONDS = 10.0
MODEL = """
[device]
model = "Benchmark"
document = "ten float32 values in one request"
[channels]
"""


class Measurement:
    """What one run brought: CPU seconds per second, memory in MB, seconds from poll to poll."""

    def __init__(self, cpu: float, rss: float, gaps: list[float], missed: int) -> None:
        self.cpu = cpu
        self.rss = rss
        self.gaps = gaps
        self.missed = missed


def run(count: int, seconds: float, interval: float) -> Measurement:
    """Poll `count` devices for some seconds after the start is over."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ports, result = folder / "ports", folder / "times"
        model = folder / "model.toml"
        lines = [f'value{n} = {{ address = {2 * n}, type = "float32", unit = "V" }}' for n in range(10)]
        model.write_text(MODEL + "\n".join(lines))
        broker_port = free_port()
        settings = folder / "mosquitto.conf"
        settings.write_text(
            f"listener {broker_port} 127.0.0.1\nallow_anonymous true\nuser root\nset_tcp_nodelay true\n"
        )
        command = [sys.executable, "-m", "benchmarks.modbus_server", str(count), str(ports), str(result)]
        with ExitStack() as stack:
            broker = Measured("broker", programs.find("mosquitto"), "-c", str(settings))
            stack.callback(broker.stop)
            devices = Measured("devices", *command)
            stack.callback(devices.stop)
            wait_for(ports.exists, "the devices never listened", 60)
            config = folder / "config.toml"
            config.write_text(
                f'[node]\nname = "bench"\ndata = "{folder}"\nclock = "trust"\n[broker]\nport = {broker_port}\n'
                + "".join(
                    f'[[modbus_poller.lines]]\nport = "tcp://127.0.0.1:{port}"\n[[modbus_poller.lines.devices]]\n'
                    f'name = "m{n}"\nmodel = "{model}"\ninterval = {interval}\n'
                    for n, port in enumerate(json.loads(ports.read_text()))
                )
            )
            poller = Measured.module("services.modbus_poller", config)
            stack.callback(poller.stop)
            time.sleep(WARM_UP_SECONDS)
            begun, cpu = time.monotonic(), poller.cpu
            time.sleep(seconds)
            ended, used = time.monotonic(), poller.cpu - cpu
            rss = poller.rss
        times = [[t for t in of if begun <= t <= ended] for of in json.loads(result.read_text())]
        gaps = [later - sooner for of in times for sooner, later in itertools.pairwise(of)]
        expected = int((ended - begun) / interval)
        missed = sum(max(0, expected - len(of)) for of in times)
        return Measurement(used / (ended - begun), rss, sorted(gaps), missed)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.modbus_tcp", description=__doc__)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--interval", type=float, default=1.0)
    arguments = parser.parse_args()
    outcome = run(arguments.devices, arguments.seconds, arguments.interval)
    off = sorted(abs(gap - arguments.interval) for gap in outcome.gaps)
    print(
        f"{arguments.devices:,} devices of 10 float32 values, every {arguments.interval:g} s, {arguments.seconds:g} s"
    )
    print(f"  CPU              {outcome.cpu:8.2f} of a core")
    print(f"  memory           {outcome.rss:8.1f} MB RSS")
    print(f"  polls missed     {outcome.missed:8d} of {len(outcome.gaps) + arguments.devices:,}")
    print(
        f"  off the interval {statistics.median(off) * 1000:8.1f} ms median, {off[int(len(off) * 0.99)] * 1000:.1f} ms p99"
    )


if __name__ == "__main__":
    main()
