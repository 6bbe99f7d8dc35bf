"""A producer for the torture: publishes numbered readings, each exactly once, until it is killed or done.

A reading exists once it is in the outbox. So after a kill it continues after the
last number that it finds there; the newest segment is never trimmed.
"""

import os
import sys
import time
from pathlib import Path

import msgspec

from heliograph import config
from heliograph.messages import Block, Channel, Info
from heliograph.segment import Segment
from heliograph.service import Service, run

START = 1_700_000_000.0  # readings are a second apart from here on, so that a number is a time


class Numbered(config.ServiceOptions, frozen=True):
    """The [numbered] section."""

    count: int
    per_second: float
    name: str = "numbered"


def given(folder: Path) -> int:
    """Return the highest number that ever reached the outbox."""
    highest = -1
    for path in sorted(folder.glob("*.segment")):
        segment = Segment.load(path)
        with segment.open() as file:
            while record := segment.record(file):
                for block in msgspec.json.decode(record.payload, type=list[Block]):
                    highest = max(highest, *(int(row[1]) for row in block.rows))
    return highest


def main(options: Numbered, service: Service) -> None:
    """Publish what is missing up to `count`, in order."""
    folder = service.data / "outbox" / service.name
    number = given(folder) + 1
    producer = service.producer()
    producer.declare("counter", Info("numbered", {"number": Channel(kind="counter")}))
    begun, first = time.monotonic(), number
    while number < options.count:
        due = first + (time.monotonic() - begun) * options.per_second
        while number < min(due, options.count):
            producer.publish("counter", {"number": number}, at=START + number)
            number += 1
        service.alive()
        time.sleep(0.005)
    producer.flush()
    (service.data / f"{service.name}.done").touch()
    while True:
        service.wait(1)


if __name__ == "__main__":
    sys.argv[0] = "numbered"
    # as another service, where the broker has rights for that one only
    run(os.environ.get("NUMBERED_AS", "numbered"), Numbered, main)
