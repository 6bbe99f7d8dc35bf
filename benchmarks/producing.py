"""The producer of the pipeline benchmark, as a process: `python -m benchmarks.producing CONFIG`."""

import random
import time

from heliograph import config
from heliograph.messages import Channel, Info
from heliograph.service import Service, run

CHANNELS = [f"channel{n}" for n in range(10)]


class Producing(config.ServiceOptions, frozen=True):
    """The [producing] section: how many readings of ten values, and how many a second (0: as fast as it goes).

    They are of `devices` in turn; `changing` values of each are others than before.
    """

    count: int
    per_second: float
    devices: int = 1
    changing: int = 1


def main(options: Producing, service: Service) -> None:
    """Publish readings whose first value is their number; with a rate, each has the time it was published at."""
    producer = service.producer()
    devices = ["meter", *(f"meter{number}" for number in range(1, options.devices))]
    for device in devices:
        producer.declare(device, Info("benchmark", {name: Channel("W") for name in CHANNELS}))
    service.bus.wait_connected(10)
    start = time.time() - options.count
    chance = random.Random(1)
    others = {name: round(chance.uniform(0, 3000), 1) for name in CHANNELS[1:]}
    (service.data / "begun").write_text(str(time.process_time()))
    begun = time.monotonic()
    for number in range(options.count):
        if options.per_second:
            while number > (time.monotonic() - begun) * options.per_second:
                time.sleep(0.001)
        elif number % 1000 == 0:
            producer.flush()
        for name in CHANNELS[1 : options.changing]:
            others[name] = round(chance.uniform(0, 3000), 1)
        device = devices[number % options.devices]
        producer.publish(device, {"channel0": number, **others}, None if options.per_second else start + number)
    producer.flush()
    (service.data / "produced").touch()
    while True:
        service.wait(1)


if __name__ == "__main__":
    run("producing", Producing, main)
