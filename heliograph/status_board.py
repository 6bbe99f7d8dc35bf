"""What the status of a service shows: counters, facts, and its last bad inputs."""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from heliograph import __version__
from heliograph.messages import SetAside, Status

log = logging.getLogger(__name__)

REMEMBERED_INPUTS = 10
SHOWN_CHARACTERS = 200
PORTS_AWAY = "ports_away"  # the fact with the ports of this machine that cannot be used, and why
BROKERS_AWAY = "broker_problems"  # the fact with the brokers that are not the node's own and do not let it in, and why
PROBLEMS = (
    "problems",
    "store_problems",
    "write_error",
    "backup",
    PORTS_AWAY,
    BROKERS_AWAY,
)  # facts that `/health` reports
RISING_PROBLEMS = ("outbox_problems", "not_stored_since")  # the numbers in these change while they last


class StatusBoard:
    """Collects what the status shows; thread-safe. The sources are called from the thread that makes a status."""

    def __init__(self) -> None:
        self._started = time.time()
        self._counters: Counter[str] = Counter()
        self._facts: dict[str, Any] = {}
        self._set_aside: deque[SetAside] = deque(maxlen=REMEMBERED_INPUTS)
        self._lock = threading.Lock()
        self.counter_sources: list[Callable[[], dict[str, int]]] = []
        self.fact_sources: list[Callable[[], dict[str, object]]] = []

    def count(self, what: str, by: int) -> None:
        """Add to a counter."""
        with self._lock:
            self._counters[what] += by

    def fact(self, name: str, value: object) -> None:
        """Set a fact."""
        with self._lock:
            self._facts[name] = value

    def port_away(self, port: str, why: str) -> bool:
        """Set why a port cannot be used, "" if it can; return whether that is new."""
        with self._lock:
            away: dict[str, str] = self._facts.get(PORTS_AWAY, {})
            if away.get(port, "") == why:
                return False
            self._facts[PORTS_AWAY] = {name: text for name, text in {**away, port: why}.items() if text}
        return True

    def sentence(self, name: str) -> str:
        """Return a fact that is a text, "" if there is none."""
        with self._lock:
            fact = self._facts.get(name)
        return fact if isinstance(fact, str) else ""

    def set_aside(self, why: str, what: bytes | str, where: str) -> None:
        """Count a bad input and keep it among the last ones; log it unless one like it is among them."""
        shown = _printable(what)
        why, where = (_printable(text)[:SHOWN_CHARACTERS] for text in (why, where))
        with self._lock:
            self._counters["set_aside"] += 1
            first = not any(item.where == where and item.why == why for item in self._set_aside)
            self._set_aside.append(SetAside(round(time.time(), 3), where, why, shown[:SHOWN_CHARACTERS]))
        if first:
            log.warning("%sset aside: %s: %.200r", f"{where}: " if where else "", why, shown)

    def status(self, *, clock_is_right: bool) -> Status:
        """Return the status as it is now."""
        with self._lock:
            counters = dict(self._counters)
            facts = dict(self._facts)
            set_aside = list(self._set_aside)
        for source in self.counter_sources:
            counters.update(source())
        for fact_source in self.fact_sources:
            facts.update(fact_source())
        return Status(
            "online",
            round(time.time(), 3),
            __version__,
            round(self._started, 3),
            "" if clock_is_right else "unsynced",
            counters,
            facts,
            set_aside,
        )


def problem_facts(status: Status) -> object:
    """Return what `/health` makes problems of; as long as it is the same, another report tells of no new one."""
    facts = status.facts
    rising = [bool(facts.get(name)) for name in RISING_PROBLEMS]
    keeps_back = bool(status.clock) and "waits_for_clock" in facts  # only a service with an outbox does
    return keeps_back, [facts.get(name) for name in PROBLEMS], rising


def _printable(text: bytes | str) -> str:
    """Return a text that can be sent as UTF-8, with escapes for what cannot."""
    return (text if isinstance(text, bytes) else text.encode("utf-8", "backslashreplace")).decode(
        "utf-8", "backslashreplace"
    )
