"""Saves the progress of one target before anything depends on it."""

import time

from services.uploader.engine.batch import BatchKind
from services.uploader.engine.dead_letters import RejectedRow
from services.uploader.engine.delivery_state import DeliveryState
from services.uploader.engine.result import BatchResult
from services.uploader.engine.state import StateFile

SECONDS = 2.0  # between two writes, if a row that is sent twice does no harm


class Checkpoint:
    """Saves the state of a target together with rejected rows and resolved dead letters; raises StateAway."""

    def __init__(self, file: StateFile, name: str, state: DeliveryState) -> None:
        self._file = file
        self._name = name
        self._state = state
        self._rejected: list[RejectedRow] = []
        self._resolved: list[int] = []  # ids of dead letters that the target has accepted
        self._has_changed = False
        self._saved = float("-inf")

    def add(self, kind: BatchKind, result: BatchResult) -> None:
        """Collect the results of rows for the next save; the state has changed."""
        self._rejected += result.rejected
        if kind == "dead_letters":
            self._resolved += [int(row.position) for row in result.accepted]
        self._has_changed = True

    def save_if_due(self, *, at_once: bool) -> None:
        """Save what must be on disk before the next request; `at_once` if a row that is sent twice does harm."""
        if at_once or self._rejected or self._resolved or time.monotonic() - self._saved > SECONDS:
            self.save()

    def save(self) -> None:
        """Save what has changed."""
        if self._has_changed:
            self._file.save(self._name, self._state, self._rejected, self._resolved)
            self._rejected, self._resolved = [], []
            self._has_changed, self._saved = False, time.monotonic()
