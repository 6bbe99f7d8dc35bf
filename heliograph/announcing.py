"""When a service announces itself and its devices again: after a question of someone who has just connected.

Retained messages are a convenience, not the memory: a broker may have lost them, or keep none. So a service that needs
descriptions asks for them on `topics.ANNOUNCE` after it has connected (decision 0018).
"""

import random
import threading
import time
from collections.abc import Callable

import msgspec

ANSWER_SECONDS = 2.0  # not all services at once
AGAIN_SECONDS = 10.0  # a client that loses its connection again and again makes no traffic of it
KNOWN_ASKERS = 100


class Question(msgspec.Struct, frozen=True):
    """Who asks: the payload of `topics.ANNOUNCE`. `process` differs from start to start: one that restarts has forgotten all."""

    node: str = ""
    service: str = ""
    process: str = ""


class AnswerTimes:
    """Says when to answer: within ANSWER_SECONDS at random, the same asker at most once in AGAIN_SECONDS; thread-safe.

    One answer is for all who have asked before it. `now` returns seconds, `delay` a random number of them.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.monotonic,
        delay: Callable[[], float] = lambda: random.uniform(0, ANSWER_SECONDS),
    ) -> None:
        self._now = now
        self._delay = delay
        self._lock = threading.Lock()
        self._due: float | None = None
        self._waiting: set[Question] = set()
        self._answered: dict[Question, float] = {}

    def ask(self, payload: bytes) -> None:
        """Note a question."""
        try:
            asker = msgspec.json.decode(payload, type=Question)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            asker = Question()
        now = self._now()
        with self._lock:
            if len(self._waiting) + len(self._answered) >= KNOWN_ASKERS:
                asker = Question()
            last = self._answered.get(asker)
            due = (now if last is None else max(now, last + AGAIN_SECONDS)) + self._delay()
            self._waiting.add(asker)
            self._due = due if self._due is None else min(self._due, due)

    def wait(self) -> float | None:
        """Return in how many seconds an answer is due, None if there is no question."""
        with self._lock:
            return None if self._due is None else max(0.0, self._due - self._now())

    def take(self) -> bool:
        """Whether an answer is due now; it counts as given."""
        now = self._now()
        with self._lock:
            if self._due is None or now < self._due:
                return False
            recent = {asker: at for asker, at in self._answered.items() if now - at < AGAIN_SECONDS}
            self._answered = recent | dict.fromkeys(self._waiting, now)
            self._waiting.clear()
            self._due = None
            return True
