"""Carries the user's changes of the configuration over into the effective file, which the services read."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import tomli_w

from heliograph import supervisor
from heliograph.errors import ConfigError
from heliograph.file_watch import FileWatch
from heliograph.logs import LevelWatch

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0


def watch(
    path: Path,
    effective: Path,
    complete: Callable[[], dict[str, Any]],
    check: Callable[[Path], None],
    log_level: LevelWatch,
) -> NoReturn:
    """Watch `path` forever; after each change write what `complete` returns to `effective`, if `check` accepts it.

    `check` raises ConfigError. A mistake is logged once and noted for `/health` until it is corrected, and the previous
    configuration stays in force; so it is when the file is gone. The log level of this process follows, too.
    """
    watch = FileWatch(path, known=False)
    mistake = absence = ""
    was_there = True
    while True:
        if watch.has_changed():
            try:
                if _apply(effective, complete(), check):
                    log.info(
                        "%s has changed: serial_bridge and log levels follow it; restart for everything else", path
                    )
                mistake = ""
            except (ConfigError, OSError) as error:
                log.error("keeping the previous configuration: %s", error)
                mistake = str(error)
        is_there = path.exists()
        gone = "" if is_there or was_there else f"{path} is gone, and without it the node will not start again"
        if gone and not absence:
            log.error("keeping the previous configuration: %s", gone)
        was_there, absence = is_there, gone
        supervisor.note_mistake(effective.parent, absence or mistake)
        log_level.check()
        time.sleep(POLL_SECONDS)


def _apply(effective: Path, file: dict[str, Any], check: Callable[[Path], None]) -> bool:
    text = tomli_w.dumps(file)
    if text == effective.read_text():
        return False
    partial = effective.with_suffix(".partial")
    partial.write_text(text)
    check(partial)
    partial.replace(effective)
    return True
