"""A producer for the torture whose numbered readings are due by the clock: number n at `begin` + n times STEP.

What is due while it is dead is published once it is back, each number exactly once, until the file of `last_number` says that enough is enough.
"""

import sys
import time
from pathlib import Path

from heliograph import config
from heliograph.messages import Channel, Info
from heliograph.service import Service, run
from tests.system.numbered import given

STEP = 0.05  # seconds


class Clocked(config.ServiceOptions, frozen=True):
    """The [clocked] section; `begin` is the time of number 0, in seconds since 1970 UTC."""

    begin: float


def time_of(begin: float, number: int, step: float = STEP) -> float:
    """Return the time of a number, in s UTC."""
    return round(begin + number * step, 3)


def last_number(data: Path) -> Path:
    """Return the file that has the last number to publish, once that is known."""
    return data / "clocked.last"


def main(options: Clocked, service: Service) -> None:
    """Publish what is due, in order."""
    number = given(service.data / "outbox" / service.name) + 1
    producer = service.producer()
    producer.declare("meter", Info("numbered", {"number": Channel(kind="counter")}))
    end = last_number(service.data)
    while not end.exists() or number <= int(end.read_text()):
        at = time_of(options.begin, number)
        if at <= time.time():
            producer.publish("meter", {"number": number}, at=at)
            number += 1
        else:
            service.alive()
            time.sleep(0.005)
    producer.flush()
    while True:
        service.wait(1)


if __name__ == "__main__":
    sys.argv[0] = "clocked"
    run("clocked", Clocked, main)
