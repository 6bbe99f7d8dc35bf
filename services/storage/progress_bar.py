"""How far a command is: a bar on a terminal, a line now and then in a log."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

LINE_SECONDS = 10.0

Advance = Callable[[int], None]


@contextmanager
def bar(label: str, length: int) -> Iterator[Advance]:
    """Show progress on standard error while the block runs; what is yielded is called with each further step done."""
    if sys.stderr.isatty():
        with click.progressbar(length=length, label=label, file=sys.stderr) as shown:
            yield shown.update
    else:
        yield _Lines(label, length).advance


class _Lines:
    """Says how far it is at most every ten seconds, so that nothing is said about what is quick."""

    def __init__(self, label: str, length: int) -> None:
        self._label = label
        self._length = max(1, length)
        self._done = 0
        self._said = time.monotonic()

    def advance(self, steps: int) -> None:
        self._done += steps
        if time.monotonic() - self._said >= LINE_SECONDS:
            self._said = time.monotonic()
            click.echo(f"{self._label}: {min(100, 100 * self._done // self._length)} %", err=True)
