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
from services.uploader.engine import migration
from services.uploader.engine.batch import BatchKind
from services.uploader.engine.dead_letters import DeadLetter, Rejected, packed, unpacked
from services.uploader.engine.progress import Progress

MAX_DEAD_LETTERS = 10_000  # of one target; beyond that the oldest go
VERSION = 2
SCHEMA = """
CREATE TABLE target (name TEXT PRIMARY KEY, options BLOB, paused INTEGER NOT NULL DEFAULT 0, state BLOB) STRICT;
CREATE TABLE dead_letter (
    id INTEGER PRIMARY KEY AUTOINCREMENT, target TEXT NOT NULL, added REAL NOT NULL,
    reason TEXT NOT NULL, row BLOB NOT NULL, retry INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX dead_letter_target ON dead_letter (target, id);
"""


class StateAway(HeliographError):
    """The uploader's own file cannot be read or written now: wait, try again."""


class InFlight(Struct, frozen=True):
    """A request of whose end nothing is known: what kind of rows it carried, and their lowest and highest position."""

    kind: BatchKind
    first: float
    last: float


class DeliveryState(Struct):
    """How far one target has come; times are seconds UTC."""

    started: bool = False  # whether it is decided where it starts
    first_seen: float = 0.0  # position of the store's head when the target was first seen
    interval: float = 0.0  # what a position means: 0 is the cursor of an arrival, else the end of an interval
    start_time: float = 0.0  # what was measured before is passed over
    progress: Progress = field(default_factory=Progress)
    late_intervals: list[float] = field(default_factory=list)  # intervals to send again
    seen_cursor: int = 0  # cursor up to which arrivals were looked at for being late
    newest: float = 0.0  # time of the newest row that was accepted
    newest_by_device: dict[str, float] = field(default_factory=dict)  # the same by device, for targets that need order
    in_flight: InFlight | None = None
    sent: int = 0  # rows
    skipped: int = 0  # rows that were too old
    dropped: int = 0  # dead letters that were too many
    last_success: float = 0.0


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
        if version == 1:
            migration.to_version_2(self._db)
        elif version == 0:
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
            db.execute("DELETE FROM dead_letter WHERE target = ?", (name,))

    def pause(self, name: str, *, paused: bool) -> None:
        """Keep whether a target is paused."""
        with self._using() as db:
            db.execute(
                "INSERT INTO target (name, paused) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET paused = excluded.paused",
                (name, paused),
            )

    def delivery_state(self, name: str) -> DeliveryState | None:
        """Return how far a target has come; None if it was never seen."""
        with self._using() as db:
            row = db.execute("SELECT state FROM target WHERE name = ?", (name,)).fetchone()
        return msgspec.json.decode(row[0], type=DeliveryState) if row and row[0] else None

    def save(
        self, name: str, known: DeliveryState, rejected: Sequence[Rejected] = (), solved: Iterable[int] = ()
    ) -> None:
        """Keep together how far a target has come, rows that it refused, and dead letters that it has taken by now.

        A dead letter that it refused again has the number it had. The oldest letters beyond
        MAX_DEAD_LETTERS go, and are counted in `known`.
        """
        with self._using() as db:
            db.executemany("DELETE FROM dead_letter WHERE id = ?", [(number,) for number in solved])
            for row, reason, number in rejected:
                if number:
                    db.execute("UPDATE dead_letter SET reason = ?, retry = 0 WHERE id = ?", (reason, number))
                else:
                    db.execute(
                        "INSERT INTO dead_letter (target, added, reason, row) VALUES (?, ?, ?, ?)",
                        (name, time.time(), reason, packed(row)),
                    )
            dropped = known.dropped
            if rejected:
                count = db.execute("SELECT count(*) FROM dead_letter WHERE target = ?", (name,)).fetchone()[0]
                if count > MAX_DEAD_LETTERS:
                    dropped += count - MAX_DEAD_LETTERS
                    db.execute(
                        "DELETE FROM dead_letter WHERE id IN (SELECT id FROM dead_letter WHERE target = ? ORDER BY id LIMIT ?)",
                        (name, count - MAX_DEAD_LETTERS),
                    )
            db.execute(
                "INSERT INTO target (name, state) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET state = excluded.state",
                (name, msgspec.json.encode(msgspec.structs.replace(known, dropped=dropped))),
            )
        known.dropped = dropped

    def dead_letters(self, name: str, *, after: int = 0, limit: int = 100, retry: bool = False) -> list[DeadLetter]:
        """Return dead letters of a target in the order in which they came; with `retry` only those that are to be sent again."""
        with self._using() as db:
            rows = db.execute(
                "SELECT id, added, reason, row, retry FROM dead_letter WHERE target = ? AND id > ? AND retry >= ? ORDER BY id LIMIT ?",
                (name, after, retry, limit),
            ).fetchall()
        return [
            DeadLetter(number, added, reason, unpacked(row), bool(flag)) for number, added, reason, row, flag in rows
        ]

    def dead_letter(self, name: str, number: int) -> DeadLetter | None:
        """Return one dead letter of a target, None if there is no such letter."""
        return next((one for one in self.dead_letters(name, after=number - 1, limit=1) if one.id == number), None)

    def count(self, name: str) -> int:
        """Return how many dead letters a target has."""
        with self._using() as db:
            return int(db.execute("SELECT count(*) FROM dead_letter WHERE target = ?", (name,)).fetchone()[0])

    def edit(self, name: str, letter: DeadLetter) -> None:
        """Keep a dead letter whose row was changed."""
        with self._using() as db:
            db.execute(
                "UPDATE dead_letter SET row = ? WHERE target = ? AND id = ?", (packed(letter.row), name, letter.id)
            )

    def retry(self, name: str, numbers: Sequence[int] | None) -> int:
        """Mark dead letters to be sent again, None: all; return how many."""
        return self._letters("UPDATE dead_letter SET retry = 1 WHERE target = ?", name, numbers)

    def drop(self, name: str, numbers: Sequence[int] | None) -> int:
        """Forget dead letters, None: all; return how many."""
        return self._letters("DELETE FROM dead_letter WHERE target = ?", name, numbers)

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
