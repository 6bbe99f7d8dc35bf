"""What the catalog knows of the store's files: which years there are, and what was lost with a damaged one."""

import logging
import sqlite3
from pathlib import Path

from heliograph.store import damaged_files, history, schema, year_marks

log = logging.getLogger(__name__)

SHOWN_SECONDS = 30 * 86_400.0  # a loss stays among the problems for so long, or until `heliograph store salvage`


class Inventory:
    """The years that have a file, and the losses; durable at once. Every method may raise OSError or StoreDamaged."""

    def __init__(self, catalog: sqlite3.Connection, folder: Path) -> None:
        self._db = catalog
        self._folder = folder
        with schema.refusing(schema.catalog_file(folder)):
            self._years = {number for (number,) in catalog.execute("SELECT number FROM year")}
        self._missing: set[int] = set()
        self.look()

    def begin_year(self, number: int, now: float) -> None:
        """Note that readings are sealed into a year: one that was missing begins from scratch, and stays among the problems."""
        if number in self._missing:
            schema.refuse_no_file(history.file(self._folder, number))
            self._missing.discard(number)
            self.note_loss(
                now,
                f"history-{number:04d}.db was missing when readings came for that year, and begins from scratch. {year_marks.put_back(number)}",
            )

    def look(self) -> None:
        """Note every year that has a file now, and log those that have none any more, or again."""
        files = history.files(self._folder)
        missing = (
            self._years - files.keys() - {damaged_files.year_of(path) for path in damaged_files.damaged(self._folder)}
        )
        for number in sorted(missing - self._missing):
            log.error("%s", missing_year(self._folder, number))
        for number in sorted(self._missing & files.keys()):
            log.info("history-%04d.db is there again", number)
        self._missing = missing
        new = files.keys() - self._years
        if new:
            with schema.refusing(schema.catalog_file(self._folder)), schema.transaction(self._db):
                self._db.executemany("INSERT OR IGNORE INTO year VALUES(?)", [(number,) for number in new])
            self._years |= new

    def forget_year(self, number: int) -> None:
        """Note that a year is going to be deleted on purpose."""
        with schema.refusing(schema.catalog_file(self._folder)), schema.transaction(self._db):
            self._db.execute("DELETE FROM year WHERE number=?", (number,))
        self._years.discard(number)

    def missing_years(self) -> list[int]:
        """Return the years that had a file and have none now."""
        return sorted(self._years - history.files(self._folder).keys())

    def note_loss(self, now: float, what: str) -> None:
        """Log a loss, and keep it among the problems; `now` is in seconds UTC."""
        log.error("%s", what)
        with schema.refusing(schema.catalog_file(self._folder)), schema.transaction(self._db):
            self._db.execute("INSERT OR REPLACE INTO loss VALUES(?, ?)", (round(now * 1000), what))

    def problems(self, now: float) -> list[str]:
        """Return the missing years and the losses of the last SHOWN_SECONDS, a sentence each."""
        with schema.refusing(schema.catalog_file(self._folder)):
            return problems(self._db, self._folder, now)

    def acknowledge(self) -> list[str]:
        """Forget the missing years and all losses; return what they were, a sentence each, none of what a loss explains."""
        with schema.refusing(schema.catalog_file(self._folder)), schema.transaction(self._db):
            known = losses(self._db, 0.0)
            for number in self.missing_years():
                name = f"history-{number:04d}.db"
                if not any(loss.startswith(name) for loss in known):
                    known.append(f"{name} is missing: what it had is lost, unless it is put back from a backup")
                self._db.execute("DELETE FROM year WHERE number=?", (number,))
            self._db.execute("DELETE FROM loss")
        self._years &= history.files(self._folder).keys()
        return known


def problems(catalog: sqlite3.Connection, folder: Path, now: float) -> list[str]:
    """Return the missing years and the losses of the last SHOWN_SECONDS of an open catalog, a sentence each."""
    if schema.one(catalog, "SELECT count(*) FROM sqlite_master WHERE name IN ('year', 'loss')") < 2:
        return []  # an older Heliograph made it, and no writer has opened it since
    years = {number for (number,) in catalog.execute("SELECT number FROM year")}
    return [
        *(missing_year(folder, number) for number in sorted(years - history.files(folder).keys())),
        *losses(catalog, now),
    ]


def losses(catalog: sqlite3.Connection, now: float) -> list[str]:
    """Return the losses of the last SHOWN_SECONDS, a sentence each."""
    rows = catalog.execute("SELECT what FROM loss WHERE ts > ? ORDER BY ts", (round((now - SHOWN_SECONDS) * 1000),))
    return [what for (what,) in rows]


def missing_year(folder: Path, number: int) -> str:
    """Return the sentence about a year without a file."""
    path = history.file(folder, number)
    why = f"a link to {path.readlink()}, which is not there" if path.is_symlink() else "missing"
    return (
        f"{path.name} is {why}: with storage stopped put it back from a backup, "
        "or accept the loss with `heliograph store salvage`"
    )
