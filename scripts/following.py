"""Takes what the user changes in the configuration over into the file that the services read."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click
import tomli_w

from heliograph.errors import ConfigError

LOOK_SECONDS = 1.0

Stamp = tuple[int, int, int]


def follow(
    path: Path, effective: Path, completed: Callable[[], dict[str, Any]], check: Callable[[Path], None]
) -> NoReturn:
    """Look at `path` for ever; write what `completed` makes of it to `effective` if it changes, and `check` does not object.

    A mistake is told once, and the old settings stay. `check` raises ConfigError.
    """
    taken: Stamp | None = None
    before: Stamp | None = None
    while True:
        stamp = _stamp(path)
        settled, before = stamp == before, stamp
        if stamp and settled and stamp != taken:  # it looks the same twice: it is not half written
            taken = stamp
            try:
                if _take_over(effective, completed(), check):
                    click.echo(f"{path} has changed: serial_bridge takes it over; restart for everything else")
            except (ConfigError, OSError) as error:
                click.echo(f"the old settings stay: {error}", err=True)
        time.sleep(LOOK_SECONDS)


def _take_over(effective: Path, file: dict[str, Any], check: Callable[[Path], None]) -> bool:
    text = tomli_w.dumps(file)
    if text == effective.read_text():
        return False
    partial = effective.with_suffix(".partial")
    partial.write_text(text)
    check(partial)
    partial.replace(effective)
    return True


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
