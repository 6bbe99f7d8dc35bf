"""Decides what is wrong with this node: for `/api/v1/health`, and with it for the page and the commands.

Not thread-safe: everything happens on the event loop.
"""

import math
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from heliograph import disk_space, remedies, topics
from heliograph.messages import Status
from heliograph.outbox_losses import shown
from heliograph.status_board import BROKERS_AWAY, PORTS_AWAY
from services.api.live import LATEST, LiveState
from services.api.schemas import HealthProblem
from services.api.service_watch import ServiceWatch

BACKUP_SECONDS = 2 * 86_400.0  # two nights
HUNG_SECONDS = 7.0  # without any message, after the broker was asked for one
OFFLINE_SECONDS = 5.0  # a service that starts again, and an adapter that the kernel finds again, is away for less

_SEVERAL = (  # of one service at a time
    "store_problem",
    "disk_full",
    "port_away",
    "other_broker_away",
    "service_problem",
    "outbox_problem",
    "node_offline",
    "clock_unset",
)
# What returns within a few seconds is no problem.
_BRIEFLY = ("node_offline", "service_offline", "port_away", "other_broker_away")
_Key = tuple[str, str, str, int]
_DIGITS = re.compile(r"[0-9.,:]+")
_TEST_TARGET = "correct its section; `heliograph uploads test` with its name shows what it answers"
_MEND_PORT = "plug it in, correct the port in config.toml, or let the node use it"
_MEND_OTHER_BROKER = "see that it runs, and check host, port, user and password in [{service}.brokers.{name}]"
_BACKUP = "see that the disk is mounted and has room, and what the log of storage reports of it"
_ONE_STORAGE = "let one storage have each node: docs/second-pi.md, One storage for each node"


