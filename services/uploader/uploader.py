"""The service: a lane for every target, woken when storage has committed, and commands about them."""

import gc
import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from heliograph import topics
from heliograph.bus import Message
from heliograph.errors import StoreAway
from heliograph.service import Service
from heliograph.store import open_reader
from heliograph.store.interface import Reader
from services.uploader import targets
from services.uploader.engine.pipeline import Pipeline
from services.uploader.engine.selection import Selection
from services.uploader.engine.source import ChannelMap
from services.uploader.engine.state import State
from services.uploader.engine.worker import Worker
from services.uploader.management import Management
from services.uploader.options import TargetOptions
from services.uploader.settings import Uploader
from services.uploader.target import Target, TargetContext

log = logging.getLogger(__name__)

STATUS_SECONDS = 2.0
GOODBYE_SECONDS = 1.5
GARBAGE = 50_000  # objects between two looks for cycles: rows come by the thousand, and are in none


class Workers:
    """All targets at work, by name; thread-safe. Those of the configuration cannot be changed."""

    def __init__(self, node: str, folder: Path, reader: Reader, state: State, now: Callable[[], float]) -> None:
        self._node = node
        self._folder = folder
        self._reader = reader
        self.state = state
        self._now = now
        self._lock = threading.RLock()
        self._lanes: dict[str, Worker] = {}
        self._configured: set[str] = set()

    def start(self, configured: tuple[TargetOptions, ...]) -> None:
        """Start the targets of the configuration, and those that were added."""
        entries = self.state.entries()
        paused = {entry.name for entry in entries if entry.paused}
        for options in configured:
            self._configured.add(options.name)
            self._begin(options, paused=options.name in paused)
        for entry in entries:
            if entry.options is None:
                continue
            if entry.name in self._lanes:
                log.warning("target %s is defined at runtime and in config.toml; using config.toml", entry.name)
                continue
            try:
                self._begin(targets.parse_options(entry.options), paused=entry.paused)
            except ValueError as error:
                log.warning("ignoring target %s (added at runtime): its options are not valid: %s", entry.name, error)

    def get(self, name: str) -> Worker | None:
        """Return the lane of a target, None if there is no such target."""
        with self._lock:
            return self._lanes.get(name)

    def names(self) -> list[str]:
        """Return the names of all targets, in order."""
        with self._lock:
            return sorted(self._lanes)

    def is_configured(self, name: str) -> bool:
        """Whether a target is one of the configuration."""
        return name in self._configured

    def put(self, options: TargetOptions, told: dict[str, Any]) -> None:
        """Add a target, or change it: it goes on where it was."""
        with self._lock:
            paused = any(entry.paused for entry in self.state.entries() if entry.name == options.name)
            self.state.put(options.name, told)
            self._end(options.name)
            self._begin(options, paused=paused)

    def delete(self, name: str) -> None:
        """Forget a target and all that was kept of it."""
        with self._lock:
            self._end(name)
            self.state.forget(name)

    def ring(self) -> None:
        """Have all look for what is new."""
        for lane in list(self._lanes.values()):  # without the lock: this is the network's thread
            lane.ring()

    def facts(self) -> dict[str, Any]:
        """Return how all targets stand."""
        with self._lock:
            return {name: lane.facts() for name, lane in sorted(self._lanes.items())}

    def stop(self) -> None:
        """End all; what is under way then is sent again after the next start."""
        with self._lock:
            for lane in self._lanes.values():
                lane.stop()
            end = time.monotonic() + GOODBYE_SECONDS
            for lane in self._lanes.values():
                lane.join(max(0.0, end - time.monotonic()))

    def _begin(self, options: TargetOptions, *, paused: bool) -> None:
        channels = ChannelMap(self._reader, Selection(options))

        def open_target(meanwhile: Callable[[], None]) -> Target:
            outlets = partial(_outlets, channels)
            return options.open(TargetContext(self._node, self._folder / options.name, outlets, meanwhile))

        course = Pipeline(options, self._reader, channels, self.state, open_target, self._now)
        lane = Worker(course)
        if paused:
            lane.pause(paused=True)
        with self._lock:
            self._lanes[options.name] = lane
        lane.start()

    def _end(self, name: str) -> None:
        if lane := self._lanes.pop(name, None):
            lane.stop()
            lane.join(GOODBYE_SECONDS)


def main(options: Uploader, service: Service) -> None:
    """Upload until the process is told to stop."""
    gc.set_threshold(GARBAGE)
    targets = options.parsed()
    folder = service.data / "uploader"
    state = State(folder / "uploader.db")
    reader = open_reader(service.store.data, url=service.store.url)
    lanes = Workers(service.node, folder, reader, state, partial(_now, service, reader))
    try:
        lanes.start(targets)
        if not lanes.names():
            log.warning(
                "nothing to upload: config.toml has no [[uploader.targets]], and no target was added at runtime"
            )
        with Management(service, lanes):
            service.bus.subscribe(topics.every_service("committed"), partial(_committed, lanes))
            while True:
                service.fact("targets", lanes.facts())
                service.wait(STATUS_SECONDS)
    finally:
        lanes.stop()
        reader.close()
        state.close()


def _outlets(channels: ChannelMap) -> tuple[Any, ...]:
    return tuple(channels.outlets().values())


def _committed(lanes: Workers, _message: Message) -> None:
    lanes.ring()


def _now(service: Service, reader: Reader) -> float:
    """Return the time, or while the clock cannot be believed that of the newest point: no interval is over before it is."""
    if service.clock.synchronised:
        return service.clock.now()
    try:
        extent = reader.extent()
    except StoreAway:
        return 0.0
    return extent[1] if extent else 0.0
