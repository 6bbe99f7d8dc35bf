"""The progress of a command: a bar on a terminal, a line now and then in a log."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

LINE_SECONDS = 10.0

Advance = Callable[[int], None]


@contextmanager
def bar(label: str, length: int) -> Iterator[Advance]:
    """Show progress on standard error while the block runs; call what is yielded with the number of further steps done."""
    if sys.stderr.isatty():
        with click.progressbar(length=length, label=label, file=sys.stderr) as shown:
            yield shown.update
    else:
        yield _Lines(label, length).advance


class _Lines:
    """Prints the progress at most every ten seconds, so that a quick command prints nothing."""

    def __init__(self, label: str, length: int) -> None:
        self._label = label
        self._length = max(1, length)
        self._done = 0
        self._printed = time.monotonic()

    def advance(self, steps: int) -> None:
        self._done += steps
        if time.monotonic() - self._printed >= LINE_SECONDS:
            self._printed = time.monotonic()
            click.echo(f"{self._label}: {min(100, 100 * self._done // self._length)} %", err=True)
