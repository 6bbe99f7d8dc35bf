"""A service that is tried: it reads its inputs as it always does, without broker and store; what it would publish is printed.

Its code, its outbox included, works in a copy of its data folder: names and counts of pulses are those of the node, and
nothing of the node changes. Only the bus is another one.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, NoReturn, TypeVar

import msgspec

from heliograph import config, logs, rules, topics
from heliograph.bus import Bus, Callback, Message, Tracked
from heliograph.errors import ConfigError
from heliograph.messages import Info, Reading, decode
from heliograph.rules import Rule
from heliograph.service import Service
from heliograph.trial_outcome import Input, Outcome, TriedReadings, report

C = TypeVar("C", bound=config.ServiceOptions)
SECONDS = 15.0
CHECK_SECONDS = 0.1
WAIT_SECONDS = 0.5
NOTHING_READ = 3  # exit status
IN_USE = "stop the node that has it (Ctrl-C in `heliograph start`), or the other program, while you try"


class Seen(NamedTuple):
    """What a service has reported so far."""

    facts: Mapping[str, Any]
    counters: Mapping[str, int]
    infos: Mapping[str, Info]  # by device
    bus_problem: str  # why the node's own broker is away


Inputs = Callable[[C, Seen], list[Input]]


class TrialBus(Bus):
    """Keeps what is published in place of sending it; connects only to hear what other devices publish."""

    def __init__(self, broker: config.Broker, node: str, service: str) -> None:
        super().__init__(broker, node, service)
        self._identifier += "-try"
        self._started = time.monotonic()
        self.infos: dict[str, Info] = {}
        self.readings: dict[str, TriedReadings] = {}

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 0,
        retain: bool = False,
        response_topic: str = "",
        correlation: bytes = b"",
    ) -> bool:
        """Keep readings and descriptions, drop everything else; return True."""
        parsed = topics.parse(topic)
        if parsed.kind == "info":
            self.infos[parsed.owner] = decode(Info, payload)
        elif parsed.kind == "state":
            device = self.readings.setdefault(parsed.owner, TriedReadings(time.monotonic() - self._started))
            device.add(decode(Reading, payload))
        return True

    def publish_tracked(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> Tracked:
        """Keep or drop it as `publish` does; it is through."""
        self.publish(topic, payload, qos=qos, retain=retain)
        return lambda: True

    def subscribe(self, topic_filter: str, callback: Callback, *, qos: int = 1) -> None:
        """Call back for what devices publish; commands and requests in our own topics are for the service that runs."""

        def received(message: Message) -> None:
            if message.topic.split("/")[0] != topics.ROOT:
                callback(message)

        super().subscribe(topic_filter, received, qos=qos)


class TrialService(Service):
    """A service whose main loop ends once `over` is set."""

    def __init__(
        self, name: str, node: config.Node, broker: config.Broker, path: Path, quality: Mapping[str, Rule]
    ) -> None:
        super().__init__(name, node, broker, path=path, quality=quality)
        self.bus = self.trial_bus = TrialBus(broker, node.name, name)
        self.client_id += "-try"
        self.over = threading.Event()

    def alive(self) -> None:
        """End the main loop if the trial is over."""
        if self.over.is_set():
            raise SystemExit(0)

    def wait(self, seconds: float) -> None:
        """Sleep, shorter than asked so that facts are fresh, and end the main loop once the trial is over."""
        self.over.wait(min(seconds, WAIT_SECONDS))
        self.alive()

    def report(self) -> None:
        """Publish no status: that of the service that runs stands there."""

    def seen(self) -> Seen:
        """Return what was reported so far."""
        status = self.status()
        return Seen(status.facts, status.counters, self.trial_bus.infos.copy(), self.bus.problem)

    def outcome(self, inputs: list[Input]) -> Outcome:
        """Return what the inputs gave so far."""
        bus = self.trial_bus
        return Outcome(inputs, bus.readings.copy(), bus.infos.copy(), self.status().set_aside)


def run(
    name: str,
    kind: type[C],
    main: Callable[[C, Service], None],
    inputs: Inputs[C],
    *,
    hurried: Callable[[C], C],
    hears_own_broker: Callable[[C], bool] = lambda _: False,
) -> NoReturn:
    """Read the configuration, call main until all inputs were read or the time is over, print the outcome, and exit.

    `inputs` returns how the inputs do, `hurried` the options with short intervals. The exit status is 0 if there was a
    reading, NOTHING_READ if there was none, 1 for a wrong configuration.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m services.{name}.trial", description=sys.modules["__main__"].__doc__
    )
    parser.add_argument("config", nargs="?", default="config.toml", type=Path, help="the node's configuration file")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"how long to wait (default {SECONDS:.0f})")
    arguments = parser.parse_args()
    path: Path = arguments.config
    logs.set_up(name)
    logs.set_level("error")
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    try:
        file = config.read(path)
        node = config.section(config.Node, file, "node", path, name)
        broker = config.section(config.Broker, file, "broker", path, name)
        options = hurried(config.section(kind, file, name, path, name))
        with _copied(Path(node.data), name) as data:
            os.environ.pop("HELIOGRAPH__NODE__DATA", None)  # all that a container keeps; a trial keeps nothing
            copy = msgspec.structs.replace(node, data=str(data))
            service = TrialService(name, copy, broker, path, rules.read(file, path))
            if hears_own_broker(options):
                service.bus.__enter__()

            def outcome() -> Outcome:
                return service.outcome(inputs(options, service.seen()))

            result = _tried(service, lambda: main(options, service), outcome, arguments.seconds)
    except ConfigError as error:
        sys.stderr.write(f"{name}: {error}\n")
        sys.exit(1)
    sys.stdout.write("\n".join(report(name, result)) + "\n")
    sys.exit(0 if result.readings else NOTHING_READ)


def _tried(service: TrialService, main: Callable[[], None], outcome: Callable[[], Outcome], seconds: float) -> Outcome:
    """Call main until the outcome is complete, the time is over, or a signal comes; return the outcome of that moment."""
    at_the_end: list[Outcome] = []

    def watch() -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not outcome().is_complete() and not service.over.wait(CHECK_SECONDS):
            pass
        at_the_end.append(outcome())
        service.over.set()

    watcher = threading.Thread(target=watch, name="trial", daemon=True)
    watcher.start()
    try:
        with suppress(SystemExit):
            service.alive()
            main()
    finally:
        service.over.set()
        watcher.join()
    return at_the_end[0]


@contextmanager
def _copied(data: Path, service: str) -> Iterator[Path]:
    """Make a data folder with what the service knows; beside that of the node if possible: a sensor looks at its disk."""
    beside = data if os.access(data, os.W_OK) else None
    try:
        with tempfile.TemporaryDirectory(prefix="trial-", dir=beside) as name:
            folder = Path(name)
            if (data / service).is_dir():
                shutil.copytree(data / service, folder / service)
            if (data / "outbox" / service).is_dir():
                (folder / "outbox" / service).mkdir(parents=True)  # names of channels depend on whether there was one
            yield folder
    except shutil.Error as error:
        raise ConfigError(f"[node] data: {data / service} cannot be read: {error.args[0][0][2]}") from None
    except PermissionError as error:
        raise ConfigError(f"[node] data: {error.filename} cannot be read: {error.strerror}") from None


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)
