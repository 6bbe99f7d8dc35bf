"""Whose turn it is on a line: ticks, breakers and fairness, without input or output."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from services.modbus_poller.breaker import Breaker


class Turn(NamedTuple):
    """What to do now: poll a device, or only probe it."""

    device: str
    probe: bool


class _Entry:
    def __init__(self, interval: float, breaker: Breaker) -> None:
        self.interval = interval
        self.breaker = breaker
        self.tick = 0
        self.turns = 0

    @property
    def due(self) -> float:
        return self.tick * self.interval

    def latest_tick(self, now: float) -> int:
        return math.floor(now / self.interval + 1e-9)


class Schedule:
    """The devices of one line, each polled at whole multiples of its interval.

    `probe_seconds` is what asking a dead device can take. It is asked when no living one
    is due in that time, so that it slows none; on a line without such a pause it is
    asked all the same once it has waited twice.
    """

    def __init__(
        self,
        intervals: Mapping[str, float],
        probe_seconds: float,
        jitter: Callable[[], float],
        now: float,
    ) -> None:
        self._entries = {name: _Entry(interval, Breaker(jitter)) for name, interval in intervals.items()}
        self._probe_seconds = probe_seconds
        self._turns = 0
        self.missed = 0
        self.restart(now)

    def restart(self, now: float) -> None:
        """Make everyone due now; ticks until then are not missed ones."""
        for entry in self._entries.values():
            entry.tick = entry.latest_tick(now)

    def turn(self, now: float) -> Turn | None:
        """Return whose turn it is, or None if it is nobody's yet."""
        living = [(e.due, e.turns, n) for n, e in self._living()]
        lost = [(e.breaker.retry_at, n) for n, e in self._lost()]
        patient = min(
            ((at, n) for at, n in lost if at + self._entries[n].breaker.seconds <= now),
            default=None,
        )
        if patient:
            return Turn(patient[1], True)
        first = min(living, default=(math.inf, 0, ""))
        if first[0] <= now:
            return Turn(first[2], False)
        probe = min(lost, default=(math.inf, ""))
        if probe[0] <= now and now + self._probe_seconds <= first[0]:
            return Turn(probe[1], True)
        return None

    def wait(self, now: float) -> float:
        """Return for how many seconds at most `turn` will say that it is nobody's."""
        times = [entry.due for _, entry in self._living()]
        for _, entry in self._lost():
            at = entry.breaker.retry_at
            times.append(at if at > now else at + entry.breaker.seconds)
        return max(0.0, min(times, default=math.inf) - now)

    def answered(self, turn: Turn, now: float) -> bool:
        """Plan on after an answer; return whether the device was lost before."""
        entry = self._entries[turn.device]
        if turn.probe:
            entry.tick = entry.latest_tick(now)
        else:
            self._advance(entry, now)
        return entry.breaker.answered()

    def failed(self, turn: Turn, now: float) -> bool:
        """Plan on after a silence; return whether the device is lost by that."""
        entry = self._entries[turn.device]
        if not turn.probe:
            self._advance(entry, now)
        return entry.breaker.failed(now)

    def retry_seconds(self, device: str) -> float:
        """Return how long a lost device is left alone."""
        return self._entries[device].breaker.seconds

    def _advance(self, entry: _Entry, now: float) -> None:
        self._turns += 1
        entry.turns = self._turns
        latest = entry.latest_tick(now)
        entry.tick += 1
        if latest > entry.tick:
            self.missed += latest - entry.tick
            entry.tick = latest

    def _living(self) -> list[tuple[str, _Entry]]:
        return [(n, e) for n, e in self._entries.items() if not e.breaker.open]

    def _lost(self) -> list[tuple[str, _Entry]]:
        return [(n, e) for n, e in self._entries.items() if e.breaker.open]
