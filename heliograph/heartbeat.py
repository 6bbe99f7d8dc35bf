"""The heartbeat of a service, for the container's health check: `python -m heliograph.heartbeat SERVICE`."""

import logging
import os
import sys
import tempfile
import time
from pathlib import Path

log = logging.getLogger(__name__)

FOLDER = "HELIOGRAPH_HEARTBEATS"  # of the environment: `heliograph start` gives each node a folder of its own
BEAT_SECONDS = 5.0
STALE_SECONDS = 60.0


def path(service: str) -> Path:
    """Return the file that a service touches: in a folder of this user in the temporary folder, never on the card."""
    folder = os.environ.get(FOLDER) or Path(tempfile.gettempdir()) / f"heliograph-{os.getuid()}"
    return Path(folder) / f"{service}.heartbeat"


class Heartbeat:
    """Touches a file every few seconds, however often it is called; a file that cannot be touched is logged once."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._last = float("-inf")
        self._is_failing = False

    def beat(self) -> None:
        """Touch the file; a service calls this from its main loop, at least every ten seconds."""
        now = time.monotonic()
        if now - self._last >= BEAT_SECONDS:
            self._last = now
            try:
                self._file.parent.mkdir(mode=0o700, exist_ok=True)
                self._file.touch()
            except OSError as error:
                if not self._is_failing:
                    log.warning("no heartbeat, so a health check will fail: %s", error)
                self._is_failing = True
            else:
                self._is_failing = False


def fault(file: Path, now: float) -> str:
    """Return what is wrong with a service that left this file, or "" if nothing is."""
    try:
        age = now - file.stat().st_mtime
    except FileNotFoundError:
        return f"{file} is not there: the service has not started"
    # a file from the future is as bad: the clock was set back, and the service has not touched the file since
    return f"the last heartbeat is {age:.0f} s old" if abs(age) > STALE_SECONDS else ""


def main() -> int:
    """Return 0 if the service is alive, else 1 with the reason on standard error."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m heliograph.heartbeat SERVICE\n")
        return 2
    reason = fault(path(sys.argv[1]), time.time())
    if reason:
        sys.stderr.write(reason + "\n")
    return 1 if reason else 0


if __name__ == "__main__":
    sys.exit(main())
