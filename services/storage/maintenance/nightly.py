"""The backup that storage makes by itself, once a night, in a process of its own.

In a process, because closing a file of a store releases all locks that SQLite has on it in the same process
(sqlite.org/howtocorrupt.html, 2.2).
"""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from heliograph import node_config
from heliograph.errors import StoreAway, StoreDamaged
from heliograph.service import Service
from services.storage.maintenance import backup, backup_list, node_state

log = logging.getLogger(__name__)

HOUR = 3  # local time, at night
RETRY_SECONDS = 3600.0
STOP_SECONDS = 2.0
NICENESS = 10


class NightlyBackup:
    """Makes a backup when one is due: at the first start, then every night; the fact `backup` of the service has the last one.

    `now` returns UTC seconds. The folder has to be there: on a disk that is not mounted it is not, and the card must not take its place.
    """

    def __init__(self, service: Service, folder: Path, now: Callable[[], float] = time.time) -> None:
        self._service = service
        self._folder = folder
        self._now = now
        self._made = 0.0
        self._error = ""
        self._retry_at = 0.0
        self._process: subprocess.Popen[str] | None = None

    def tick(self) -> None:
        """Begin a backup if one is due, and note the end of one; called every few seconds."""
        if self._process is not None:
            if self._process.poll() is not None:
                self._ended(self._process)
                self._process = None
            return
        if self._service.clock.synchronised and self._now() >= self._retry_at and self._is_due():
            self._retry_at = self._now() + RETRY_SECONDS
            if not self._folder.is_dir():
                self._failed(f"the folder is not there: mount its disk, or make it (mkdir {self._folder})")
                return
            arguments = [self._service.store.folder, self._folder, self._service.data, self._service.path]
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.storage.maintenance.nightly", *map(str, arguments)],
                stderr=subprocess.PIPE,
                text=True,
            )

    def close(self) -> None:
        """End a backup that is under way; the one before stays whole."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._process = None

    def _is_due(self) -> bool:
        try:
            made = backup_list.read(self._folder).made
            self._made = datetime.fromisoformat(made).timestamp() if made else self._made
        except (OSError, StoreDamaged, ValueError):
            self._made = 0.0  # of a list that cannot be read nothing is known
        self._report()
        now = self._now()
        today = time.localtime(now)
        night = time.mktime((*today[:3], HOUR, 0, 0, 0, 0, -1))
        return self._made < (night if night <= now else night - 86_400)

    def _ended(self, process: subprocess.Popen[str]) -> None:
        error = process.communicate()[1].strip()
        if process.returncode:
            self._failed(error.splitlines()[-1] if error else f"exit status {process.returncode}")
            return
        worked = not self._error
        self._error = ""
        self._retry_at = 0.0
        self._service.count("backups")
        self._is_due()
        if not worked:
            log.info("backups to %s work again", self._folder)
            self._service.report()

    def _failed(self, error: str) -> None:
        if error != self._error:
            log.error("no backup to %s: %s; trying again every hour", self._folder, error)
        is_new = error != self._error
        self._error = error
        self._report()
        if is_new:
            self._service.report()  # `/health` shows it at once

    def _report(self) -> None:
        self._service.fact("backup", {"folder": str(self._folder), "made": self._made, "error": self._error})


def main() -> int:
    """Make one incremental backup: STORE FOLDER DATA CONFIG; return 1 with the reason on standard error if that fails."""
    os.nice(NICENESS)
    store, folder, data, configuration = map(Path, sys.argv[1:])
    state = node_state.of_folder(data, folder)
    if written := node_config.written_by_user(configuration):
        state[node_state.CONFIGURATION] = written
    try:
        backup.back_up(store, folder, lambda _: None, incremental=True, state=state)
    except (OSError, StoreAway, StoreDamaged) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
