"""How every service starts, reports its status, and stops."""

import argparse
import logging
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import NoReturn, TypeVar

import msgspec

from heliograph import config, heartbeat, logs, rules, store_location, topics
from heliograph.announcing import AnswerTimes, Question
from heliograph.bus import Bus, Message
from heliograph.clock import Clock
from heliograph.errors import ConfigError, StoreDamaged
from heliograph.messages import Status, encode
from heliograph.mqtt_client import client_id
from heliograph.producer import Producer
from heliograph.producer_services import PRODUCERS
from heliograph.quality import Quality
from heliograph.rules import Rule
from heliograph.status_board import StatusBoard, problem_facts
from heliograph.store_location import StoreLocation

log = logging.getLogger(__name__)

C = TypeVar("C", bound=config.ServiceOptions)
STATUS_SECONDS = 30.0
LOOK_SECONDS = 2.0  # how often it is looked for a problem that is new or over, and for another log level


class Service:
    """One process on the bus: `with Service(…) as service` connects it and reports its end; `path` is its configuration file.

    For one that is `persistent` the broker keeps what comes while it is away, and it acknowledges every message itself.
    """

    def __init__(
        self,
        name: str,
        node: config.Node,
        broker: config.Broker,
        *,
        persistent: bool = False,
        path: Path = Path("config.toml"),
        quality: Mapping[str, Rule] | None = None,
        store: StoreLocation | None = None,
    ) -> None:
        self.name = name
        self.path = path
        self.node = node.name
        self.client_id = client_id(node.name, name)  # on other brokers its beginning
        self.data = Path(node.data)
        self._store = store
        self._plain_values = node.plain_values
        self.clock = Clock(node.clock, self.data / "clock" / name, Path(node.clock_file))
        self._quality = Quality(quality or {}, self.set_aside, self.clock.latest)
        self._topic = topics.service(node.name, name, "status")
        self.bus = Bus(
            broker,
            node.name,
            name,
            will=(self._topic, encode(Status("offline"))),
            persistent=persistent,
            manual_ack=persistent,
        )
        self._heartbeat_topic = topics.service(node.name, name, "heartbeat")
        self._heartbeat = heartbeat.Heartbeat(heartbeat.path(name), self._why_idle, self.publish_heartbeat)
        self._board = StatusBoard()
        self._answers = AnswerTimes()
        self.log_level = logs.LevelWatch(path, name)
        self._question = msgspec.json.encode(Question(node.name, name, uuid.uuid4().hex))
        self._stopped = threading.Event()
        self._wake = threading.Event()
        self._reported: object = None
        self._reporting = threading.Lock()  # a report must not follow the goodbye
        self._producer: Producer | None = None
        self._thread = threading.Thread(target=self._keep_reporting, name="status", daemon=True)

    def __enter__(self) -> "Service":
        """Connect in the background, report the status from now on, and announce it and the devices to all who ask."""
        self._heartbeat.beat()
        self.bus.subscribe(topics.ANNOUNCE, self._asked, qos=0)  # a question of the past needs no answer
        self.bus.on_connect(self.report)
        self.bus.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Save what was published, report offline, disconnect."""
        with self._reporting:
            self._stopped.set()
        self._wake.set()
        self._thread.join()
        if self._producer:
            self._producer.__exit__()
        self.bus.publish(
            self._topic,
            encode(Status("offline", round(time.time(), 3))),
            qos=1,
            retain=True,
        )
        self.bus.__exit__()

    @property
    def store(self) -> StoreLocation:
        """Where the node's store is; known to a service that passes `uses_store` to `run`."""
        if self._store is None:
            raise RuntimeError("a service that opens the store has to pass uses_store=True to run")
        return self._store

    def producer(self) -> Producer:
        """Return what publishes this service's readings; raise ConfigError if its outbox is in use or out of reach."""
        if self._producer is None:
            try:
                producer = Producer(
                    self.bus,
                    self.node,
                    self.name,
                    self.data / "outbox" / self.name,
                    self.clock,
                    self.set_aside,
                    quality=self._quality,
                    plain_values=self._plain_values,
                )
            except OSError as error:
                raise ConfigError(f"[node] data: the outbox cannot be opened: {error}") from None
            if not self.clock.synchronised:
                log.warning("the clock is not set yet: readings are shown, and stored once it is ([node] clock)")
            self._producer = producer.__enter__()
            self.watch(producer.counters)
            self.watch(self._quality.counters)
            self._board.fact_sources += [producer.facts, self._quality.facts]
        return self._producer

    def count(self, what: str, by: int = 1) -> None:
        """Count something that the status shows."""
        self._board.count(what, by)

    def fact(self, name: str, value: object) -> None:
        """Show a fact in the status: any value that JSON can hold."""
        self._board.fact(name, value)

    def port_away(self, port: str, why: str) -> None:
        """Show in the status, at once, why a port or line of this machine cannot be used; empty: it can."""
        if self._board.port_away(port, why):
            self._wake.set()

    def watch(self, counters: Callable[[], dict[str, int]]) -> None:
        """Show counters in the status; `counters` is called from another thread at every report."""
        self._board.counter_sources.append(counters)

    def set_aside(self, why: str, what: bytes | str, where: str = "") -> None:
        """Count a bad input, and show it in the status among the last ones."""
        self._board.set_aside(why, what, where)

    def alive(self) -> None:
        """Beat for the health check; the main loop has to call this at least every five seconds."""
        self._heartbeat.beat()

    def publish_heartbeat(self) -> None:
        """Let everyone on the bus know that the main loop of this service runs."""
        self.bus.publish(self._heartbeat_topic, b"")

    def wait(self, seconds: float) -> None:
        """Sleep, with heartbeats."""
        end = time.monotonic() + seconds
        while True:
            self.alive()
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, heartbeat.BEAT_SECONDS))

    def status(self) -> Status:
        """Return the status of the service."""
        return self._board.status(clock_is_right=self.clock.synchronised)

    def report(self) -> None:
        """Publish the status now; do nothing once the service has begun to stop."""
        status = self.status()
        with self._reporting:
            if not self._stopped.is_set():
                self._reported = problem_facts(status)
                self.bus.publish(self._topic, encode(status), qos=1, retain=True)

    def request_announcements(self) -> None:
        """Ask all services, after every connect, for their status and for info and availability of their devices.

        Called after the subscriptions that the answers go to.
        """
        self.bus.on_connect(self.ask_for_announcements)

    def ask_for_announcements(self) -> None:
        """Ask all services now for their status, and for info and availability of their devices."""
        self.bus.publish(topics.ANNOUNCE, self._question, qos=1)

    def _why_idle(self) -> str:
        """Return why this service cannot do its work; the health check fails then."""
        if not self.bus.connected:
            return self.bus.problem or "no connection to the broker"
        return self._board.sentence("write_error")

    def _asked(self, message: Message) -> None:
        self._answers.ask(message.payload)
        self._wake.set()

    def _keep_reporting(self) -> None:
        report_at = time.monotonic() + STATUS_SECONDS
        while not self._stopped.is_set():
            left = min(report_at - time.monotonic(), LOOK_SECONDS)
            answer_in = self._answers.wait()
            self._wake.wait(left if answer_in is None else min(left, answer_in))
            self._wake.clear()
            self.log_level.check()
            is_asked = self._answers.take()
            if is_asked and self._producer:
                self._producer.announce()
            if is_asked or self._reported != problem_facts(self.status()) or time.monotonic() >= report_at:
                report_at = time.monotonic() + STATUS_SECONDS
                self.report()


