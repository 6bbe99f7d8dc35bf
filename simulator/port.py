"""A serial port and the thread that answers on it."""

from collections.abc import Callable
from pathlib import Path
from typing import Self

from simulator.pseudo_terminal import PseudoTerminal
from simulator.worker import StoppableThread


class SimulatedPort:
    """What is there at `path` while its `with` block lasts; `work` runs in a thread meanwhile."""

    def __init__(self, name: str, work: Callable[[StoppableThread], None], link: Path | None) -> None:
        self._terminal = PseudoTerminal(link)
        self._worker = StoppableThread(name, work)

    @property
    def path(self) -> str:
        """The serial port for a client to open."""
        return self._terminal.path

    def __enter__(self) -> Self:
        self._terminal.__enter__()
        self._worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.stop()
        self._terminal.__exit__()
