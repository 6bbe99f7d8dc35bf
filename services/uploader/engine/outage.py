"""Failures of one target in the log: a line when they begin, a line when they are over."""

import logging
import time
import traceback
from collections.abc import Callable

log = logging.getLogger(__name__)

LOGGED_FROM = 2  # failures in a row: a single pause that a target asks for is not worth a line
QUIET_SECONDS = 60.0  # between two outages that are logged


class Outage:
    """Counts the failures since the last success; used by the thread of its target."""

    def __init__(self, name: str, redact: Callable[[str], str]) -> None:
        """`redact` takes secrets out of a text, and makes it one line."""
        self._name = name
        self._redact = redact
        self._failures = 0
        self._logged = float("-inf")  # monotonic, of the last outage that was logged
        self._is_logged = False
        self._is_explained = False

    def failed(self, reason: str) -> None:
        """Count a failure, and log the second one in a row."""
        self._failures += 1
        if self._failures >= LOGGED_FROM and self._begins():
            log.warning("target %s is tried again until it works: %s", self._name, self._redact(reason))

    def raised(self, error: Exception, answer: str) -> None:
        """Count an unexpected error, and log it with its traceback and the target's last answer."""
        self._failures += 1
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

    def over(self) -> None:
        """Note that the target works, and log it if its outage was."""
        if self._is_logged:
            log.info("target %s works again after %d failures", self._name, self._failures)
        self._failures, self._is_logged, self._is_explained = 0, False, False

    def _begins(self) -> bool:
        """Whether this outage is to be logged now."""
        now = time.monotonic()
        if self._is_logged or now - self._logged < QUIET_SECONDS:
            return False
        self._is_logged, self._logged = True, now
        return True
