import json
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from heliograph import topics
from heliograph.bus import Bus, Message
from heliograph.config import Broker
from heliograph.messages import Info, Reading, Status, decode


class Observed(NamedTuple):
    """The messages on the bus while this witness was connected."""

    readings: dict[str, set[int]]  # device → times in ms
    owners: dict[str, str]  # device → service
    statuses: dict[str, Status]


class Witness:
    """Listens to a node from outside, over TLS, as the user that may read everything and write nothing."""

    def __init__(self, node: str, port: int, secrets: Path) -> None:
        broker = Broker(
            host="127.0.0.1",
            port=port,
            password=(secrets / "viewer").read_text().strip(),
            ca=str(secrets / "broker/ca.crt"),
        )
        self.bus = Bus(broker, "witness", "viewer")
        self._lock = threading.Lock()
        self._readings: dict[str, set[int]] = defaultdict(set)
        self._owners: dict[str, str] = {}
        self._statuses: dict[str, Status] = {}
        self.bus.subscribe(topics.every_device("state", node), self._state)
        self.bus.subscribe(topics.every_device("info", node), self._info)
        self.bus.subscribe(topics.every_service("status", node), self._status)

    def observed(self) -> Observed:
        with self._lock:
            readings = {device: set(times) for device, times in self._readings.items()}
            return Observed(readings, dict(self._owners), dict(self._statuses))

    def _state(self, message: Message) -> None:
        time = decode(Reading, message.payload).time
        with self._lock:
            self._readings[topics.parse(message.topic).owner].add(round(time * 1000))

    def _info(self, message: Message) -> None:
        if not message.payload:  # it is forgotten
            return
        with self._lock:
            self._owners[topics.parse(message.topic).owner] = decode(Info, message.payload).service

    def _status(self, message: Message) -> None:
        with self._lock:
            self._statuses[topics.parse(message.topic).owner] = decode(Status, message.payload)


class Stored(NamedTuple):
    """The content of the store: every reading in order of arrival, and the progress of each producer."""

    readings: list[tuple[str, int]]  # device, time in ms
    progress: list[dict[str, Any]]

    def of(self, devices: set[str]) -> list[tuple[str, int]]:
        return [reading for reading in self.readings if reading[0] in devices]


# Runs inside storage's container, on the store itself: the API could hide a duplicate.
READ_STORE = """
import json, sqlite3, sys
from pathlib import Path
from heliograph.store import open_reader
readings, reader, cursor = [], open_reader(Path("/data")), 0
while page := reader.since(cursor, 5000):
    readings += [(arrival.device, round(arrival.time * 1000)) for arrival in page]
    cursor = page[-1].cursor
db = sqlite3.connect("file:/data/store/hot.db?mode=ro", uri=True)
rows = db.execute("SELECT producer, epoch, last, lost FROM progress")
progress = [dict(zip(("producer", "epoch", "last", "lost"), row)) for row in rows]
json.dump({"readings": readings, "progress": progress}, sys.stdout)
"""


def stored(output: str) -> Stored:
    """Return what READ_STORE printed."""
    answer = json.loads(output)
    return Stored([(device, time) for device, time in answer["readings"]], answer["progress"])
