"""The application with all that takes readings, and a producer in memory behind it."""

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from heliograph.commands import NoAnswer
from heliograph.messages import Availability, Info, Value
from heliograph.store import open_reader
from services.api.ingest.bodies import Bodies
from services.api.ingest.emoncms import EmoncmsInput
from services.api.ingest.gate import Gate
from services.api.ingest.intake import HttpIntake
from services.api.ingest.keys import DIGEST_BYTES, Keys, digest
from services.api.ingest.options import EmoncmsNode, EmoncmsOptions, EncryptedDevice, PimonitorOptions, SmartPlugOptions
from services.api.ingest.posts import PimonitorPost
from services.api.ingest.routes import Ingest
from services.api.ingest.smartplug import SmartPlugs
from services.api.live import LiveState
from services.api.reader_pool import ReaderPool
from services.api.uploads.client import UploaderClient
from tests.api.conftest import Running

KEY = "00112233445566778899aabbccddeeff"
SALT = bytes(16)
DEVICE_KEY = "0123456789abcdef0123456789abcdef"
NOW = 1763634000.0  # 2025-11-20 10:20 UTC
LIMIT = 100_000


def cheap_hash(key: str) -> str:
    """Return a hash for [api.keys] that is checked in no time; those of `hashed` take 0.1 s for every application."""
    result = hashlib.scrypt(digest(key).encode(), salt=SALT, n=2, r=1, p=1, dklen=DIGEST_BYTES)
    return f"scrypt:2:1:1:{SALT.hex()}:{result.hex()}"


HASH = cheap_hash(KEY)


def _no_answer(node: str, service: str, command: str, payload: bytes, seconds: float) -> bytes:
    raise NoAnswer(f"{service} on {node} did not answer {command}")


class MemoryProducer:
    """Records what is published; its disk can be full."""

    def __init__(self) -> None:
        self.infos: dict[str, Info] = {}
        self.states: dict[str, Availability] = {}
        self.readings: list[tuple[str, dict[str, Value], float | None]] = []
        self.disk_is_full = False
        self.flushes = 0
        self.forced = 0  # of these, those that waited for the disk
        self.may_flush = threading.Event()
        self.may_flush.set()

    def declare(self, device: str, info: Info) -> None:
        self.infos[device] = info

    def availability(self, device: str, state: Availability) -> None:
        self.states[device] = state

    def publish(self, device: str, values: Mapping[str, Value], at: float | None = None) -> None:
        self.readings.append((device, dict(values), at))

    def flush(self, *, durable: bool = False) -> bool:
        self.flushes += 1
        self.forced += durable
        assert self.may_flush.wait(30)
        return not self.disk_is_full


class Receiver:
    """A running application, its producer, and what it counted and set aside."""

    def __init__(
        self, folder: Path, per_second: float = 10_000.0, tz: str = "US/Eastern", key_hash: str = HASH
    ) -> None:
        self.producer = MemoryProducer()
        self.counted: Counter[str] = Counter()
        self.aside: list[tuple[str, str, str]] = []
        self.now = NOW
        self.clock_is_right = True
        self.skipped = 0.0  # seconds that passed for the intake without waiting
        self._folder = folder
        self._per_second = per_second
        self._tz = tz
        self._key_hash = key_hash
        self.running = Running(lambda: open_reader(folder / "data"), ingest=self._ingest, uploader=self._uploader)
        self.url = f"http://127.0.0.1:{self.running.port}"
        self.client = httpx.Client(base_url=self.url, timeout=30, verify=False)

    def _uploader(self, live: LiveState) -> UploaderClient:
        """A client of an uploader that is not there."""
        return UploaderClient(_no_answer, self._gate, live, "roof", ("garden",))

    def _ingest(self, live: LiveState, store: ReaderPool) -> Ingest:
        self._gate = gate = Gate(
            Keys({"garden": self._key_hash}, {"device 1234": DEVICE_KEY}),
            Bodies(LIMIT),
            self._per_second,
            (),
            lambda what: self.counted.update([what]),
            lambda *what: self.aside.append(what),
        )
        self.intake = HttpIntake(
            self.producer,
            live,
            "roof",
            self._folder / "devices.json",
            clock_is_right=lambda: self.clock_is_right,
            monotonic=lambda: time.monotonic() + self.skipped,
        )
        nodes = {"10": EmoncmsNode(device="emontx", names=("power1", "power2"), units=("W", "W"))}
        options = EmoncmsOptions(nodes=nodes, devices={"1234": EncryptedDevice(key=DEVICE_KEY)})
        return Ingest(
            gate,
            self.intake,
            PimonitorPost(PimonitorOptions(tz=self._tz), gate, self.intake, lambda: self.now),
            EmoncmsInput(options, gate, self.intake, store, lambda: self.now),
            SmartPlugs(SmartPlugOptions(plugs={"0xb00bf0cc": "kettle"}), gate, self.intake, live),
        )

    def post(
        self, path: str, *, key: str = KEY, headers: Mapping[str, str] | None = None, **body: Any
    ) -> httpx.Response:
        authorization = {"authorization": f"Bearer {key}"} if key else {}
        return self.client.post(path, headers={**authorization, **(headers or {})}, **body)

    def get(self, path: str, *, key: str = KEY, **parameters: Any) -> httpx.Response:
        authorization = {"authorization": f"Bearer {key}"} if key else {}
        return self.client.get(path, headers=authorization, params=parameters or None)

    def close(self) -> None:
        self.producer.may_flush.set()
        self.client.close()
        self.running.stop()


@contextmanager
def receiver_at(
    folder: Path, per_second: float = 10_000.0, tz: str = "US/Eastern", key_hash: str = HASH
) -> Iterator[Receiver]:
    """A receiver that is stopped in the end."""
    made = Receiver(folder, per_second, tz, key_hash)
    made.running.start()
    try:
        yield made
    finally:
        made.close()
