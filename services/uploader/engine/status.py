"""The status of one target, for people and dashboards."""

import threading
from collections import deque
from typing import Any, NamedTuple

RATE_SECONDS = 60.0


class TestResult(NamedTuple):
    """Whether the one reading of a test was accepted, and the target's response."""

    ok: bool
    response: str


class TargetStatus:
    """Collected by the target's thread, read by others. Times are seconds UTC."""

    def __init__(self, name: str, kind: str) -> None:
        self._lock = threading.Lock()
        self._facts: dict[str, Any] = {"name": name, "kind": kind, "state": "starting", "backlog": None}
        self._recent: deque[tuple[float, int]] = deque()

    def note(self, **facts: object) -> None:
        """Report these facts from now on."""
        with self._lock:
            self._facts.update(facts)

    def sent(self, now: float, rows: int, response: str) -> None:
        """Count rows that the target accepted at a moment, and keep its response."""
        with self._lock:
            self._recent.append((now, rows))
            while self._recent[0][0] < now - RATE_SECONDS:
                self._recent.popleft()
            self._facts.update(state="running", last_success=round(now, 3), last_response=response)

    def failed(self, now: float, reason: str, next_try: float) -> None:
        """Report what went wrong, in the target's own words, and when the next try is."""
        with self._lock:
            self._facts.update(
                state="waiting", last_error=reason, error_time=round(now, 3), next_try=round(next_try, 3)
            )

    def facts(self, now: float) -> dict[str, Any]:
        """Return all facts at a moment; `eta` is when the backlog will be gone at this rate."""
        with self._lock:
            facts = dict(self._facts)
            recent = [(time, rows) for time, rows in self._recent if time >= now - RATE_SECONDS]
        if recent:
            rate = sum(rows for _, rows in recent) / max(now - recent[0][0], 1.0)
            facts["rate"] = round(rate, 3)
            if facts["backlog"] and rate > 0:
                facts["eta"] = round(now + facts["backlog"] / rate)
        if facts["state"] != "waiting":
            facts.pop("next_try", None)
        return facts