def configuration(
    name: str, kind: type[C], path: Path, *, uses_store: bool = False
) -> tuple[config.Node, config.Broker, dict[str, Rule], C, StoreLocation | None]:
    """Return what a service reads of the configuration; raise ConfigError, one line that names file and key."""
    file = config.read(path)
    config.check_sections(file, (*config.COMMON_SECTIONS, name), path)
    node = config.section(config.Node, file, "node", path, name)
    broker = config.section(config.Broker, file, "broker", path, name)
    quality = rules.read(file, path)
    if node.producers_only and name not in PRODUCERS:
        raise ConfigError(f"{path}: [node] producers_only: {name} does not run on this node, but on its hub")
    options = config.section(kind, file, name, path, name)
    store = store_location.configured(node, path, name) if uses_store else None
    return node, broker, quality, options, store


def run(
    name: str,
    kind: type[C],
    main: Callable[[C, Service], None],
    *,
    listen: Callable[[C, Service], None] | None = None,
    uses_store: bool = False,
) -> NoReturn:
    """Read the configuration, connect, and call main until a signal ends the process.

    A wrong configuration is one line in the log and exit code 1, before anything connects. A service that must not
    miss a message subscribes in `listen`, which is called before it connects, and acknowledges every message itself: the
    broker keeps its messages while it is away and sends them as soon as it connects, so it would miss them if it
    subscribed later.
    """
    parser = argparse.ArgumentParser(prog=f"python -m services.{name}", description=sys.modules["__main__"].__doc__)
    parser.add_argument("config", nargs="?", default="config.toml", type=Path, help="the node's configuration file")
    parser.add_argument("--check", action="store_true", help="only check the configuration")
    arguments = parser.parse_args()
    path: Path = arguments.config
    logs.set_up(name)
    try:
        node, broker, quality, options, store = configuration(name, kind, path, uses_store=uses_store)
        if arguments.check:
            sys.stdout.write("".join("\t".join(claim) + "\n" for claim in options.claims()))
            sys.exit(0)
        signal.signal(signal.SIGTERM, _stop)
        signal.signal(signal.SIGINT, _stop)
        threading.excepthook = _end_the_process
        service = Service(name, node, broker, persistent=listen is not None, path=path, quality=quality, store=store)
        service.log_level.apply(options.log_level or node.log_level)
        if listen:
            listen(options, service)
        with service:
            main(options, service)
    except (ConfigError, StoreDamaged) as error:
        if arguments.check:
            sys.stderr.write(f"{name}: {error}\n")
        else:
            log.critical("%s", error)
        sys.exit(1)
    sys.exit(0)


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Interrupt what the main thread waits for; a second signal does not interrupt the clean-up."""
    signal.signal(signal.SIGTERM, _already_stopping)
    signal.signal(signal.SIGINT, _already_stopping)
    raise SystemExit(0)


def _already_stopping(_signal: int, _frame: FrameType | None) -> None:
    """Do nothing; SIG_IGN instead would race with a handler that is already due."""


def _end_the_process(failure: threading.ExceptHookArgs) -> None:
    """Die loudly: half a service looks healthy and is not."""
    name = failure.thread.name if failure.thread else "a thread"
    log.critical("%s failed", name, exc_info=failure.exc_value)
    logging.shutdown()
    os._exit(1)
