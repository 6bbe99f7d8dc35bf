"""Which device of a line to poll next: ticks, circuit breakers and fairness. Pure."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from services.modbus_poller.breaker import CircuitBreaker


class Turn(NamedTuple):
    """What to do now: poll a device, or only probe it."""

    device: str
    probe: bool


class _Entry:
    def __init__(self, interval: float, breaker: CircuitBreaker) -> None:
        self.interval = interval
        self.breaker = breaker
        self.tick = 0
        self.last_turn = 0

    @property
    def due(self) -> float:
        return self.tick * self.interval

    def latest_tick(self, now: float) -> int:
        return math.floor(now / self.interval + 1e-9)


class Schedule:
    """The devices of one line, each polled at whole multiples of its interval.

    `probe_seconds` is the longest time that a probe of an offline device takes. It is probed when no other device is
    due within that time, so that it delays none; on a line that is never free for so long it is probed all the same
    once it has waited for twice its delay. `missed` counts the ticks that were skipped.
    """

    def __init__(
        self,
        intervals: Mapping[str, float],
        probe_seconds: float,
        jitter: Callable[[], float],
        now: float,
    ) -> None:
        self._entries = {name: _Entry(interval, CircuitBreaker(jitter)) for name, interval in intervals.items()}
        self._probe_seconds = probe_seconds
        self._turns = 0
        self.missed = 0
        self.restart(now)

    def restart(self, now: float) -> None:
        """Make every device due now; earlier ticks do not count as missed."""
        for entry in self._entries.values():
            entry.tick = entry.latest_tick(now)

    def turn(self, now: float) -> Turn | None:
        """Return the next turn, or None if no device is due."""
        online = [(e.due, e.last_turn, n) for n, e in self._online()]
        offline = [(e.breaker.retry_at, n) for n, e in self._offline()]
        overdue = min(
            ((at, n) for at, n in offline if at + self._entries[n].breaker.delay <= now),
            default=None,
        )
        if overdue:
            return Turn(overdue[1], True)
        first = min(online, default=(math.inf, 0, ""))
        if first[0] <= now:
            return Turn(first[2], False)
        probe = min(offline, default=(math.inf, ""))
        if probe[0] <= now and now + self._probe_seconds <= first[0]:
            return Turn(probe[1], True)
        return None

    def wait(self, now: float) -> float:
        """Return for how many seconds at most no device is due."""
        times = [entry.due for _, entry in self._online()]
        for _, entry in self._offline():
            at = entry.breaker.retry_at
            times.append(at if at > now else at + entry.breaker.delay)
        return max(0.0, min(times, default=math.inf) - now)

    def answered(self, turn: Turn, now: float) -> bool:
        """Schedule the next turn of a device that responded; return whether it was offline before."""
        entry = self._entries[turn.device]
        if turn.probe:
            entry.tick = entry.latest_tick(now)
        else:
            self._advance(entry, now)
        return entry.breaker.answered()

    def failed(self, turn: Turn, now: float) -> bool:
        """Schedule the next turn of a device that did not respond; return whether it went offline by that."""
        entry = self._entries[turn.device]
        if not turn.probe:
            self._advance(entry, now)
        return entry.breaker.failed(now)

    def held_back(self, turn: Turn, now: float) -> None:
        """Schedule the next turn of a device that was asked for nothing, because late responses may still come."""
        self._advance(self._entries[turn.device], now)

    def retry_delay(self, device: str) -> float:
        """Return for how many seconds an offline device is left alone."""
        return self._entries[device].breaker.delay

    def _advance(self, entry: _Entry, now: float) -> None:
        self._turns += 1
        entry.last_turn = self._turns
        latest = entry.latest_tick(now)
        entry.tick += 1
        if latest > entry.tick:
            self.missed += latest - entry.tick
            entry.tick = latest

    def _online(self) -> list[tuple[str, _Entry]]:
        return [(n, e) for n, e in self._entries.items() if not e.breaker.open]

    def _offline(self) -> list[tuple[str, _Entry]]:
        return [(n, e) for n, e in self._entries.items() if e.breaker.open]
