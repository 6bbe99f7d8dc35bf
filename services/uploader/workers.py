"""All targets of a node, those of config.toml and those that were added at runtime, each with a worker."""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from heliograph.store.interface import Reader
from services.uploader import targets
from services.uploader.engine.pipeline import Pipeline
from services.uploader.engine.selection import Selection
from services.uploader.engine.source import ChannelMap
from services.uploader.engine.state import StateFile
from services.uploader.engine.worker import Worker
from services.uploader.options import TargetOptions
from services.uploader.redacted_options import redacted, redactor_for, shown
from services.uploader.target import MappedChannel, Target, TargetContext

log = logging.getLogger(__name__)

STOP_SECONDS = 1.5  # for the requests that are under way


class _InvalidTarget(NamedTuple):
    """A stored target that cannot be started: its options were valid for an earlier version only."""

    options: dict[str, Any]
    reason: str

    def facts(self) -> dict[str, Any]:
        name, kind = str(self.options.get("name")), str(self.options.get("kind"))
        return {"name": name, "kind": kind, "state": "invalid", "last_error": self.reason}


class Workers:
    """The workers by name of their target; thread-safe. Targets of config.toml cannot be changed."""

    def __init__(self, node: str, folder: Path, reader: Reader, file: StateFile, now: Callable[[], float]) -> None:
        self._node = node
        self._folder = folder
        self._reader = reader
        self.file = file
        self._now = now
        self._lock = threading.RLock()
        self._workers: dict[str, Worker] = {}
        self._configured: set[str] = set()
        self._invalid: dict[str, _InvalidTarget] = {}

    def start(self, configured: tuple[TargetOptions, ...]) -> None:
        """Start the targets of config.toml, and those that were added at runtime."""
        stored = self.file.targets()
        paused = {target.name for target in stored if target.paused}
        for options in configured:
            self._configured.add(options.name)
            self._begin(options, paused=options.name in paused)
        for target in stored:
            if target.options is None:
                continue
            if target.name in self._workers:
                log.warning("target %s is defined at runtime and in config.toml; using config.toml", target.name)
                continue
            try:
                self._begin(targets.parse_options(target.options), paused=target.paused)
            except ValueError as error:
                reason = redactor_for(target.options)(str(error))
                log.warning("ignoring target %s (added at runtime): its options are not valid: %s", target.name, reason)
                self._invalid[target.name] = _InvalidTarget(target.options, reason)

    def get(self, name: str) -> Worker | None:
        """Return the worker of a target, None if there is no such target."""
        with self._lock:
            return self._workers.get(name)

    def names(self) -> list[str]:
        """Return the names of all targets, in order."""
        with self._lock:
            return sorted(self._workers.keys() | self._invalid.keys())

    def is_configured(self, name: str) -> bool:
        """Whether a target is defined in config.toml."""
        return name in self._configured

    def put(self, options: TargetOptions, stored: dict[str, Any]) -> None:
        """Add a target, or change it: its position stays. `stored` are the options as they are kept."""
        with self._lock:
            paused = any(target.paused for target in self.file.targets() if target.name == options.name)
            self.file.put(options.name, stored)
            self._end(options.name)
            self._begin(options, paused=paused)

    def delete(self, name: str) -> None:
        """Delete a target and everything that was kept of it."""
        with self._lock:
            self._end(name)
            self.file.forget(name)

    def wake(self) -> None:
        """Have all targets look for new data."""
        for worker in list(self._workers.values()):  # without the lock: this is the network's thread
            worker.wake()

    def facts(self) -> dict[str, dict[str, Any]]:
        """Return the facts of all targets."""
        with self._lock:
            facts = {name: worker.facts() for name, worker in self._workers.items()}
            invalid = {name: target.facts() for name, target in self._invalid.items()}
            return dict(sorted({**facts, **invalid}.items()))

    def problems(self) -> list[str]:
        """Return a sentence for each target that accepts nothing, or that cannot be started."""
        with self._lock:
            problems = {name: worker.problem() for name, worker in self._workers.items()}
            invalid = {
                name: f"target {name} is not started: its options are not valid: {target.reason}"
                for name, target in self._invalid.items()
            }
            return [problem for _, problem in sorted({**problems, **invalid}.items()) if problem]

    def described(self, name: str) -> dict[str, Any] | None:
        """Return the facts and the options of a target, without secrets; None if there is no such target."""
        with self._lock:
            if worker := self._workers.get(name):
                return {**worker.facts(), "options": shown(worker.pipeline.options)}
            if invalid := self._invalid.get(name):
                return {**invalid.facts(), "options": redacted(invalid.options)}
            return None

    def stop(self) -> None:
        """Stop all; rows that are under way are sent again after the next start."""
        with self._lock:
            for worker in self._workers.values():
                worker.stop()
            end = time.monotonic() + STOP_SECONDS
            for worker in self._workers.values():
                worker.join(max(0.0, end - time.monotonic()))

    def _begin(self, options: TargetOptions, *, paused: bool) -> None:
        channels = ChannelMap(self._reader, Selection(options))

        def open_target(while_waiting: Callable[[], None]) -> Target:
            context = TargetContext(
                self._node, self._folder / options.name, partial(_selected, channels), while_waiting
            )
            return options.open(context)

        worker = Worker(Pipeline(options, self._reader, channels, self.file, open_target, self._now))
        if paused:
            worker.pause(paused=True)
        with self._lock:
            self._workers[options.name] = worker
        worker.start()

    def _end(self, name: str) -> None:
        self._invalid.pop(name, None)
        if worker := self._workers.pop(name, None):
            worker.stop()
            worker.join(STOP_SECONDS)


def _selected(channels: ChannelMap) -> tuple[MappedChannel, ...]:
    return tuple(channels.selected().values())