class HealthWatch:
    """Watches the broker and the services of a node.

    `connected` says whether the broker accepts this service, `why_away` why it does not; `supervisor_fault` says why nothing
    is started again that ends, `config_mistake` what is wrong with the user's file; `configured` are the sections of
    config.toml, `notes` is where services on this machine leave files (None: each has its own), `disks` are folders that
    must not run out of room, `others` are other nodes whose readings are stored here. `now` returns UTC seconds,
    `monotonic` seconds that nothing can set.
    """

    def __init__(
        self,
        live: LiveState,
        node: str,
        connected: Callable[[], bool],
        *,
        why_away: Callable[[], str] = lambda: "",
        supervisor_fault: Callable[[], str] = lambda: "",
        config_mistake: Callable[[], str] = lambda: "",
        configured: Collection[str] = (),
        notes: Path | None = None,
        disks: Sequence[Path] = (),
        others: Collection[str] = (),
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.node = node
        self._live = live
        self._connected = connected
        self._why_away = why_away
        self._supervisor_fault = supervisor_fault
        self._config_mistake = config_mistake
        self._disks = disks
        self._others = sorted(set(others) - {node})
        self._service_watch = ServiceWatch(configured, notes, now, monotonic)
        self._now = now
        self._monotonic = monotonic
        self._received = monotonic()
        self._asked = math.inf
        self._seen: dict[_Key, float] = {}  # when each problem was first seen, by `monotonic`

    def received(self, topic: str = "", *, retained: bool = False) -> None:
        """Note that a message came from the broker, and what it says of the life of a service; call it after `live` has it."""
        if self._is_hung():
            self._service_watch.broker_returned()
        self._received = self._monotonic()
        self._asked = math.inf
        self._service_watch.received()
        if retained or "/services/" not in topic:
            return
        with suppress(ValueError):  # set aside by `live`
            node, service, kind, _ = topics.parse(topic)
            if node == self.node and kind in ("status", "heartbeat"):
                status = self._live.services.get((node, service))
                if kind == "status" and status and status.state == "offline" and not status.time:
                    self._service_watch.died(service)
                else:
                    self._service_watch.lives(service)

    def asks(self) -> bool:
        """Return whether to publish something that comes back now, because the broker has sent nothing for a while."""
        if not self._connected() or self._monotonic() - self._received < 1.0:
            return False
        self._asked = min(self._asked, self._monotonic())
        return True

    @property
    def bus(self) -> bool:
        """Whether the broker answers."""
        return self._connected() and not self._is_hung()

    def problems(self, store: str = "", damages: Sequence[str] = ()) -> list[HealthProblem]:
        """Return what is wrong, the worst first; `store` is why the store does not answer, `damages` what it cannot read.

        To be called every few seconds: a problem that has no time of its own begins when it is first seen here.
        """
        self._service_watch.connected(is_connected=self._connected())
        problems = list(self._broker_problems())
        # what the broker retained of the services says nothing of now while it is away
        services = {} if problems else self._services()
        if store:
            action = "see that storage runs, and that `[node] store` is right"
            problems.append(HealthProblem("store_away", f"no answer from the store: {store}", action))
        if self.bus:
            problems += self._service_watch.problems(services)
        problems += _clock_problems(services)
        problems += self._start_problems()
        problems += _store_problems(services, damages)
        problems += _reported_problems(services)
        problems += self._refused_storages() if self.bus else ()
        problems += self._problems_of_others() if self.bus else ()
        problems += self._backup_problems(services)
        for sentence in disk_space.shortages(self._disks):
            problems.append(HealthProblem("disk_full", sentence, remedies.MAKE_ROOM))
        return self._dated(problems)

    def _is_hung(self) -> bool:
        return self._monotonic() - self._asked >= HUNG_SECONDS

    def _services(self) -> dict[str, Status]:
        return {name: status for (node, name), status in sorted(self._live.services.items()) if node == self.node}

    def _broker_problems(self) -> Iterator[HealthProblem]:
        if not self._connected():
            self._asked = math.inf
            why = self._why_away()
            summary = f"no connection to the broker: {why}" if why else "no connection to the broker"
            yield HealthProblem("broker_away", summary, "start the broker, or mend the section [broker]")
            return
        if self._is_hung():
            since = self._now() - (self._monotonic() - self._received)
            summary = f"the broker hangs: it has sent nothing since {shown(since)}"
            yield HealthProblem("broker_hung", summary, remedies.RESTART_BROKER, since=since)

    def _start_problems(self) -> Iterator[HealthProblem]:
        if fault := self._supervisor_fault():
            summary = f"the supervisor of this node {fault}: a service that ends is not started again"
            yield HealthProblem("supervisor_away", summary, remedies.START_AGAIN)
        if mistake := self._config_mistake():
            first, *others = mistake.splitlines()
            more = f" (and {len(others)} more)" if others else ""
            summary = f"the previous configuration stays in force: {first}{more}"
            yield HealthProblem("config_refused", summary, remedies.CORRECT)

    def _refused_storages(self) -> Iterator[HealthProblem]:
        """Yield what storages of other nodes on the broker report: that a node is stored elsewhere, as here."""
        for (node, name), status in sorted(self._live.services.items()):
            if node != self.node and name == "storage" and status.state == "online":
                for text in _listed(status, "problems"):
                    yield HealthProblem("second_storage", f"{name} of node {node}: {text}", _ONE_STORAGE)

    def _problems_of_others(self) -> Iterator[HealthProblem]:
        """Yield what is wrong with the other nodes that are stored here, their services as "shed/modbus_poller"."""
        for other in self._others:
            services = {
                f"{other}/{name}": status
                for (node, name), status in sorted(self._live.services.items())
                if node == other and name != "storage"  # what one reports is a second storage
            }
            yield from self._service_watch.problems_of_other(other, services)
            for one in _clock_problems(services):
                one.summary = f"{other}: {one.summary}"
                yield one
            yield from _store_problems(services, ())
            yield from _reported_problems(services)

    def _backup_problems(self, services: Mapping[str, Status]) -> Iterator[HealthProblem]:
        for name, status in services.items():
            fact = status.facts.get("backup")
            if not isinstance(fact, dict) or not isinstance(made := fact.get("made"), int | float):
                continue
            folder, error = fact.get("folder"), fact.get("error")
            if made > 0 and self._now() - made > BACKUP_SECONDS:
                sentence = f"the last backup in {folder} is of {shown(made)}: {error or 'it is overdue'}"
                yield HealthProblem("backup_old", sentence, _BACKUP, since=made, service=name)
            elif made <= 0 and error:
                yield HealthProblem("backup_old", f"there is no backup in {folder}: {error}", _BACKUP, service=name)

    def _dated(self, problems: list[HealthProblem]) -> list[HealthProblem]:
        """Fill in when each problem began, and leave out services that have only just left."""
        present = self._monotonic()
        seen = self._seen
        keys = list(_keys(problems))
        self._seen = {key: seen.get(key, present) for key in keys}
        lasting = []
        for one, key in zip(problems, keys, strict=True):
            seconds = present - self._seen[key]
            if one.code in _BRIEFLY and seconds < OFFLINE_SECONDS:
                continue
            if one.since is None:
                one.since = self._now() - seconds
            lasting.append(one)
        return lasting


def _clock_problems(services: Mapping[str, Status]) -> Iterator[HealthProblem]:
    # a service without an outbox does not have the fact, and keeps nothing back
    starts = [
        status.started
        for status in services.values()
        if status.state == "online" and status.clock and "waits_for_clock" in status.facts
    ]
    if starts:
        since = _moment(min(starts))
        kept = "readings are kept back" if since is None else f"readings are kept back since {shown(since)}"
        yield HealthProblem(
            "clock_unset", f"the clock is not set: {kept}, set `[node] clock`", remedies.SET_CLOCK, since=since
        )


def _store_problems(services: Mapping[str, Status], damages: Sequence[str]) -> Iterator[HealthProblem]:
    for name, status in services.items():
        if error := status.facts.get("write_error"):
            yield HealthProblem("write_failed", f"{name}: {error}", remedies.SEE_LOG.format(service=name), service=name)
    for name, status in services.items():
        since = status.facts.get("not_stored_since")
        if type(since) is int and 0 < since < LATEST:
            yield HealthProblem(
                "not_stored",
                f"{name}: not stored since {shown(since)}",
                "see that storage runs, and its log",
                since=since,
                service=name,
            )
    reported = [text for status in services.values() for text in _listed(status, "store_problems")]
    for text in dict.fromkeys([*damages, *reported]):
        yield HealthProblem("store_problem", text, "see docs/store.md", service="storage")


def _reported_problems(services: Mapping[str, Status]) -> Iterator[HealthProblem]:
    for name, status in services.items():
        away = status.facts.get(PORTS_AWAY)
        for port, why in away.items() if isinstance(away, dict) and status.state == "online" else ():
            sentence = str(why) if port in str(why) else f"{port}: {why}"
            yield HealthProblem("port_away", f"{name}: {sentence}", _MEND_PORT, service=name)
        refusing = status.facts.get(BROKERS_AWAY)
        for broker, why in refusing.items() if isinstance(refusing, dict) and status.state == "online" else ():
            action = _MEND_OTHER_BROKER.format(service=name.rpartition("/")[2], name=broker)
            yield HealthProblem("other_broker_away", f"{name}: broker {broker} {why}", action, service=name)
    for fact, code in (("problems", "service_problem"), ("outbox_problems", "outbox_problem")):
        for name, status in services.items():
            for text in _listed(status, fact):
                action = _TEST_TARGET if text.startswith("target ") else remedies.SEE_LOG.format(service=name)
                yield HealthProblem(code, f"{name}: {text}", action, service=name)


def _listed(status: Status, fact: str) -> list[str]:
    listed = status.facts.get(fact)
    return [str(item) for item in listed] if isinstance(listed, list) else []


def _keys(problems: list[HealthProblem]) -> Iterator[_Key]:
    """Yield what makes each problem the same as before; the reason in a sentence, and its numbers, change while it lasts."""
    equal: Counter[tuple[str, str, str]] = Counter()
    for one in problems:
        key = one.code, one.service, _DIGITS.sub("", _subject(one)) if one.code in _SEVERAL else ""
        yield (*key, equal[key])
        equal[key] += 1


def _subject(problem: HealthProblem) -> str:
    """Return what of its service a problem is about: "broker home" of "mqtt_importer: broker home at 192.168.1.20:1883 refuses us"."""
    begins_with = f"{problem.service}: "
    if not problem.summary.startswith(begins_with):
        return problem.summary
    return problem.summary.removeprefix(begins_with).partition(": ")[0].partition(" at ")[0]


def _moment(since: float) -> float | None:
    return since if 0 < since < LATEST else None
