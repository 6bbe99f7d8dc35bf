"""Failures of one target: in the log a line when they begin and one when they are over, and the problem while they last."""

import logging
import math
import time
import traceback
from collections.abc import Callable

log = logging.getLogger(__name__)

LOGGED_FROM = 2  # failures in a row: a single pause that a target asks for is not worth a line
QUIET_SECONDS = 60.0  # between two outages that are logged
PROBLEM_SECONDS = (
    10.0  # for which a target has accepted nothing: longer than a server or a router of its way restarts a connection
)


class Outage:
    """Counts the failures since the last success; used by the thread of its target, `problem` by any.

    `now` returns seconds that nothing can set.
    """

    def __init__(self, name: str, redact: Callable[[str], str], now: Callable[[], float] = time.monotonic) -> None:
        """`redact` takes secrets out of a text, and makes it one line."""
        self._name = name
        self._redact = redact
        self._now = now
        self._tried = -math.inf
        self._begun = math.inf  # the first try that failed
        self._reason = ""
        self._failures = 0
        self._logged = float("-inf")  # monotonic, of the last outage that was logged
        self._is_logged = False
        self._is_explained = False

    @property
    def lasts(self) -> bool:
        """Whether the last try failed."""
        return self._failures > 0

    def trying(self) -> None:
        """Note that the next try begins."""
        self._tried = self._now()

    def failed(self, reason: str, *, is_problem: bool = True) -> None:
        """Count a failure, and log the second one in a row; it is a `problem` unless something else reports it."""
        self._fail(reason if is_problem else "")
        if self._failures >= LOGGED_FROM and self._begins():
            log.warning("target %s is tried again until it works: %s", self._name, self._redact(reason))

    def raised(self, error: Exception, answer: str) -> None:
        """Count an unexpected error, and log it with its traceback and the target's last answer."""
        self._fail(f"an unexpected error, see the log: {type(error).__name__}")
        if self._is_explained:
            return
        self._begins()
        self._is_explained = self._is_logged = True
        lines = "".join(traceback.format_exception(error)).splitlines()
        log.error(
            "target %s is tried again after an unexpected error; its last answer: %s\n%s",
            self._name,
            self._redact(answer) or "none",
            "\n".join(f"  {self._redact(line)}" for line in lines),
        )

    def problem(self) -> str:
        """Return the sentence about a target that has accepted nothing for PROBLEM_SECONDS, empty if there is none."""
        reason = self._reason
        if not reason or self._now() - self._begun < PROBLEM_SECONDS:
            return ""
        return f"target {self._name} accepts nothing: {self._redact(reason)}"

    def over(self) -> None:
        """Note that the target works, and log it if its outage was."""
        if self._is_logged:
            log.info("target %s works again after %d failures", self._name, self._failures)
        self._failures, self._is_logged, self._is_explained = 0, False, False
        self._begun, self._reason = math.inf, ""

    def _fail(self, reason: str) -> None:
        self._failures += 1
        self._begun, self._reason = min(self._begun, self._tried), reason

    def _begins(self) -> bool:
        """Whether this outage is to be logged now."""
        now = self._now()
        if self._is_logged or now - self._logged < QUIET_SECONDS:
            return False
        self._is_logged, self._logged = True, now
        return True
