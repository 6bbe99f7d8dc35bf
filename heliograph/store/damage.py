"""What readers cannot read of a store's files: results do not include it, and it is reported until it can be read again."""

import logging
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from heliograph.errors import StoreDamaged
from heliograph.store import schema
from heliograph.store.year_file import Year

log = logging.getLogger(__name__)

EVER = 1 << 40  # later than any UTC day
MOST = 1_000  # parts of a file that are kept apart: a report needs no more
MENDING = (
    "all else is answered; storage mends it within a week, or at once: stop it, and run `heliograph store salvage`"
)

Again = Callable[[Year], object]  # reads a part once more; raises StoreDamaged or sqlite3.Error as before


class Part(NamedTuple):
    """A part of a file: what it is, its series (None: any), and the UTC days that it has, the last one included."""

    file: str
    what: str = ""
    series: int | None = None
    first: int = -EVER
    last: int = EVER


class Loss(NamedTuple):
    """Why a part cannot be read, and how to find out whether it can be again; None: only when the file is another one."""

    why: str
    again: Again | None


class Damage:
    """Notes parts that cannot be read; thread-safe, so that all readers of a process may share one."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._losses: dict[str, dict[Part, Loss]] = {}  # by file
        self._states: dict[str, object] = {}  # in which each file was when it was looked at

    def of(self, file: str) -> bool:
        """Whether anything of a file could not be read."""
        return bool(self._losses.get(file))

    def note(self, part: Part, why: str, again: Again | None = None, *, quiet: bool = False) -> None:
        """Note that a part cannot be read, and log the first one of each file unless it is `quiet`."""
        with self._lock:
            losses = self._losses.setdefault(part.file, {})
            if not losses and not quiet:
                log.error("%s; %s", _sentence(part, why), MENDING)
            if part in losses or len(losses) < MOST:
                losses[part] = Loss(why, again)

    def note_only(self, part: Part, why: str) -> None:
        """Note that this is all that cannot be read of a file, and log it if nothing was noted of it."""
        with self._lock:
            is_known = self.of(part.file)
            self._losses.pop(part.file, None)
            self.note(part, why, quiet=is_known)

    def forget(self, file: str) -> None:
        """Note that a file can be read."""
        with self._lock:
            if self._losses.pop(file, None):
                log.info("%s can be read again", file)

    def keep(self, files: Collection[str]) -> None:
        """Forget all files but these: the others do not exist any more."""
        with self._lock:
            for file in self._losses.keys() - files:
                del self._losses[file]

    def look(self, file: str, state: object, year: Year) -> None:
        """Read the parts of a file again that could not be read when the file was in another state."""
        with self._lock:
            before, self._states[file] = self._states.get(file), state
            if before == state or not self.of(file):
                return
            losses = self._losses.pop(file)
            for part, loss in losses.items():
                if loss.again is not None:
                    with self.tolerated(part, loss.again, quiet=True):
                        loss.again(year)
            if not self.of(file):
                log.info("%s can be read again", file)

    @contextmanager
    def tolerated(self, part: Part, again: Again | None = None, *, quiet: bool = False) -> Iterator[None]:
        """Note a part that cannot be read, and continue without it; a disk that does not answer is not damage."""
        try:
            yield
        except StoreDamaged as error:
            self.note(part, str(error), again, quiet=quiet)
        except sqlite3.DatabaseError as error:
            if not schema.is_damage(error):
                raise
            self.note(part, str(error), again, quiet=quiet)

    def problems(self) -> list[str]:
        """Return a sentence for each file of which something cannot be read, with the first part and what to do."""
        with self._lock:
            return [_summary(losses) for _, losses in sorted(self._losses.items()) if losses]

    def between(self, series: Collection[int], first: int, last: int) -> list[str]:
        """Return a sentence for each file of which something cannot be read that answers about these UTC days may lack."""
        with self._lock:
            lacking = [
                {
                    part: loss
                    for part, loss in losses.items()
                    if part.first <= last and first <= part.last and (part.series is None or part.series in series)
                }
                for _, losses in sorted(self._losses.items())
            ]
            return [_summary(losses) for losses in lacking if losses]


def _summary(losses: dict[Part, Loss]) -> str:
    part, loss = next(iter(losses.items()))
    more = f" (and {len(losses) - 1} more parts)" if len(losses) > 1 else ""
    return f"{_sentence(part, loss.why)}{more}; {MENDING}"


def _sentence(part: Part, why: str) -> str:
    return f"{part.file}: {part.what}: {why}" if part.what else f"{part.file}: {why}"
