"""The heartbeat of a service, for the container's health check: `python -m heliograph.heartbeat SERVICE`."""

import logging
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

FOLDER = "HELIOGRAPH_HEARTBEATS"  # of the environment: `heliograph start` gives each node a folder of its own
BEAT_SECONDS = 3.0
STALE_SECONDS = 60.0


def folder() -> Path:
    """Return where the services of this node leave their heartbeats: a folder of this user, never on the card."""
    return Path(os.environ.get(FOLDER) or Path(tempfile.gettempdir()) / f"heliograph-{os.getuid()}")


def path(service: str) -> Path:
    """Return the file that a service touches; its content is why the service cannot do its work."""
    return folder() / f"{service}.heartbeat"


class Heartbeat:
    """Every few seconds, however often it is called, touches a file and calls `publish`.

    The file has what `problem` returns, why the service cannot do its work. One that cannot be written is logged once.
    """

    def __init__(
        self, file: Path, problem: Callable[[], str] = lambda: "", publish: Callable[[], object] = lambda: None
    ) -> None:
        self._file = file
        self._problem = problem
        self._publish = publish
        self._written: str | None = None
        self._last = float("-inf")
        self._is_failing = False

    def beat(self) -> None:
        """Leave a heartbeat; a service calls this from its main loop, at least every five seconds."""
        now = time.monotonic()
        if now - self._last >= BEAT_SECONDS:
            self._last = now
            self._publish()
            try:
                self._leave(self._problem())
            except OSError as error:
                if not self._is_failing:
                    log.warning("no heartbeat, so a health check will fail: %s", error)
                self._is_failing = True
            else:
                self._is_failing = False

    def _leave(self, problem: str) -> None:
        self._file.parent.mkdir(mode=0o700, exist_ok=True)
        if problem == self._written and self._file.exists():
            self._file.touch()
            return
        partial = self._file.with_suffix(".partial")  # no one reads half a sentence
        partial.write_text(problem)
        partial.replace(self._file)
        self._written = problem


def age(folder: Path, service: str) -> float:
    """Return how many seconds ago a service left its heartbeat; infinity if it never did."""
    try:
        return time.time() - (folder / path(service).name).stat().st_mtime
    except OSError:
        return math.inf


def problem(file: Path) -> str:
    """Return why the service that left this file cannot do its work; "" if it can, or there is no such file."""
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def fault(file: Path, now: float) -> str:
    """Return what is wrong with a service that left this file, or "" if nothing is."""
    try:
        age = now - file.stat().st_mtime
    except FileNotFoundError:
        return f"{file} is not there: the service has not started"
    # a file from the future is as bad: the clock was set back, and the service has not touched the file since
    return f"the last heartbeat is {age:.0f} s old" if abs(age) > STALE_SECONDS else problem(file)


def main() -> int:
    """Return 0 if the service is alive and can do its work, else 1 with the reason on standard error."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m heliograph.heartbeat SERVICE\n")
        return 2
    reason = fault(path(sys.argv[1]), time.time())
    if reason:
        sys.stderr.write(reason + "\n")
    return 1 if reason else 0


if __name__ == "__main__":
    sys.exit(main())
