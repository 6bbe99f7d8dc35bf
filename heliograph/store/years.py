"""The sealed years, opened by the one process that writes them."""

import logging
import sqlite3
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from heliograph.errors import StoreDamaged
from heliograph.store import blocks, history, rescalings, row_types, schema
from heliograph.store.names import Names
from heliograph.store.rescalings import Log
from heliograph.store.year_file import Year

log = logging.getLogger(__name__)


class WritableYear(Year):
    """A year that is open for writing, and the names it has."""

    def __init__(self, path: Path, number: int) -> None:
        """Open or create it; raise OSError or StoreDamaged."""
        super().__init__(schema.create(path, history.PAGE, history.SCHEMA))
        self.path = path
        self.number = number
        with schema.refusing(path):
            self._known: dict[str, dict[int, tuple[object, ...]]] = {
                table: {row[0]: row for row in self.db.execute(f"SELECT * FROM {table}")}
                for table in ("device", "series", "word")
            }

    def learn(self, series: Iterable[int], words: Iterable[int], names: Names) -> None:
        """Copy the names of these series and words from the catalog, if the year does not have them yet."""
        for sid in series:
            one, owner = names.series[sid], names.owners[sid]
            self._note("device", (owner, "/".join(names.devices[owner])))
            self._note("series", (sid, owner, one.channel, one.unit, one.kind, one.rollover))
        for word in words:
            self._note("word", (word, names.words[word]))

    def _note(self, table: str, row: tuple[object, ...]) -> None:
        number = row[0]
        if isinstance(number, int) and self._known[table].get(number) != row:
            marks = ", ".join("?" * len(row))
            self.db.execute(f"INSERT OR REPLACE INTO {table} VALUES({marks})", row)
            self._known[table][number] = row


class Years:
    """Opens years for writing, and moves damaged files aside."""

    def __init__(self, folder: Path, rescaled: Log = ()) -> None:
        """Keep the folder; values that come into new years have had these rescalings."""
        self._folder = folder
        self._rescaled = rescaled
        self._open: dict[int, WritableYear] = {}

    @contextmanager
    def writing(self, number: int) -> Iterator[WritableYear]:
        """Write a year in one transaction; raise OSError if the disk refuses.

        Raises StoreDamaged if the file cannot be read, after it was moved aside: the next call creates a new one.
        """
        done = False
        try:
            year = self._opened(number)
            with schema.refusing(year.path), schema.transaction(year.db):
                yield year
                year.db.execute(
                    "INSERT INTO meta VALUES('version', 1) ON CONFLICT(key) DO UPDATE SET value = value + 1"
                )
            done = True
        except StoreDamaged as error:
            self.move_aside(number, str(error))
            raise
        finally:
            if not done:
                self._give_up(number)

    def index(self, number: int, path: Path) -> None:
        """Make the indexes of a year that an older Heliograph wrote; raise OSError, StoreDamaged."""
        self.forget(number)
        schema.create(path, history.PAGE, history.SCHEMA).close()

    def tidy(self) -> None:
        """Close all years but the newest that is open."""
        for number in sorted(self._open)[:-1]:
            self.forget(number)

    def forget(self, number: int) -> None:
        """Close a year, if it is open."""
        if year := self._open.pop(number, None):
            year.db.close()

    def move_aside(self, number: int, why: str) -> Path:
        """Move the damaged file of a year aside, to be salvaged; return its new path."""
        self.forget(number)
        path = history.files(self._folder).get(number, history.file(self._folder, number))
        log.error("%s; recreating year %d, salvaging readable data", why, number)
        return schema.move_aside(path)

    def close(self) -> None:
        """Close all files."""
        for number in list(self._open):
            self.forget(number)

    def _give_up(self, number: int) -> None:
        """Close a year whose transaction failed: its cached names were not written, and its journal fills the disk."""
        if year := self._open.get(number):
            with suppress(sqlite3.Error):
                year.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self.forget(number)

    def _opened(self, number: int) -> WritableYear:
        year = self._open.get(number)
        if year is None:
            year = self._open[number] = WritableYear(history.file(self._folder, number), number)
            with schema.refusing(year.path):
                year.db.execute("INSERT OR IGNORE INTO meta VALUES('year', ?)", (number,))
                year.db.execute("INSERT OR IGNORE INTO meta VALUES('mark', ?)", (uuid.uuid4().hex[:16],))
                if self._rescaled:
                    year.db.execute(
                        "INSERT OR IGNORE INTO meta VALUES(?, ?)", (rescalings.KEY, rescalings.encode(self._rescaled))
                    )
        return year


def newest_arrival(folder: Path, upto: int = row_types.ARRIVALS) -> int:
    """Return the largest number of arrival, at most `upto`, of all years that can be read; 0 without readings."""
    newest = 0
    for path in history.files(folder).values():
        try:
            with schema.reading(path) as db:
                query = (
                    "SELECT coalesce(max(smax), 0) FROM axis WHERE typeof(smax) = 'integer' AND smax BETWEEN 0 AND ?"
                )
                newest = max(newest, db.execute(query, (upto,)).fetchone()[0])
                # numbers of both sides are in the axis of a day to which later readings came
                for (block,) in db.execute("SELECT s FROM axis WHERE smax > ? AND smin <= ?", (upto, upto)):
                    numbers = blocks.decode_ints(block).tolist()
                    newest = max(newest, *(number for number in numbers if number <= upto), 0)
        except (StoreDamaged, OSError) as error:
            log.error("%s", error)
    return newest
