"""What the uploader itself keeps: how far each target has come, dead letters, targets that were added.

One SQLite file that only its owner can read, for it holds secrets. Every change is on the disk
when a method returns (synchronous = FULL); a change of several things is one transaction.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct, field

from heliograph.errors import ConfigError, HeliographError
from services.uploader.letters import Letter, Rejected, packed, unpacked
from services.uploader.progress import Progress
from services.uploader.work import Sort

MOST_LETTERS = 10_000  # of one target; beyond that the oldest go
VERSION = 1
SCHEMA = """
CREATE TABLE target (name TEXT PRIMARY KEY, options BLOB, paused INTEGER NOT NULL DEFAULT 0, known BLOB) STRICT;
CREATE TABLE letter (
    id INTEGER PRIMARY KEY AUTOINCREMENT, target TEXT NOT NULL, added REAL NOT NULL,
    why TEXT NOT NULL, row BLOB NOT NULL, again INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX letter_target ON letter (target, id);
"""


class StateAway(HeliographError):
    """The uploader's own file cannot be read or written now: wait, try again."""


class Doubt(Struct, frozen=True):
    """A request of whose end nothing is known: what sort of rows it carried, and their lowest and highest position."""

    sort: Sort
    first: float
    last: float


class Known(Struct):
    """How far one target has come; times are seconds UTC."""

    begun: bool = False  # whether it is decided where it starts
    born: float = 0.0  # position of the store's head when the target was first seen
    interval: float = 0.0  # what a position means: 0 is the cursor of an arrival, else the end of an interval
    start: float = 0.0  # what was measured before is passed over
    progress: Progress = field(default_factory=Progress)
    late: list[float] = field(default_factory=list)  # intervals to send again
    seen: int = 0  # cursor up to which arrivals were looked at for being late
    newest: float = 0.0  # time of the newest row that was accepted
    devices: dict[str, float] = field(default_factory=dict)  # the same by device, for targets that need order
    doubt: Doubt | None = None
    sent: int = 0  # rows
    passed_over: int = 0  # rows that were too old
    dropped: int = 0  # dead letters that were too many
    success: float = 0.0


class Entry(NamedTuple):
    """One target as it was added, or was paused; `options` is None for one of the configuration."""

    name: str
    options: dict[str, Any] | None
    paused: bool


class State:
    """The file; thread-safe. Every method raises StateAway if the disk refuses."""

    def __init__(self, path: Path) -> None:
        """Open it, or make it; raise ConfigError if that cannot be done."""
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            path.chmod(0o600)
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._open(path)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"[node] data: the uploader's file {path} cannot be opened: {error}") from None

    def _open(self, path: Path) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            self._db.close()
            raise ConfigError(f"{path} was written by a newer Heliograph: go back to that one, or move the file aside")
        if version == 0:
            self._db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()

    def entries(self) -> list[Entry]:
        """Return all targets that something is known of, in order of their names."""
        with self._using() as db:
            rows = db.execute("SELECT name, options, paused FROM target ORDER BY name").fetchall()
        return [Entry(name, msgspec.json.decode(blob) if blob else None, bool(paused)) for name, blob, paused in rows]

    def put(self, name: str, options: dict[str, Any]) -> None:
        """Keep the options of a target that was added or changed; how far it has come stays."""
        with self._using() as db:
            db.execute(
                "INSERT INTO target (name, options) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET options = excluded.options",
                (name, msgspec.json.encode(options)),
            )

    def forget(self, name: str) -> None:
        """Forget a target, how far it has come, and its dead letters."""
        with self._using() as db:
            db.execute("DELETE FROM target WHERE name = ?", (name,))
            db.execute("DELETE FROM letter WHERE target = ?", (name,))

    def pause(self, name: str, *, paused: bool) -> None:
        """Keep whether a target is paused."""
        with self._using() as db:
            db.execute(
                "INSERT INTO target (name, paused) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET paused = excluded.paused",
                (name, paused),
            )

    def known(self, name: str) -> Known | None:
        """Return how far a target has come; None if it was never seen."""
        with self._using() as db:
            row = db.execute("SELECT known FROM target WHERE name = ?", (name,)).fetchone()
        return msgspec.json.decode(row[0], type=Known) if row and row[0] else None

    def save(self, name: str, known: Known, rejected: Sequence[Rejected] = (), solved: Iterable[int] = ()) -> None:
        """Keep together how far a target has come, rows that it refused, and dead letters that it has taken by now.

        A letter that it refused again has the number it had. The oldest letters beyond
        MOST_LETTERS go, and are counted in `known`.
        """
        with self._using() as db:
            db.executemany("DELETE FROM letter WHERE id = ?", [(number,) for number in solved])
            for row, why, number in rejected:
                if number:
                    db.execute("UPDATE letter SET why = ?, again = 0 WHERE id = ?", (why, number))
                else:
                    db.execute(
                        "INSERT INTO letter (target, added, why, row) VALUES (?, ?, ?, ?)",
                        (name, time.time(), why, packed(row)),
                    )
            dropped = known.dropped
            if rejected:
                count = db.execute("SELECT count(*) FROM letter WHERE target = ?", (name,)).fetchone()[0]
                if count > MOST_LETTERS:
                    dropped += count - MOST_LETTERS
                    db.execute(
                        "DELETE FROM letter WHERE id IN (SELECT id FROM letter WHERE target = ? ORDER BY id LIMIT ?)",
                        (name, count - MOST_LETTERS),
                    )
            db.execute(
                "INSERT INTO target (name, known) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET known = excluded.known",
                (name, msgspec.json.encode(msgspec.structs.replace(known, dropped=dropped))),
            )
        known.dropped = dropped

    def letters(self, name: str, *, after: int = 0, limit: int = 100, again: bool = False) -> list[Letter]:
        """Return dead letters of a target in the order in which they came; with `again` only those that are to be sent again."""
        with self._using() as db:
            rows = db.execute(
                "SELECT id, added, why, row, again FROM letter WHERE target = ? AND id > ? AND again >= ? ORDER BY id LIMIT ?",
                (name, after, again, limit),
            ).fetchall()
        return [Letter(number, added, why, unpacked(row), bool(flag)) for number, added, why, row, flag in rows]

    def letter(self, name: str, number: int) -> Letter | None:
        """Return one dead letter of a target, None if there is no such letter."""
        return next((one for one in self.letters(name, after=number - 1, limit=1) if one.id == number), None)

    def count(self, name: str) -> int:
        """Return how many dead letters a target has."""
        with self._using() as db:
            return int(db.execute("SELECT count(*) FROM letter WHERE target = ?", (name,)).fetchone()[0])

    def edit(self, name: str, letter: Letter) -> None:
        """Keep a dead letter whose row was changed."""
        with self._using() as db:
            db.execute("UPDATE letter SET row = ? WHERE target = ? AND id = ?", (packed(letter.row), name, letter.id))

    def again(self, name: str, numbers: Sequence[int] | None) -> int:
        """Note that dead letters are to be sent again, None: all; return how many."""
        return self._letters("UPDATE letter SET again = 1 WHERE target = ?", name, numbers)

    def drop(self, name: str, numbers: Sequence[int] | None) -> int:
        """Forget dead letters, None: all; return how many."""
        return self._letters("DELETE FROM letter WHERE target = ?", name, numbers)

    def _letters(self, statement: str, name: str, numbers: Sequence[int] | None) -> int:
        with self._using() as db:
            if numbers is None:
                return db.execute(statement, (name,)).rowcount
            return sum(db.execute(f"{statement} AND id = ?", (name, number)).rowcount for number in numbers)

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                with self._db:  # commits, or rolls back
                    yield self._db
            except sqlite3.Error as error:
                raise StateAway(f"the uploader's own file: {error}; is the disk full?") from None
