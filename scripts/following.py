"""Takes what the user changes in the configuration over into the file that the services read."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click
import tomli_w

from heliograph.changes import Changes
from heliograph.errors import ConfigError

LOOK_SECONDS = 1.0


def follow(
    path: Path, effective: Path, completed: Callable[[], dict[str, Any]], check: Callable[[Path], None]
) -> NoReturn:
    """Look at `path` for ever; write what `completed` makes of it to `effective` if it changes, and `check` does not object.

    A mistake is told once, and the old settings stay. `check` raises ConfigError.
    """
    changes = Changes(path, taken=False)
    while True:
        if changes.settled():
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
