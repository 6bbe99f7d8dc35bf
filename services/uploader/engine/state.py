"""The uploader's own file: the progress of each target, dead letters, targets that were added at runtime.

One SQLite file that only its owner can read, for it holds secrets. Every change is on the disk
when a method returns (synchronous = FULL); a change of several things is one transaction.
"""

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from heliograph.errors import ConfigError, HeliographError
from services.uploader.engine import damaged_state, migration
from services.uploader.engine.damaged_state import Saved
from services.uploader.engine.dead_letters import DeadLetter, RejectedRow, packed, unpacked
from services.uploader.engine.delivery_state import DeliveryState

log = logging.getLogger(__name__)

MAX_DEAD_LETTERS = 10_000  # of one target; beyond that the oldest are deleted
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
    """The uploader's own file cannot be read or written now: it is tried again later."""


class StoredTarget(NamedTuple):
    """One target in the file; `options` is None if it was not added at runtime."""

    name: str
    options: dict[str, Any] | None
    paused: bool


class StateFile:
    """The file; thread-safe. Every method raises StateAway if the disk refuses."""

    def __init__(self, path: Path) -> None:
        """Open it, or make it; raise ConfigError if that cannot be done.

        A damaged one is moved aside, and what can be read of it is taken over: `problems` has a sentence about that.
        """
        self._lock = threading.Lock()
        self.problems: list[str] = []
        saved: Saved | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if damaged_state.is_damaged(path):
                saved = damaged_state.move_aside(path)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            path.chmod(0o600)
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            try:
                self._open(path)
                if saved is not None:
                    self._take_over(path, saved)
            except (ConfigError, sqlite3.Error):
                self._db.close()
                raise
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"[node] data: the uploader's file {path} cannot be opened: {error}") from None

    def _open(self, path: Path) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise ConfigError(f"{path} was written by a newer Heliograph: go back to that one, or move the file aside")
        if version == 1:
            migration.to_version_2(self._db)
        elif version == 0:
            self._db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")

    def _take_over(self, path: Path, saved: Saved) -> None:
        """Write what was saved of a damaged file; of what is lost the targets are asked for their newest rows."""
        with self._using() as db:
            for name, options, paused, state in saved.targets:
                with suppress(sqlite3.IntegrityError):
                    db.execute("INSERT INTO target VALUES (?, ?, ?, ?)", (name, options, paused, state))
            for letter in saved.dead_letters:
                with suppress(sqlite3.IntegrityError):
                    db.execute(
                        "INSERT INTO dead_letter (target, added, reason, row, retry) VALUES (?, ?, ?, ?, ?)", letter
                    )
        problem = (
            f"{path.name} was damaged and is now {saved.moved_to.name}: {len(saved.targets)} targets and "
            f"{len(saved.dead_letters)} dead letters could be read; targets whose position is lost are asked for their "
            "newest row, and targets that were added at runtime have to be added again"
        )
        self.problems.append(problem)
        log.error("%s", problem)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def targets(self) -> list[StoredTarget]:
        """Return all targets in the file, in order of their names."""
        with self._using() as db:
            rows = db.execute("SELECT name, options, paused FROM target ORDER BY name").fetchall()
        return [StoredTarget(name, _options(name, blob), bool(paused)) for name, blob, paused in rows]

    def put(self, name: str, options: dict[str, Any]) -> None:
        """Save the options of a target that was added or changed; its position stays."""
        with self._using() as db:
            db.execute(
                "INSERT INTO target (name, options) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET options = excluded.options",
                (name, msgspec.json.encode(options)),
            )

    def forget(self, name: str) -> None:
        """Delete a target, its position and its dead letters."""
        with self._using() as db:
            db.execute("DELETE FROM target WHERE name = ?", (name,))
            db.execute("DELETE FROM dead_letter WHERE target = ?", (name,))

    def pause(self, name: str, *, paused: bool) -> None:
        """Save whether a target is paused."""
        with self._using() as db:
            db.execute(
                "INSERT INTO target (name, paused) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET paused = excluded.paused",
                (name, paused),
            )

    def delivery_state(self, name: str) -> DeliveryState | None:
        """Return the progress of a target; None if it was never seen."""
        with self._using() as db:
            row = db.execute("SELECT state FROM target WHERE name = ?", (name,)).fetchone()
        try:
            return msgspec.json.decode(row[0], type=DeliveryState) if row and row[0] else None
        except (msgspec.DecodeError, UnicodeError):
            log.error("the position of target %s cannot be read: it begins again, with what it lacks", name)
            return None

    def save(
        self, name: str, state: DeliveryState, rejected: Sequence[RejectedRow] = (), resolved: Iterable[int] = ()
    ) -> None:
        """Save together the progress of a target, rows that it rejected, and the ids of dead letters that it accepted.

        A dead letter that it rejected again keeps its id. The oldest dead letters beyond MAX_DEAD_LETTERS are
        deleted, and counted in `state.dropped`.
        """
        with self._using() as db:
            db.executemany("DELETE FROM dead_letter WHERE id = ?", [(number,) for number in resolved])
            for row, reason, number in rejected:
                if number:
                    db.execute("UPDATE dead_letter SET reason = ?, retry = 0 WHERE id = ?", (reason, number))
                else:
                    db.execute(
                        "INSERT INTO dead_letter (target, added, reason, row) VALUES (?, ?, ?, ?)",
                        (name, time.time(), reason, packed(row)),
                    )
            dropped = state.dropped + (self._drop_oldest(db, name) if rejected else 0)
            db.execute(
                "INSERT INTO target (name, state) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET state = excluded.state",
                (name, msgspec.json.encode(msgspec.structs.replace(state, dropped=dropped))),
            )
        state.dropped = dropped

    def dead_letters(self, name: str, *, after: int = 0, limit: int = 100, retry: bool = False) -> list[DeadLetter]:
        """Return dead letters of a target, oldest first; with `retry` only those that are marked to be sent again."""
        with self._using() as db:
            rows = db.execute(
                "SELECT id, added, reason, row, retry FROM dead_letter WHERE target = ? AND id > ? AND retry >= ? ORDER BY id LIMIT ?",
                (name, after, retry, limit),
            ).fetchall()
        return [
            DeadLetter(number, added, reason, unpacked(row), bool(flag)) for number, added, reason, row, flag in rows
        ]

    def dead_letter(self, name: str, number: int) -> DeadLetter | None:
        """Return one dead letter of a target, None if there is no such one."""
        return next((one for one in self.dead_letters(name, after=number - 1, limit=1) if one.id == number), None)

    def count(self, name: str) -> int:
        """Return how many dead letters a target has."""
        with self._using() as db:
            return int(db.execute("SELECT count(*) FROM dead_letter WHERE target = ?", (name,)).fetchone()[0])

    def edit(self, name: str, letter: DeadLetter) -> None:
        """Save a dead letter whose row was changed."""
        with self._using() as db:
            db.execute(
                "UPDATE dead_letter SET row = ? WHERE target = ? AND id = ?", (packed(letter.row), name, letter.id)
            )

    def every_dead_letter(self, name: str) -> list[DeadLetter]:
        """Return all dead letters of a target, oldest first."""
        return self.dead_letters(name, limit=MAX_DEAD_LETTERS)

    def follow(self, name: str, state: DeliveryState, dead_letters: Iterable[DeadLetter]) -> None:
        """Save together the progress of a target and the rows of dead letters, after a rename."""
        with self._using() as db:
            rows = [(packed(letter.row), name, letter.id) for letter in dead_letters]
            db.executemany("UPDATE dead_letter SET row = ? WHERE target = ? AND id = ?", rows)
            db.execute("UPDATE target SET state = ? WHERE name = ?", (msgspec.json.encode(state), name))

    def retry(self, name: str, numbers: Sequence[int] | None) -> int:
        """Mark dead letters to be sent again, None: all; return how many."""
        return self._change("UPDATE dead_letter SET retry = 1 WHERE target = ?", name, numbers)

    def drop(self, name: str, numbers: Sequence[int] | None) -> int:
        """Delete dead letters, None: all; return how many."""
        return self._change("DELETE FROM dead_letter WHERE target = ?", name, numbers)

    def _change(self, statement: str, name: str, numbers: Sequence[int] | None) -> int:
        with self._using() as db:
            if numbers is None:
                return db.execute(statement, (name,)).rowcount
            return sum(db.execute(f"{statement} AND id = ?", (name, number)).rowcount for number in numbers)

    def _drop_oldest(self, db: sqlite3.Connection, name: str) -> int:
        """Delete the oldest dead letters beyond MAX_DEAD_LETTERS; return how many."""
        count = int(db.execute("SELECT count(*) FROM dead_letter WHERE target = ?", (name,)).fetchone()[0])
        if count <= MAX_DEAD_LETTERS:
            return 0
        db.execute(
            "DELETE FROM dead_letter WHERE id IN (SELECT id FROM dead_letter WHERE target = ? ORDER BY id LIMIT ?)",
            (name, count - MAX_DEAD_LETTERS),
        )
        return count - MAX_DEAD_LETTERS

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                with self._db:  # commits, or rolls back
                    yield self._db
            except sqlite3.Error as error:
                raise StateAway(f"the uploader's own file: {error}; is the disk full?") from None


def _options(name: str, blob: bytes | None) -> dict[str, Any] | None:
    """Return the options of a target that was added at runtime; of those that cannot be read only the name, which no target is valid with."""
    try:
        return msgspec.json.decode(blob, type=dict[str, Any]) if blob else None
    except (msgspec.DecodeError, UnicodeError):
        return {"name": name}
